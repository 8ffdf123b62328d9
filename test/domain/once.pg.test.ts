import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startProxy } from '../../bench/faults/proxy.ts'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { defineStatement, param } from '../../src/db/statement.ts'
import { changeContacts } from '../../src/domain/change-contacts.ts'
import { contactPages } from '../../src/domain/contact-lists.ts'
import {
  addContact,
  type Contact,
  clearContacts,
  findContacts,
  removeContact,
  updateContact,
} from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { importContacts } from '../../src/domain/import-contacts.ts'
import { onceFor } from '../../src/domain/once.ts'
import { createOrganization, type Organization, updateOrganization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { executeFor } from '../support/graphql.ts'
import { randomFrom } from '../support/random-document.ts'
import { restFor } from '../support/rest.ts'
import { stateOf, unchanged } from '../support/state.ts'

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

let organization: Organization
let contact: Contact
let second: Contact
let key: string
let made = 0
beforeEach(async () => {
  made += 1
  key = `key-${made}`
  organization = await anOrganization(database.ctx)
  contact = await aContact(database.ctx, organization.id)
  second = await aContact(database.ctx, organization.id, { channel: 'email' })
})

/** The context of a write with the key of the test, whose input is told by its name. */
const once = (ctx: Context, withKey = key, input: unknown = 'the same'): Context => ({
  ...ctx,
  once: onceFor(withKey, input),
})

/** How a verb ended: its result, or what a door tells of the domain error that it threw. */
const settled = async (verb: Promise<unknown>): Promise<unknown> => {
  try {
    return await verb
  } catch (error) {
    if (error instanceof DomainError) return { ...error, name: error.name, message: error.message }
    throw error
  }
}

const lockWaits = defineStatement<Record<never, never>, number>(
  'test_lock_waits',
  sql`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  ([count]) => count,
)

/**
 * Lets `first` happen in a transaction that ends only once `second` has begun and waits for it: the order of locks is then
 * known, and what `second` must see too.
 */
async function overlapping(
  first: (ctx: Context) => Promise<unknown>,
  second: (ctx: Context) => Promise<unknown>,
  end = commit,
): Promise<[unknown, unknown]> {
  await holder.run(begin, {})
  try {
    const done = await settled(first({ ...database.ctx, db: holder }))
    const waiting = settled(second(database.ctx))
    const countWaits = async () => (await database.db.run(lockWaits, {}))[0]!
    await vi.waitFor(async () => expect(await countWaits()).toBeGreaterThan(0), { timeout: 10_000, interval: 5 })
    await holder.run(end, {})
    return [done, await waiting]
  } finally {
    // Harmless after the end; otherwise it lets the locks go.
    await holder.run(rollback, {})
  }
}

const idsOf = async (organizationId: number) => {
  const page = { limit: 1000, backward: false, after: null, before: null }
  const [found] = await contactPages(database.ctx, [organizationId], page, {})
  return found!.rows.map(({ id }) => id)
}

const email = (value: string) => ({ email: { label: 'general', value } })
const fax = { telephone: { label: 'fax' } }

const together = <Result>(count: number, verb: (i: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: count }, (_, i) => verb(i)))

const keysKept = defineStatement<{ key: string }, number>(
  'test_keys_kept',
  sql`select count(*) from idempotency_keys where key = ${param('key', 'text')}`,
  ([count]) => Number(count),
)

describe('30 repeats at once', () => {
  /** How many more or fewer rows there are than before, by their kind. */
  type Lines = Record<string, number>
  const count = (state: string[]) => Map.groupBy(state, (line) => /^\w+/.exec(line)![0])
  const more = (before: string[], after: string[]): Lines => {
    const [was, is] = [count(before), count(after)]
    return Object.fromEntries(
      [...is].map(([name, lines]) => [name, lines.length - (was.get(name)?.length ?? 0)]).filter(([, n]) => n !== 0),
    )
  }
  /** Runs them all, and holds that they are answered alike. */
  const alike = async (repeat: () => Promise<unknown>): Promise<[answer: unknown, lines: Lines]> => {
    const before = await stateOf(database.db)
    const answers = await together(30, repeat)
    const after = await stateOf(database.db)

    expect(answers).toHaveLength(30)
    for (const answer of answers) expect(answer).toEqual(answers[0])
    return [answers[0], more(before, after)]
  }

  it.each<[string, () => object, string, Lines]>([
    [
      'addContact',
      () => ({ organizationId: organization.id, contact: { email: { label: 'GENERAL', value: 'a@b' } } }),
      'contact { ... on ContactDetails { databaseId version } }',
      { contact: 1, lookup: 1, event: 1, idempotency: 1 },
    ],
    [
      'updateContact',
      () => ({ id: contact.id, ifVersion: 1, change: { telephone: { label: 'FAX' } } }),
      'contact { ... on ContactDetails { label version updatedAt } }',
      { event: 1, idempotency: 1 },
    ],
    [
      'removeContact',
      () => ({ id: second.id }),
      'removedContactId',
      { contact: -1, lookup: -1, event: 1, idempotency: 1 },
    ],
    [
      'clearContacts',
      () => ({ organizationId: organization.id }),
      'removedContactIds',
      { contact: -2, lookup: -3, event: 1, idempotency: 1 },
    ],
    [
      'changeContacts',
      () => ({
        organizationId: organization.id,
        add: [{ website: { label: 'GENERAL', value: 'a.example' } }, { email: { label: 'GENERAL', value: 'a@b' } }],
        update: [{ id: contact.id, ifVersion: 1, change: { telephone: { label: 'FAX' } } }],
        remove: [{ id: second.id }],
      }),
      'added { ... on ContactDetails { databaseId } } updated { ... on ContactDetails { version } } removedContactIds',
      { contact: 1, lookup: 1, event: 1, idempotency: 1 },
    ],
    [
      'importContacts',
      () => ({
        organizationId: organization.id,
        contacts: [
          { contact: { email: { label: 'GENERAL', value: 'a@b' } } },
          { id: contact.id, contact: { telephone: { label: 'FAX', value: '1' } } },
        ],
      }),
      'results { outcome contact { ... on ContactDetails { databaseId version updatedAt } } } removedContactIds',
      { contact: 1, event: 1, idempotency: 1 },
    ],
    [
      'createOrganization',
      () => ({ name: `Created ${made}`, parentId: organization.id }),
      'organization { databaseId createdAt }',
      { organization: 1, idempotency: 1 },
    ],
    [
      'updateOrganization',
      () => ({ id: organization.id, name: `Renamed ${made}`, parentId: null }),
      'organization { name updatedAt }',
      { idempotency: 1 },
    ],
  ])('of %s have one effect and 30 equal answers', async (mutation, inputOf, selection, expected) => {
    const execute = executeFor(database.ctx)
    const typename = mutation.charAt(0).toUpperCase() + mutation.slice(1)
    const document = `mutation($input: ${typename}Input!, $key: String!) {
      ${mutation}(input: $input) @idempotent(key: $key) { __typename ... on ${typename}Success { ${selection} } } }`
    const input = inputOf()
    const [answer, lines] = await alike(() => execute(document, { input, key }))

    expect(answer).toEqual({ data: { [mutation]: expect.objectContaining({ __typename: `${typename}Success` }) } })
    expect(lines).toEqual(expected)
    expect(await revisionOf(organization.id)).toBe(2 + (mutation.endsWith('Organization') ? 0 : 1))
  })

  const rest = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const answer = await restFor(database.ctx)(method, path, body, { 'idempotency-key': key, ...headers })
    const { status, text } = answer
    return { status, text, etag: answer.headers.get('etag'), location: answer.headers.get('location') }
  }

  it.each<[string, () => [path: string, body?: object, headers?: Record<string, string>], number, Lines]>([
    ['POST', () => ['', { label: 'general', email: 'a@b' }], 201, { contact: 1, lookup: 1, event: 1, idempotency: 1 }],
    ['PATCH', () => [`/${contact.id}`, { label: 'fax' }, { 'if-match': '"v1"' }], 200, { event: 1, idempotency: 1 }],
    ['DELETE', () => [`/${second.id}`], 204, { contact: -1, lookup: -1, event: 1, idempotency: 1 }],
    ['DELETE', () => [''], 204, { contact: -2, lookup: -3, event: 1, idempotency: 1 }],
  ])('of %s have one effect and 30 equal answers: %#', async (method, sent, status, expected) => {
    const [path, ...more] = sent()
    const [answer, lines] = await alike(() =>
      rest(method, `/organizations/${organization.id}/contacts${path}`, ...more),
    )

    expect(answer).toMatchObject({ status })
    expect(lines).toEqual(expected)
    expect(await revisionOf(organization.id)).toBe(3)
  })

  it('of a refusal are 30 equal refusals', async () => {
    const [answer, lines] = await alike(() =>
      settled(createOrganization(once(database.ctx), { name: organization.name })),
    )

    expect(answer).toMatchObject({ name: 'ValidationError', issues: [{ code: 'TAKEN' }] })
    expect(lines).toEqual({ idempotency: 1 })
  })

  it('with 30 inputs have one effect, and 29 conflicts', async () => {
    const outcomes = await together(30, (i) =>
      settled(addContact(once(database.ctx, key, i), { organizationId: organization.id, contact: email(`${i}@b`) })),
    )

    expect(outcomes.filter((outcome) => (outcome as Error).name === 'KeyReusedError')).toHaveLength(29)
    expect(await idsOf(organization.id)).toHaveLength(3)
  })

  it('with 30 keys, of one name: one is created, and the other answers are kept', async () => {
    const create = (i: number) =>
      settled(createOrganization(once(database.ctx, `${key}-${i}`), { name: `One ${made}` }))
    const outcomes = await together(30, create)
    const again = await unchanged(database, () => together(30, create))

    expect(outcomes.filter((outcome) => (outcome as Error).name !== 'ValidationError')).toHaveLength(1)
    expect(again).toEqual(outcomes)
  })
})

const revisions = defineStatement<{ ids: readonly number[] }, number>(
  'test_revisions',
  sql`select sum(contacts_revision) from organizations where id = any(${param('ids', 'bigint[]')})`,
  ([sum]) => Number(sum),
)
const revisionOf = async (...ids: number[]) => (await database.db.run(revisions, { ids }))[0]

/** Each verb, with what it is accepted with. */
const verbs: [string, (ctx: Context) => Promise<unknown>][] = [
  ['add', (ctx) => addContact(ctx, { organizationId: organization.id, contact: email('a@b') })],
  ['update', (ctx) => updateContact(ctx, { id: contact.id, ifVersion: 1, change: fax })],
  ['removal', (ctx) => removeContact(ctx, { id: contact.id })],
  ['clear', (ctx) => clearContacts(ctx, { organizationId: organization.id })],
  [
    'change of several',
    (ctx) =>
      changeContacts(ctx, { organizationId: organization.id, add: [email('a@b')], remove: [{ id: contact.id }] }),
  ],
  [
    'import',
    (ctx) =>
      importContacts(ctx, {
        organizationId: organization.id,
        contacts: [email('a@b')].map((contact) => ({ contact })),
      }),
  ],
  ['creation', (ctx) => createOrganization(ctx, { name: `Created ${made}` })],
  ['move', (ctx) => updateOrganization(ctx, { id: organization.id, name: `Moved ${made}`, parentId: null })],
]

describe('a repeat that comes while the first is on its way', () => {
  it.each(verbs)('waits for it, and has its answer: %s', async (_, verb) => {
    const [first, again] = await overlapping(
      (ctx) => verb(once(ctx)),
      (ctx) => verb(once(ctx)),
    )

    expect(first).not.toHaveProperty('message')
    expect(again).toEqual(first)
    expect(await database.db.run(keysKept, { key })).toEqual([1])
  })

  it.each(verbs)('does it itself where the first comes to nothing: %s', async (_, verb) => {
    const before = await stateOf(database.db)
    const [first, again] = await overlapping(
      (ctx) => verb(once(ctx)),
      (ctx) => verb(once(ctx)),
      rollback,
    )

    expect(again).not.toHaveProperty('message')
    expect(Object.keys(again as object)).toEqual(Object.keys(first as object))
    expect(await stateOf(database.db)).not.toEqual(before)
    expect(await unchanged(database, () => verb(once(database.ctx)))).toEqual(again)
  })

  it('is refused after it, where it asks for something else', async () => {
    const [, refused] = await overlapping(
      (ctx) => addContact(once(ctx), { organizationId: organization.id, contact: email('a@b') }),
      (ctx) => addContact(once(ctx, key, 'another'), { organizationId: organization.id, contact: email('b@b') }),
    )

    expect(refused).toMatchObject({ name: 'KeyReusedError' })
    expect(await idsOf(organization.id)).toHaveLength(3)
  })

  it('does not wait where it is of another account', async () => {
    await holder.run(begin, {})
    try {
      const ctx = { ...database.ctx, db: holder }
      await addContact(once(ctx), { organizationId: organization.id, contact: email('a@b') })
      const theirs = await anOrganization(database.otherCtx)

      expect(
        await addContact(once(database.otherCtx), { organizationId: theirs.id, contact: email('a@b') }),
      ).toMatchObject({ organizationId: theirs.id })
    } finally {
      await holder.run(rollback, {})
    }
  })
})

describe('a clear that commits while a write with a key waits for it', () => {
  const clear = (ctx: Context) => clearContacts(ctx, { organizationId: organization.id })

  it.each<[string, (ctx: Context) => Promise<unknown>]>([
    ['update', (ctx) => updateContact(ctx, { id: contact.id, change: fax })],
    ['removal', (ctx) => removeContact(ctx, { id: contact.id })],
    [
      'change of several',
      (ctx) => changeContacts(ctx, { organizationId: organization.id, update: [{ id: contact.id, change: fax }] }),
    ],
  ])('leaves it nothing to find, and that is its answer: %s', async (_, verb) => {
    const [, outcome] = await overlapping(clear, (ctx) => verb(once(ctx)))

    expect(outcome).toMatchObject({ name: 'NotFoundError', kind: 'Contact' })
    expect(await unchanged(database, () => settled(verb(once(database.ctx))))).toEqual(outcome)
  })

  it('does not touch what it adds', async () => {
    const [cleared, added] = await overlapping(
      (ctx) => clear(once(ctx, `${key}-clear`)),
      (ctx) => addContact(once(ctx), { organizationId: organization.id, contact: email('a@b') }),
    )

    expect(cleared).toMatchObject({ ids: [contact.id, second.id] })
    expect(await idsOf(organization.id)).toEqual([(added as Contact).id])
  })
})

describe('a write with a key that commits while another waits for it', () => {
  it('is cleared, too, and tells its repeats what it did', async () => {
    const add = (ctx: Context) => addContact(once(ctx), { organizationId: organization.id, contact: email('a@b') })
    const [added, cleared] = await overlapping(add, (ctx) =>
      clearContacts(once(ctx, `${key}-clear`), { organizationId: organization.id }),
    )

    expect(cleared).toMatchObject({ ids: [contact.id, second.id, (added as Contact).id] })
    expect(await idsOf(organization.id)).toEqual([])
    expect(await unchanged(database, () => add(database.ctx))).toEqual(added)
  })

  it('is what another version conflicts with, and the conflict is kept', async () => {
    const update = (ctx: Context, label: string, withKey: string) =>
      updateContact(once(ctx, withKey, label), { id: contact.id, ifVersion: 1, change: { telephone: { label } } })
    const [, conflict] = await overlapping(
      (ctx) => update(ctx, 'fax', `${key}-a`),
      (ctx) => update(ctx, 'service_desk', `${key}-b`),
    )

    expect(conflict).toMatchObject({ name: 'ConflictError', currentVersion: 2 })
    await updateContact(database.ctx, { id: contact.id, change: { telephone: { label: 'general' } } })
    expect(await unchanged(database, () => settled(update(database.ctx, 'service_desk', `${key}-b`)))).toEqual(conflict)
  })

  it('keeps its part when another part is changed', async () => {
    const [, outcome] = await overlapping(
      (ctx) => updateContact(once(ctx, `${key}-a`), { id: contact.id, change: fax }),
      (ctx) =>
        updateContact(once(ctx, `${key}-b`), { id: contact.id, change: { telephone: { value: '+44 20 7946' } } }),
    )

    expect(outcome).toMatchObject({ label: 'fax', value: '+44 20 7946', version: 3 })
  })

  it('forms no cycle with it', async () => {
    const other = await anOrganization(database.ctx)
    const move = (ctx: Context, id: number, parentId: number) =>
      updateOrganization(once(ctx, `${key}-${id}`), { id, parentId })
    const [, outcome] = await overlapping(
      (ctx) => move(ctx, organization.id, other.id),
      (ctx) => move(ctx, other.id, organization.id),
    )

    expect(outcome).toMatchObject({ name: 'ValidationError', issues: [{ code: 'CYCLE' }] })
    await updateOrganization(database.ctx, { id: organization.id, parentId: null })
    expect(await unchanged(database, () => settled(move(database.ctx, other.id, organization.id)))).toEqual(outcome)
  })

  it.each<[string, (ctx: Context, name: string) => Promise<Organization>]>([
    ['create', (ctx, name) => createOrganization(ctx, { name })],
    ['rename', (ctx, name) => updateOrganization(ctx, { id: organization.id, name })],
  ])('has taken its name: to %s is refused, and that is kept', async (_, verb) => {
    const name = `Wanted ${made}`
    const [taken, refused] = await overlapping(
      (ctx) => createOrganization(ctx, { name }),
      (ctx) => verb(once(ctx), name),
    )

    expect(refused).toMatchObject({ name: 'ValidationError', issues: [{ path: ['name'], code: 'TAKEN' }] })
    await updateOrganization(database.ctx, { id: (taken as Organization).id, name: `${name}, freed` })
    expect(await unchanged(database, () => settled(verb(once(database.ctx), name)))).toEqual(refused)
    expect(await verb(once(database.ctx, `${key}-another`), name)).toMatchObject({ name })
  })
})

describe('an answer that is too old', () => {
  const addOld = defineStatement<{ account: number; key: string }>(
    'test_add_old',
    sql`insert into idempotency_keys (account_id, key, fingerprint, answer, created_at)
      values (${param('account', 'bigint')}, ${param('key', 'text')}, repeat('0', 64), '[]', now() - interval '25 hours')`,
  )

  it('is replaced while another write removes it', async () => {
    const other = await anOrganization(database.ctx)
    await database.db.run(addOld, { account: database.ctx.account, key })
    const add = (ctx: Context, organizationId: number, withKey = key) =>
      addContact(once(ctx, withKey), { organizationId, contact: email('a@b') })
    const [, added] = await overlapping(
      (ctx) => add(ctx, other.id, `${key}-another`),
      (ctx) => add(ctx, organization.id),
    )

    expect(added).toMatchObject({ organizationId: organization.id })
    expect(await unchanged(database, () => add(database.ctx, organization.id))).toEqual(added)
  })

  it('is not removed while a write replaces it, which nobody waits for', async () => {
    const other = await anOrganization(database.ctx)
    await database.db.run(addOld, { account: database.ctx.account, key })
    await holder.run(begin, {})
    try {
      const ctx = { ...database.ctx, db: holder }
      await addContact(once(ctx), { organizationId: organization.id, contact: email('a@b') })
      await addContact(once(database.ctx, `${key}-another`), { organizationId: other.id, contact: email('a@b') })
      await holder.run(commit, {})
    } finally {
      await holder.run(rollback, {})
    }

    expect(await database.db.run(keysKept, { key })).toEqual([1])
  })
})

describe('a storm of every verb on two organizations, each sent several times', () => {
  it('ends without a deadlock, with a revision for each change and equal answers for each key', async () => {
    const organizations = [(await anOrganization(database.ctx)).id, (await anOrganization(database.ctx)).id]
    let changes = 0
    const worker = async (seed: number) => {
      const next = randomFrom(seed)
      const random = (below: number) => Math.floor(next() * below)
      for (let turn = 0; turn < 20; turn++) {
        const organizationId = organizations[random(2)]!
        const ids = await idsOf(organizationId)
        const id = ids[random(Math.max(ids.length, 1))] ?? 1
        const value = `${seed}-${turn}@storm.example`
        const verbs: ((ctx: Context) => Promise<unknown>)[] = [
          (ctx) => addContact(ctx, { organizationId, contact: email(value) }),
          (ctx) => addContact(ctx, { organizationId, contact: email(value) }),
          (ctx) => updateContact(ctx, { id, change: email(value) }),
          (ctx) => updateContact(ctx, { id, ifVersion: 1, change: email(value) }),
          (ctx) => removeContact(ctx, { id }),
          (ctx) => changeContacts(ctx, { organizationId, add: [email(value)], update: [{ id, change: email(value) }] }),
          (ctx) => clearContacts(ctx, { organizationId }),
        ]
        // Clears are rare, so that there is something to change.
        const verb = verbs[random(12)] ?? verbs[random(6)]!
        const outcomes = await together(3, () => settled(verb(once(database.ctx, `${seed}-${turn}`))))
        for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0])
        if (!(outcomes[0] as Error).message) changes++
      }
    }
    await Promise.all(Array.from({ length: 12 }, (_, i) => worker(i + 1)))

    expect(await revisionOf(...organizations)).toBe(changes)
    expect(changes).toBeGreaterThan(50)
  })
})

describe('a write with a key whose connection is lost', () => {
  /** Another pool, through a link that can be broken. */
  async function openThroughProxy(poolSize: number) {
    const proxy = await startProxy({ port: Number(new URL(database.url).port) })
    onTestFinished(() => proxy.close())
    const url = new URL(database.url)
    url.port = String(proxy.port)
    const retries: string[] = []
    const observer = { onRetry: (name: string) => retries.push(name) }
    const db = await openDatabase({ url: url.href, poolSize, prepare: true, deadlines: testDeadlines, observer })
    onTestFinished(() => db.close())
    return { proxy, db, retries }
  }

  it.each(verbs)('after it was done is sent again by itself, and has its answer: %s', async (_, verb) => {
    const { proxy, db, retries } = await openThroughProxy(1)
    await findContacts({ ...database.ctx, db }, [])
    const revision = await revisionOf(organization.id)
    await proxy.set({ kind: 'swallow-answer', containing: 'recall_answer', times: 2 })

    const answer = await verb(once({ ...database.ctx, db }))

    expect([proxy.swallowed, retries.length]).toEqual([2, 2])
    expect(await unchanged(database, () => verb(once(database.ctx)))).toEqual(answer)
    expect((await revisionOf(organization.id))! - revision!).toBeLessThanOrEqual(1)
    expect(await database.db.run(keysKept, { key })).toEqual([1])
  })

  const terminate = defineStatement(
    'test_terminate_waiting',
    sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`,
  )

  it('before it was done is sent again by itself, and done once', async () => {
    await holder.run(begin, {})
    try {
      await updateContact({ ...database.ctx, db: holder }, { id: contact.id, change: fax })
      const adding = addContact(once(database.ctx), { organizationId: organization.id, contact: email('a@b') })
      const countWaits = async () => (await database.db.run(lockWaits, {}))[0]!
      for (let times = 0; times < 2; times++) {
        await vi.waitFor(async () => expect(await countWaits()).toBe(1), { timeout: 10_000, interval: 5 })
        await database.db.run(terminate, {})
        await vi.waitFor(async () => expect(await countWaits()).toBe(1), { timeout: 10_000, interval: 5 })
      }
      await holder.run(commit, {})
      const added = await adding

      expect(await idsOf(organization.id)).toEqual([contact.id, second.id, added.id])
    } finally {
      await holder.run(rollback, {})
    }
  })
})
