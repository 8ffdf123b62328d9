import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { defineStatement, param } from '../../src/db/statement.ts'
import { changeContacts } from '../../src/domain/change-contacts.ts'
import { channels } from '../../src/domain/channels.ts'
import { contactPages } from '../../src/domain/contact-lists.ts'
import { addContact, clearContacts, findContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { ConflictError, NotFoundError, ValidationError } from '../../src/domain/errors.ts'
import { createOrganization, findAncestors, updateOrganization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { randomFrom } from '../support/random-document.ts'

const database = useDatabase({ poolSize: 24 })
/** One connection, so that statements between `begin` and `commit` are of one transaction. */
let holder: Database
beforeAll(async () => {
  holder = await openDatabase({ url: database.url, poolSize: 1, prepare: true, deadlines: testDeadlines })
})
afterAll(() => holder.close())
const begin = defineStatement('test_begin', sql`begin`)
const commit = defineStatement('test_commit', sql`commit`)
const rollback = defineStatement('test_rollback', sql`rollback`)

const email = (value: string) => ({ email: { label: 'general', value } })
const idsOf = async (organizationId: number) => {
  const [page] = await contactPages(
    database.ctx,
    [organizationId],
    { limit: 1000, backward: false, after: null, before: null },
    {},
  )
  return page!.rows.map(({ id }) => id)
}

/** How a verb ended: its result, or the domain error that it threw. */
const settled = async (verb: Promise<unknown>): Promise<unknown> => {
  try {
    return await verb
  } catch (error) {
    if (error instanceof NotFoundError || error instanceof ConflictError || error instanceof ValidationError)
      return error
    throw error
  }
}

/**
 * Lets `first` happen in a transaction that commits only once `second` has begun and waits for it: the order of locks is
 * then known, and what `second` must see too.
 */
async function overlapping<First, Second>(
  first: (ctx: Context) => Promise<First>,
  second: (ctx: Context) => Promise<Second>,
): Promise<[First, unknown]> {
  await holder.run(begin, {})
  try {
    const done = await first({ ...database.ctx, db: holder })
    const waiting = settled(second(database.ctx))
    await vi.waitFor(async () => expect(await waitingForLocks()).toBeGreaterThan(0), { timeout: 10_000, interval: 5 })
    await holder.run(commit, {})
    return [done, await waiting]
  } finally {
    // Harmless after the commit; otherwise it lets the locks go.
    await holder.run(rollback, {})
  }
}

const lockWaits = defineStatement<Record<never, never>, number>(
  'test_lock_waits',
  sql`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  ([count]) => count,
)
const waitingForLocks = async () => (await database.db.run(lockWaits, {}))[0]!

const lookups = defineStatement<{ ids: readonly number[] }, [number, string]>(
  'test_lookups',
  sql`select contact_id, key from contact_lookups where contact_id = any(${param('ids', 'bigint[]')}) order by 1, 2`,
  (cells) => cells,
)

const together = (count: number, verb: (i: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, i) => settled(verb(i))))

describe('an add that commits while a clear waits for it', () => {
  it('is cleared, too', async () => {
    const { id } = await anOrganization(database.ctx)
    const before = await aContact(database.ctx, id)
    const [added, cleared] = await overlapping(
      (ctx) => addContact(ctx, { organizationId: id, contact: email('a@b') }),
      (ctx) => clearContacts(ctx, { organizationId: id }),
    )

    expect(cleared).toEqual({ organizationId: id, ids: [before.id, added.id] })
    expect(await idsOf(id)).toEqual([])
  })
})

describe('a clear that commits while another verb waits for it', () => {
  it('does not touch what is added then', async () => {
    const { id } = await anOrganization(database.ctx)
    const before = await aContact(database.ctx, id)
    const [cleared, added] = await overlapping(
      (ctx) => clearContacts(ctx, { organizationId: id }),
      (ctx) => addContact(ctx, { organizationId: id, contact: email('a@b') }),
    )

    expect(cleared.ids).toEqual([before.id])
    expect(await idsOf(id)).toEqual([(added as { id: number }).id])
  })

  it('leaves nothing to update, to remove or to clear', async () => {
    for (const verb of [
      (ctx: Context, contact: number) => updateContact(ctx, { id: contact, change: { telephone: { label: 'fax' } } }),
      (ctx: Context, contact: number) => removeContact(ctx, { id: contact }),
    ]) {
      const { id } = await anOrganization(database.ctx)
      const contact = await aContact(database.ctx, id)
      const [, outcome] = await overlapping(
        (ctx) => clearContacts(ctx, { organizationId: id }),
        (ctx) => verb(ctx, contact.id),
      )

      expect(outcome).toBeInstanceOf(NotFoundError)
    }
    const { id } = await anOrganization(database.ctx)
    await aContact(database.ctx, id)
    const [first, second] = await overlapping(
      (ctx) => clearContacts(ctx, { organizationId: id }),
      (ctx) => clearContacts(ctx, { organizationId: id }),
    )

    expect(first.ids).toHaveLength(1)
    expect(second).toEqual({ organizationId: id, ids: [] })
  })
})

describe('an update that commits while another verb waits for it', () => {
  it('is what an update with an older version conflicts with', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    const [, outcome] = await overlapping(
      (ctx) => updateContact(ctx, { id: contact.id, ifVersion: 1, change: { telephone: { label: 'fax' } } }),
      (ctx) => updateContact(ctx, { id: contact.id, ifVersion: 1, change: { telephone: { label: 'service_desk' } } }),
    )

    expect(outcome).toBeInstanceOf(ConflictError)
    expect(outcome).toMatchObject({ currentVersion: 2 })
  })

  it('is kept by an update of another part', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    const [, outcome] = await overlapping(
      (ctx) => updateContact(ctx, { id: contact.id, change: { telephone: { label: 'fax' } } }),
      (ctx) => updateContact(ctx, { id: contact.id, change: { telephone: { value: '+44 20 7946 0958' } } }),
    )

    expect(outcome).toMatchObject({ label: 'fax', value: '+44 20 7946 0958', version: 3 })
  })

  it('leaves no key of its value in the reverse look-up, once another value has replaced it', async () => {
    const { id } = await anOrganization(database.ctx)
    const one = await aContact(database.ctx, id, { channel: 'email' })
    const several = await aContact(database.ctx, id, { channel: 'email' })
    await overlapping(
      (ctx) => updateContact(ctx, { id: one.id, change: email('first@race.example') }),
      (ctx) => updateContact(ctx, { id: one.id, change: email('second@race.example') }),
    )
    await overlapping(
      (ctx) => updateContact(ctx, { id: several.id, change: email('first@race.example') }),
      (ctx) =>
        changeContacts(ctx, { organizationId: id, update: [{ id: several.id, change: email('second@race.example') }] }),
    )

    expect(await database.db.run(lookups, { ids: [one.id, several.id] })).toEqual([
      [one.id, 'second@race.example'],
      [several.id, 'second@race.example'],
    ])
  })

  it('is what a removal with an older version conflicts with, and a removal without one removes', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    const update = (label: string) => (ctx: Context) =>
      updateContact(ctx, { id: contact.id, change: { telephone: { label } } })
    const [, conflict] = await overlapping(update('fax'), (ctx) => removeContact(ctx, { id: contact.id, ifVersion: 1 }))
    const [, removed] = await overlapping(update('general'), (ctx) => removeContact(ctx, { id: contact.id }))

    expect(conflict).toMatchObject({ name: 'ConflictError', currentVersion: 2 })
    expect(removed).toMatchObject({ id: contact.id, version: 3, label: 'general' })
  })

  it('is seen by a change of several contacts, which then does nothing at all', async () => {
    const { id } = await anOrganization(database.ctx)
    const [moved, other] = [await aContact(database.ctx, id), await aContact(database.ctx, id)]
    const [, outcome] = await overlapping(
      (ctx) => updateContact(ctx, { id: moved.id, change: { telephone: { label: 'fax' } } }),
      (ctx) =>
        changeContacts(ctx, {
          organizationId: id,
          add: [email('a@b')],
          update: [{ id: other.id, change: { telephone: { label: 'fax' } } }],
          remove: [{ id: moved.id, ifVersion: 1 }],
        }),
    )

    expect(outcome).toMatchObject({ name: 'ConflictError', path: ['remove', '0', 'ifVersion'], currentVersion: 2 })
    const after = await findContacts(database.ctx, [moved.id, other.id])
    expect(after.map(({ id, version }) => [id, version]).sort()).toEqual([
      [moved.id, 2],
      [other.id, 1],
    ])
    expect(await idsOf(id)).toHaveLength(2)
  })
})

describe('many at once', () => {
  it('of updates with the same version: exactly one wins', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    const outcomes = await together(20, (i) =>
      updateContact(database.ctx, {
        id: contact.id,
        ifVersion: 1,
        change: { telephone: { value: `+1 203 413 49${10 + i}` } },
      }),
    )

    const conflicts = outcomes.filter((outcome) => outcome instanceof ConflictError)
    expect(conflicts).toHaveLength(19)
    for (const conflict of conflicts) expect(conflict).toMatchObject({ currentVersion: 2 })
  })

  it('of updates without a version: none is lost', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    await together(50, (i) =>
      updateContact(database.ctx, { id: contact.id, change: { telephone: { value: `+1 203 413 49${10 + i}` } } }),
    )

    expect(await findContacts(database.ctx, [contact.id])).toMatchObject([{ version: 51 }])
  })

  it('of removals of one contact: exactly one finds it', async () => {
    const { id } = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, id)
    const outcomes = await together(20, () => removeContact(database.ctx, { id: contact.id }))

    expect(outcomes.filter((outcome) => outcome instanceof NotFoundError)).toHaveLength(19)
  })

  it('of adds and clears: every contact is cleared once, or still there', async () => {
    const { id } = await anOrganization(database.ctx)
    const outcomes = await together(120, (i) =>
      i % 6 === 5
        ? clearContacts(database.ctx, { organizationId: id })
        : addContact(database.ctx, { organizationId: id, contact: email(`${i}@b`) }),
    )
    const added = outcomes.flatMap((outcome) =>
      outcome && typeof outcome === 'object' && 'id' in outcome ? [outcome.id as number] : [],
    )
    const cleared = outcomes.flatMap((outcome) =>
      outcome && typeof outcome === 'object' && 'ids' in outcome ? (outcome.ids as number[]) : [],
    )

    expect(added).toHaveLength(100)
    expect([...cleared, ...(await idsOf(id))].sort()).toEqual(added.sort())
  })

  it('of organizations with one name: exactly one is created', async () => {
    const outcomes = await together(20, () => createOrganization(database.ctx, { name: 'Only once' }))

    expect(outcomes.filter((outcome) => outcome instanceof ValidationError)).toHaveLength(19)
  })
})

describe('moves that would form a cycle together', () => {
  it('do not, when the second begins before the first commits', async () => {
    const [left, right] = [await anOrganization(database.ctx), await anOrganization(database.ctx)]
    const [, outcome] = await overlapping(
      (ctx) => updateOrganization(ctx, { id: left.id, parentId: right.id }),
      (ctx) => updateOrganization(ctx, { id: right.id, parentId: left.id }),
    )

    expect(outcome).toMatchObject({ name: 'ValidationError', issues: [{ code: 'CYCLE' }] })
  })

  it.each([2, 3, 5])('do not, with %i at once', async (count) => {
    for (let round = 0; round < 15; round++) {
      const ring = await Promise.all(Array.from({ length: count }, () => anOrganization(database.ctx)))
      const outcomes = await together(count, (i) =>
        updateOrganization(database.ctx, { id: ring[i]!.id, parentId: ring[(i + 1) % count]!.id }),
      )

      expect(outcomes.filter((outcome) => outcome instanceof ValidationError)).toHaveLength(1)
      const ancestors = await findAncestors(
        database.ctx,
        ring.map(({ id }) => id),
      )
      expect(ancestors.map(({ length }) => length).sort()).toEqual(Array.from({ length: count }, (_, i) => i))
    }
  })
})

describe('a storm of every verb on two organizations', () => {
  const revisions = defineStatement<{ ids: readonly number[] }, number>(
    'test_revisions',
    sql`select sum(contacts_revision) from organizations where id = any(${param('ids', 'bigint[]')})`,
    ([sum]) => Number(sum),
  )
  it('ends without a deadlock, with a revision for each change and the look-up in step', async () => {
    const organizations = [(await anOrganization(database.ctx)).id, (await anOrganization(database.ctx)).id]
    let changes = 0
    const worker = async (seed: number) => {
      const next = randomFrom(seed)
      const random = (below: number) => Math.floor(next() * below)
      for (let turn = 0; turn < 25; turn++) {
        const organizationId = organizations[random(2)]!
        const ids = await idsOf(organizationId)
        const id = ids[random(Math.max(ids.length, 1))] ?? 1
        const value = `${seed}-${turn}@storm.example`
        const verbs = [
          () => addContact(database.ctx, { organizationId, contact: email(value) }),
          () => addContact(database.ctx, { organizationId, contact: email(value) }),
          () => updateContact(database.ctx, { id, change: email(value) }),
          () => updateContact(database.ctx, { id, ifVersion: 1, change: email(value) }),
          () => removeContact(database.ctx, { id }),
          () =>
            changeContacts(database.ctx, {
              organizationId,
              add: [email(value)],
              update: [{ id, change: email(value) }],
            }),
          () =>
            random(4) === 0
              ? clearContacts(database.ctx, { organizationId })
              : addContact(database.ctx, { organizationId, contact: email(value) }),
        ]
        const outcome = await settled(verbs[random(verbs.length)]!())
        if (!(outcome instanceof Error)) changes++
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, i) => worker(i + 1)))

    expect(await database.db.run(revisions, { ids: organizations })).toEqual([changes])
    const left = await findContacts(database.ctx, (await Promise.all(organizations.map(idsOf))).flat())
    const expected = left.flatMap(({ id, channel, value }) =>
      channels[channel].lookupKeys(value).map((key) => [id, key]),
    )
    expect(await database.db.run(lookups, { ids: left.map(({ id }) => id) })).toEqual(
      expected.sort((a, b) => Number(a[0]) - Number(b[0])),
    )
  })
})
