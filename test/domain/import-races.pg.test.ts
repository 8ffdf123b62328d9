import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { defineStatement } from '../../src/db/statement.ts'
import { changeContacts } from '../../src/domain/change-contacts.ts'
import { contactPages } from '../../src/domain/contact-lists.ts'
import { addContact, type Contact, clearContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { DomainError, NotFoundError } from '../../src/domain/errors.ts'
import { importContacts, importContactsOfMany } from '../../src/domain/import-contacts.ts'
import { importOrganizations } from '../../src/domain/import-organizations.ts'
import {
  createOrganization,
  findAncestors,
  type Organization,
  updateOrganization,
} from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { randomFrom } from '../support/random-document.ts'

const database = useDatabase({ poolSize: 4 })
/** One connection, so that statements between `begin` and `commit` are of one transaction. */
let holder: Database
/** Connections for many at once, and the statements that had to be run again there, as after a deadlock. */
let ctx: Context
const retries: string[] = []
const open = (poolSize: number, settings = '') =>
  openDatabase({
    url: database.url + settings,
    poolSize,
    prepare: true,
    deadlines: testDeadlines,
    observer: { onRetry: (name, reason) => retries.push(`${name}: ${reason}`) },
  })
beforeAll(async () => {
  holder = await open(1)
  ctx = { ...database.ctx, db: await open(24) }
})
afterAll(() => Promise.all([holder.close(), ctx.db.close()]))

let organization: Organization
beforeEach(async () => {
  organization = await anOrganization(database.ctx)
})

const begin = defineStatement('test_begin', sql`begin`)
const commit = defineStatement('test_commit', sql`commit`)
const rollback = defineStatement('test_rollback', sql`rollback`)
const lockWaits = defineStatement<Record<never, never>, number>(
  'test_lock_waits',
  sql`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  ([count]) => count,
)

const email = (value: string, integration = false) => ({ email: { label: 'general', value, integration } })
const asNew = (...contacts: object[]) => contacts.map((contact) => ({ contact }))

const contactsOf = async (id: number): Promise<Contact[]> => {
  const page = { limit: 1000, backward: false, after: null, before: null }
  const [found] = await contactPages(database.ctx, [id], page, {})
  return [...found!.rows]
}
const valuesOf = async (id: number) => (await contactsOf(id)).map(({ value }) => value).toSorted()

const together = <Result>(count: number, verb: (i: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, i) => verb(i)))

/** How a verb ended: its result, or the domain error that it threw. */
const settled = async <Result>(verb: Promise<Result>): Promise<Result | DomainError> => {
  try {
    return await verb
  } catch (error) {
    if (error instanceof DomainError) return error
    throw error
  }
}

/** Lets `first` happen in a transaction that commits only once `second` has begun and waits for it. */
async function overlapping<First, Second>(
  first: (ctx: Context) => Promise<First>,
  second: (ctx: Context) => Promise<Second>,
): Promise<[First, Second | DomainError]> {
  await holder.run(begin, {})
  try {
    const done = await first({ ...database.ctx, db: holder })
    const waiting = settled(second(ctx))
    const countWaits = async () => (await database.db.run(lockWaits, {}))[0]!
    await vi.waitFor(async () => expect(await countWaits()).toBeGreaterThan(0), { timeout: 10_000, interval: 5 })
    await holder.run(commit, {})
    return [done, await waiting]
  } finally {
    // Harmless after the commit; otherwise it lets the locks go.
    await holder.run(rollback, {})
  }
}

describe('an import that waits for another write', () => {
  const outcomesOf = (result: unknown) =>
    (result as Awaited<ReturnType<typeof importContacts>>).results.map(({ outcome }) => outcome)

  it('finds what that one has added', async () => {
    const input = { organizationId: organization.id, contacts: asNew(email('a@b'), email('a@b'), email('c@d')) }
    const [first, second] = await overlapping(
      (ctx) => importContacts(ctx, input),
      (ctx) => importContacts(ctx, input),
    )
    const [, third] = await overlapping(
      (ctx) => addContact(ctx, { organizationId: organization.id, contact: email('e@f') }),
      (ctx) => importContacts(ctx, { ...input, contacts: asNew(email('e@f')) }),
    )

    expect(outcomesOf(first)).toEqual(['created', 'created', 'created'])
    expect(outcomesOf(second)).toEqual(['unchanged', 'unchanged', 'unchanged'])
    expect(outcomesOf(third)).toEqual(['unchanged'])
    expect(await valuesOf(organization.id)).toEqual(['a@b', 'a@b', 'c@d', 'e@f'])
  })

  it('does not find what that one has removed or changed', async () => {
    const removed = await aContact(database.ctx, organization.id, { channel: 'email', value: 'a@b' })
    const changed = await aContact(database.ctx, organization.id, { channel: 'email', value: 'c@d' })
    const contacts = asNew(email('a@b'), email('c@d'))
    const [, first] = await overlapping(
      (ctx) => removeContact(ctx, { id: removed.id }),
      (ctx) => importContacts(ctx, { organizationId: organization.id, contacts }),
    )
    const [, second] = await overlapping(
      (ctx) => updateContact(ctx, { id: changed.id, change: { email: { label: 'service_desk' } } }),
      (ctx) => importContacts(ctx, { organizationId: organization.id, contacts }),
    )

    expect(outcomesOf(first)).toEqual(['created', 'unchanged'])
    expect(outcomesOf(second)).toEqual(['unchanged', 'created'])
  })

  it('changes what that one has left of a contact, and misses one that is gone', async () => {
    const contact = await aContact(database.ctx, organization.id, { channel: 'email', value: 'a@b' })
    const named = {
      organizationId: organization.id,
      contacts: [{ id: contact.id, contact: email('c@d') }, ...asNew(email('new@b'))],
    }
    const [, changed] = await overlapping(
      (ctx) => updateContact(ctx, { id: contact.id, change: { email: { value: 'x@y' } } }),
      (ctx) => importContacts(ctx, named),
    )
    const [, missing] = await overlapping(
      (ctx) => clearContacts(ctx, { organizationId: organization.id }),
      (ctx) => importContacts(ctx, named),
    )

    expect(changed).toMatchObject({ results: [{ outcome: 'updated', contact: { value: 'c@d', version: 3 } }, {}] })
    expect(missing).toBeInstanceOf(NotFoundError)
    expect(missing).toMatchObject({ path: ['contacts', '0', 'id'] })
    expect(await contactsOf(organization.id)).toEqual([])
  })

  it('removes what that one has added to the integration', async () => {
    const [added, replaced] = await overlapping(
      (ctx) => addContact(ctx, { organizationId: organization.id, contact: email('a@b', true) }),
      (ctx) =>
        importContacts(ctx, {
          organizationId: organization.id,
          contacts: asNew(email('c@d', true)),
          mode: 'REPLACE_INTEGRATION',
        }),
    )

    expect(replaced).toMatchObject({ removedIds: [added.id] })
    expect(await valuesOf(organization.id)).toEqual(['c@d'])
  })

  it('does not find an organization that has another name by then', async () => {
    const { id, name } = organization
    const contacts = { replaces: false, contacts: asNew(email('a@b')) }
    const [, away] = await overlapping(
      (ctx) => updateOrganization(ctx, { id, name: `${name}, renamed` }),
      (ctx) => importContactsOfMany(ctx, [{ name, ...contacts }]),
    )

    expect(away).toMatchObject({ counts: { created: 0 }, refused: new Map([[0, [expect.anything()]]]) })
    expect(await contactsOf(id)).toEqual([])
  })
})

describe('importers of the same contacts at once', () => {
  const values = Array.from({ length: 20 }, (_, i) => `${String(i).padStart(2, '0')}@same.example`)

  it('have each contact once in the end, and one of them has created it', async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await anOrganization(database.ctx)
      const outcomes = await together(20, (i) => {
        // Each begins elsewhere.
        const contacts = asNew(...values.map((_, n) => email(values[(n + i) % values.length]!)))
        return importContacts(ctx, { organizationId: id, contacts })
      })
      const created = outcomes.flatMap(({ results }) => results.filter(({ outcome }) => outcome === 'created'))

      expect(await valuesOf(id)).toEqual(values)
      expect(created.map(({ contact }) => contact.value).toSorted()).toEqual(values)
    }
  })

  it('of many organizations, too, whatever their order, and none gives way to another', async () => {
    const organizations = await together(12, () => anOrganization(database.ctx))
    const random = randomFrom(1)
    const shuffled = () => organizations.toSorted(() => random() - 0.5)
    retries.splice(0)
    const imports = await together(16, async () => {
      const answers = []
      for (let turn = 0; turn < 5; turn++) {
        const groups = shuffled().map(({ name }) => ({
          name,
          replaces: random() < 0.5,
          contacts: asNew(...values.slice(0, 5).map((value) => email(value, true))),
        }))
        answers.push(await importContactsOfMany(ctx, groups.slice(0, 6 + turn)))
        answers.push(await importContactsOfMany(ctx, groups))
      }
      return answers
    })
    const sum = (name: 'created' | 'deleted') => imports.flat().reduce((total, { counts }) => total + counts[name], 0)

    for (const { id } of organizations) expect(await valuesOf(id)).toEqual(values.slice(0, 5))
    expect([sum('created'), sum('deleted')]).toEqual([12 * 5, 0])
    expect(imports.flat().filter(({ refused }) => refused.size > 0)).toEqual([])
    expect(retries).toEqual([])
  })

  it.each([
    ['by their keys', ''],
    ['from the whole table, where updates change their order', '?enable_indexscan=off&enable_bitmapscan=off'],
  ])('go on beside imports of the organizations, which are found %s', async (_, settings) => {
    const own = { ...database.ctx, db: await open(12, settings) }
    onTestFinished(() => own.db.close())
    const organizations = await together(12, () => anOrganization(database.ctx))
    const random = randomFrom(2)
    const shuffled = () => organizations.toSorted(() => random() - 0.5)
    retries.splice(0)
    await together(12, async (i) => {
      for (let turn = 0; turn < 8; turn++) {
        if (i % 3 > 0) {
          await importContactsOfMany(
            own,
            shuffled().map(({ name }) => ({ name, replaces: true, contacts: asNew(email(`${i}-${turn}@b`, true)) })),
          )
        } else {
          const outcomes = await importOrganizations(
            own,
            shuffled().map(({ name }) => ({ name, source: 'race', sourceID: `${i}-${turn}` })),
          )
          expect(new Set(outcomes)).toEqual(new Set(['updated']))
        }
      }
    })

    for (const { id } of organizations) expect(await contactsOf(id)).toHaveLength(1)
    expect(retries).toEqual([])
  })
})

// Several writes to one organization at once. Each answer, and what there is in the end, must be those of the same writes
// one after the other, in some order. The model knows contacts by their value; ids of those that were there before, too.

interface Modelled {
  id: number | undefined
  value: string
  integration: boolean
}

interface Operation {
  name: string
  run: () => Promise<unknown>
  /** Does the same to the model, and returns what `run` does. */
  apply: (state: Modelled[]) => unknown
}

describe('an import beside other writes to its organization', () => {
  const isSame = (contact: Modelled, value: string, integration: boolean) =>
    contact.value === value && contact.integration === integration
  const shown = (contacts: readonly { value: string; integration: boolean }[]) =>
    contacts.map(({ value, integration }) => `${value}${integration ? '!' : ''}`).toSorted()

  const add = (organizationId: number, value: string, integration: boolean): Operation => ({
    name: `add ${value} ${integration}`,
    run: async () => (await addContact(ctx, { organizationId, contact: email(value, integration) })).value,
    apply: (state) => {
      state.push({ id: undefined, value, integration })
      return value
    },
  })
  const remove = (id: number): Operation => ({
    name: `remove ${id}`,
    run: async () => {
      const outcome = await settled(removeContact(ctx, { id }))
      return outcome instanceof DomainError ? outcome.name : outcome.value
    },
    apply: (state) => {
      const at = state.findIndex((contact) => contact.id === id)
      return at < 0 ? 'NotFoundError' : state.splice(at, 1)[0]!.value
    },
  })
  const change = (organizationId: number, id: number, value: string): Operation => ({
    name: `change ${id} to ${value}`,
    run: async () => {
      const update = [{ id, change: { email: { value } } }]
      const outcome = await settled(changeContacts(ctx, { organizationId, update }))
      return outcome instanceof DomainError ? outcome.name : outcome.updated[0]!.integration
    },
    apply: (state) => {
      const contact = state.find((contact) => contact.id === id)
      if (!contact) return 'NotFoundError'
      contact.value = value
      return contact.integration
    },
  })
  const clear = (organizationId: number): Operation => ({
    name: 'clear',
    run: async () => (await clearContacts(ctx, { organizationId })).ids.length,
    apply: (state) => state.splice(0).length,
  })
  const importing = (
    organizationId: number,
    values: string[],
    id: number | undefined,
    replaces: boolean,
  ): Operation => ({
    name: `import ${values} ${id} ${replaces}`,
    run: async () => {
      const contacts = values.map((value, i) => ({ id: i === 0 ? id : undefined, contact: email(value, true) }))
      const mode = replaces ? 'REPLACE_INTEGRATION' : 'MERGE'
      const outcome = await settled(importContacts(ctx, { organizationId, contacts, mode }))
      if (outcome instanceof DomainError) return outcome.name
      return { outcomes: outcome.results.map(({ outcome }) => outcome), removed: outcome.removedIds.length }
    },
    apply: (state) => {
      const target = state.find((contact) => id !== undefined && contact.id === id)
      if (id !== undefined && !target) return 'NotFoundError'
      const left = state.filter((contact) => contact !== target)
      const named = new Set<Modelled>()
      const outcomes = values.map((value, i) => {
        if (i === 0 && target) {
          named.add(target)
          if (isSame(target, value, true)) return 'unchanged'
          Object.assign(target, { value, integration: true })
          return 'updated'
        }
        const found = left.find((contact) => !named.has(contact) && isSame(contact, value, true))
        const contact = found ?? { id: undefined, value, integration: true }
        if (!found) state.push(contact)
        named.add(contact)
        return found ? 'unchanged' : 'created'
      })
      const unnamed = replaces ? state.filter((contact) => contact.integration && !named.has(contact)) : []
      for (const contact of unnamed) state.splice(state.indexOf(contact), 1)
      return { outcomes, removed: unnamed.length }
    },
  })

  function* permutations<Item>(items: readonly Item[]): Generator<Item[]> {
    if (items.length === 0) yield []
    for (const [i, item] of items.entries()) {
      for (const rest of permutations(items.toSpliced(i, 1))) yield [item, ...rest]
    }
  }

  it('is before or after each of them', async () => {
    const next = randomFrom(3)
    const below = (limit: number) => Math.floor(next() * limit)
    const value = () => `${'abc'[below(3)]}@order.example`
    for (let round = 0; round < 60; round++) {
      const { id } = await anOrganization(database.ctx)
      const before: Modelled[] = []
      for (let i = 0; i < 3; i++) {
        const given = { channel: 'email', value: value(), integration: next() < 0.7 } as const
        before.push({ ...given, id: (await aContact(database.ctx, id, given)).id })
      }
      const known = () => before[below(before.length)]!.id!
      const anyImport = () =>
        importing(id, [value(), value()].slice(below(2)), next() < 0.4 ? known() : undefined, next() < 0.7)
      const others = [
        () => add(id, value(), next() < 0.7),
        () => remove(known()),
        () => change(id, known(), value()),
        () => (next() < 0.3 ? clear(id) : anyImport()),
      ]
      const operations = [anyImport(), ...Array.from({ length: 4 }, () => others[below(others.length)]!())]

      const answers = await Promise.all(operations.map(({ run }) => run()))
      const seen = JSON.stringify({ answers, left: shown(await contactsOf(id)) })
      const isExplained = permutations(operations.map((_, i) => i)).some((order) => {
        const state = before.map((contact) => ({ ...contact }))
        const expected: unknown[] = []
        for (const i of order) expected[i] = operations[i]!.apply(state)
        return JSON.stringify({ answers: expected, left: shown(state) }) === seen
      })

      const told = `${JSON.stringify(before)} ${operations.map(({ name }) => name).join(', ')}: ${seen}`
      expect(isExplained, told).toBe(true)
    }
  })
})

describe('importers of the same organizations at once', () => {
  const tree = (prefix: string) => [
    { name: `${prefix} C`, parent: `${prefix} B` },
    { name: `${prefix} B`, parent: `${prefix} A` },
    { name: `${prefix} A`, disabled: true },
    { name: `${prefix} D`, parent: `${prefix} A` },
  ]

  it('create each once', async () => {
    const outcomes = await together(10, (i) =>
      importOrganizations(ctx, i % 2 === 0 ? tree('Once') : tree('Once').toReversed()),
    )

    expect(outcomes.flat().filter((outcome) => outcome === 'created')).toHaveLength(4)
    expect(outcomes.flat().filter((outcome) => outcome === 'unchanged')).toHaveLength(36)
  })

  it('find what was created by its name meanwhile', async () => {
    const [created, imported] = await overlapping(
      (ctx) => createOrganization(ctx, { name: 'Meanwhile B' }),
      (ctx) => importOrganizations(ctx, tree('Meanwhile')),
    )
    const [ancestors] = await findAncestors(database.ctx, [created.id])

    expect(imported).toEqual(['created', 'updated', 'created', 'created'])
    expect(ancestors!.map(({ name }) => name)).toEqual(['Meanwhile A'])
  })

  it('do not form a ring together', async () => {
    for (let round = 0; round < 10; round++) {
      const ring = await together(4, () => anOrganization(database.ctx))
      const outcomes = await together(4, async (i) => {
        const [child, parent] = [ring[i]!, ring[(i + 1) % 4]!]
        if (i % 2 === 0) return (await importOrganizations(ctx, [{ name: child.name, parent: parent.name }]))[0]
        const moved = await settled(updateOrganization(ctx, { id: child.id, parentId: parent.id }))
        return moved instanceof DomainError ? [moved.message] : 'updated'
      })
      const ancestors = await findAncestors(
        database.ctx,
        ring.map(({ id }) => id),
      )

      expect(outcomes.filter((outcome) => outcome === 'updated')).toHaveLength(3)
      expect(ancestors.map(({ length }) => length).toSorted()).toEqual([0, 1, 2, 3])
    }
  })
})
