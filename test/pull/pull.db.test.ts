import { sql } from 'drizzle-orm'
import { describe, expect, it, vi } from 'vitest'
import { defineRead, param, type Statement } from '../../src/db/statement.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions, type Context } from '../../src/domain/context.ts'
import { Client, SourceRefused } from '../../src/pull/client.ts'
import { nameOf, type PullOptions, pull } from '../../src/pull/pull.ts'
import { Source } from '../../src/pull/source.ts'
import { runningBy } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'
import { answer, cut, hangUp, type RestSource, startRestSource } from './rest-source.ts'
import { Simulation } from './simulation.ts'

const test = useDatabase()

let accounts = 0

/** An account with nothing in it. */
async function emptyAccount(): Promise<Context> {
  accounts += 1
  return { db: test.db, account: await ensureAccount(test.db, `pulls-${accounts}`), permissions: allPermissions }
}

interface Seen {
  name: string
  parent: string | null
  disabled: boolean
  contacts: string[]
}

const seenStatement = defineRead<{ account: number }, Seen>(
  'test_seen',
  sql`select o.name, p.name, o.disabled, to_json(array(
      select c.label || ' ' || c.value || case when c.integration then ' (integration)' else '' end from contacts c
      where c.account_id = o.account_id and c.organization_id = o.id order by c.channel, c.label, c.value
    )) from organizations o
    left join organizations p on p.account_id = o.account_id and p.id = o.parent_id
    where o.account_id = ${param('account', 'bigint')} order by o.name`,
  ([name, parent, disabled, contacts]) => ({ name, parent, disabled, contacts }),
)

const seenIn = ({ db, account }: Context) => db.run(seenStatement, { account })
const contactsIn = async (ctx: Context) =>
  Object.fromEntries((await seenIn(ctx)).map(({ name, contacts }) => [name, contacts]))
const parentsIn = async (ctx: Context) =>
  Object.fromEntries((await seenIn(ctx)).map(({ name, parent }) => [name, parent]))

const idStatement = defineRead<{ account: number; name: string }, number>(
  'test_id',
  sql`select id from organizations where account_id = ${param('account', 'bigint')} and name = ${param('name', 'text')}`,
  ([id]) => id,
)
const idOf = async ({ db, account }: Context, name: string) => (await db.run(idStatement, { account, name }))[0]!

/** Pulls again and again from one source into one account. */
function pullerOf(ctx: Context, rest: RestSource) {
  const clock = new Simulation()
  const told: string[] = []
  const tell = (warning: string) => void told.push(warning)
  const client = new Client({ url: rest.url, token: rest.token, clock })
  const source = new Source(client, tell)
  const round = (given: Partial<PullOptions> = {}) =>
    clock.run(
      pull(ctx, nameOf(client.base, undefined), source, {
        ...{ changedOnly: false, signal: new AbortController().signal, tell },
        ...given,
      }),
    )
  return { client, told, round }
}

const none = { created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 }

/** Three organizations, of which one is beneath another, with three contacts. */
async function aSource() {
  const rest = await startRestSource()
  const company = rest.add({ id: 30, name: 'Company' })
  const branch = rest.add({ id: 10, name: 'Branch', parentId: 30 })
  const partner = rest.add({ id: 20, name: 'Partner' })
  rest.addContact(company, { id: 1, channel: 'telephone', value: '+1 203 413 4880', integration: true })
  rest.addContact(company, { id: 2, value: 'info@company.example' })
  rest.addContact(branch, { id: 3, label: 'service_desk', value: 'help@branch.example' })
  return { rest, company, branch, partner }
}

const asInSource: Seen[] = [
  { name: 'Branch', parent: 'Company', disabled: false, contacts: ['service_desk help@branch.example'] },
  {
    ...{ name: 'Company', parent: null, disabled: false },
    contacts: ['general +1 203 413 4880 (integration)', 'general info@company.example'],
  },
  { name: 'Partner', parent: null, disabled: false, contacts: [] },
]

describe('a pull', () => {
  it('brings organizations with their parents and contacts, into one account', async () => {
    const ctx = await emptyAccount()
    const others = await emptyAccount()
    const { rest } = await aSource()
    const { round, told } = pullerOf(ctx, rest)

    expect(await round()).toEqual({
      isResumed: false,
      organizations: { ...none, created: 3 },
      contacts: { ...none, created: 3 },
    })
    expect(await seenIn(ctx)).toEqual(asInSource)
    expect(await seenIn(others)).toEqual([])
    expect(told).toEqual([])
  })

  it('changes nothing where nothing has changed, and lets tags say so', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const { client, round } = pullerOf(ctx, rest)
    await round()

    const again = await unchanged(ctx, () => round())

    expect(again).toEqual({ isResumed: false, organizations: { ...none, unchanged: 3 }, contacts: none })
    expect(client.notModified).toBe(3)
  })

  it('changes nothing either where the server has no tags', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    rest.tellsTags = false
    const { round } = pullerOf(ctx, rest)
    await round()

    expect(await unchanged(ctx, () => round())).toMatchObject({ contacts: { ...none, unchanged: 3 } })
  })

  it('brings what has changed, and leaves what was added here', async () => {
    const ctx = await emptyAccount()
    const { rest, company, branch, partner } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round()
    await aContact(ctx, await idOf(ctx, 'Company'), { channel: 'email', value: 'own@here.example' })

    company.contacts.splice(0, 1)
    company.contacts[0]!.value = 'new@company.example'
    rest.addContact(partner, { value: 'info@partner.example' })
    branch.parentId = partner.id
    branch.name = 'Office'
    partner.disabled = true
    const result = await round()

    expect(result).toMatchObject({
      organizations: { ...none, updated: 2, unchanged: 1 },
      contacts: { ...none, created: 1, updated: 1, deleted: 1 },
    })
    expect(await seenIn(ctx)).toEqual([
      {
        ...{ name: 'Company', parent: null, disabled: false },
        contacts: ['general new@company.example', 'general own@here.example'],
      },
      { name: 'Office', parent: 'Partner', disabled: false, contacts: ['service_desk help@branch.example'] },
      { name: 'Partner', parent: null, disabled: true, contacts: ['general info@partner.example'] },
    ])
  })

  it('disables an organization that is gone, without what came from there', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round()
    await aContact(ctx, await idOf(ctx, 'Branch'), { channel: 'email', value: 'own@here.example' })

    rest.organizations.delete(10)
    const result = await round()

    expect(result).toMatchObject({ organizations: { deleted: 1, unchanged: 2 }, contacts: { ...none, deleted: 1 } })
    expect((await seenIn(ctx))[0]).toEqual({
      ...{ name: 'Branch', parent: 'Company', disabled: true, contacts: ['general own@here.example'] },
    })
    expect(await unchanged(ctx, () => round())).toMatchObject({ organizations: { ...none, unchanged: 2 } })
  })

  it('takes an organization for gone that goes while its contacts are read', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round()
    rest.before = (url) => {
      if (url.includes('/10/contacts')) rest.organizations.delete(10)
    }

    expect(await round()).toMatchObject({ organizations: { deleted: 1 }, contacts: { deleted: 1 } })
    expect(await contactsIn(ctx)).toMatchObject({ Branch: [] })
  })

  it('asks for an organization before it counts as gone, where the list has several pages', async () => {
    const ctx = await emptyAccount()
    const rest = await startRestSource()
    for (let id = 1; id <= 120; id += 1) rest.add({ id, name: `O${String(id).padStart(3, '0')}` })
    const { round } = pullerOf(ctx, rest)
    await round()
    // One of the first page goes and one comes, so that 101 slips by, and the count does not tell.
    rest.before = (url) => {
      if (!url.includes('search_after') || rest.organizations.has(121)) return
      rest.organizations.delete(1)
      rest.organizations.delete(2)
      rest.add({ id: 121, name: 'O121' })
      rest.add({ id: 122, name: 'O122' })
    }
    rest.take()

    const result = await round()

    expect(result.organizations).toMatchObject({ created: 2, deleted: 2 })
    // Those of the first page had gone when their contacts were asked for.
    const asked = rest.take().flatMap((url) => /organizations\/(\d+)\?/.exec(url)?.[1] ?? [])
    expect(asked.toSorted()).toEqual(['1', '101', '102', '2'])
    expect((await seenIn(ctx)).filter(({ disabled }) => disabled).map(({ name }) => name)).toEqual(['O001', 'O002'])
  })

  it('changes nothing where the source suddenly shows no organization', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round()
    rest.organizations.clear()

    await unchanged(ctx, () =>
      expect(round()).rejects.toThrow(
        'The source shows no organizations, but 3 came from it before: nothing was changed.',
      ),
    )
  })

  it('is at its end with a source that has nothing yet', async () => {
    const ctx = await emptyAccount()
    const { round } = pullerOf(ctx, await startRestSource())

    expect(await round()).toMatchObject({ organizations: none, contacts: none })
  })

  it('brings thousands, with parents in other batches and contacts on several pages', async () => {
    const ctx = await emptyAccount()
    const rest = await startRestSource()
    for (let id = 1; id <= 1200; id += 1) rest.add({ id, name: `O${id}`, parentId: id < 1200 ? id + 1 : null })
    for (let i = 0; i < 250; i += 1) rest.addContact(rest.organizations.get(7)!)
    const progress: [number, number][] = []
    const { round } = pullerOf(ctx, rest)

    const result = await round({ onProgress: (done, total) => void progress.push([done, total]) })

    expect(result).toMatchObject({ organizations: { created: 1200 }, contacts: { created: 250 } })
    expect(await parentsIn(ctx)).toMatchObject({ O1: 'O2', O600: 'O601', O1199: 'O1200', O1200: null })
    expect((await contactsIn(ctx)).O7).toHaveLength(250)
    expect(progress).toEqual(Array.from({ length: 1200 }, (_, i) => [i + 1, 1200]))
  })
})

describe('a pull of what has changed only', () => {
  it('does not ask for contacts of organizations whose time of change is the same', async () => {
    const ctx = await emptyAccount()
    const { rest, branch, company } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round({ changedOnly: true })
    rest.take()
    company.contacts[1]!.value = 'unnoticed@company.example'
    branch.contacts[0]!.value = 'noticed@branch.example'
    branch.updatedAt = '2026-05-01T00:00:00Z'

    expect(await round({ changedOnly: true })).toMatchObject({ contacts: { ...none, updated: 1 } })
    expect(rest.take()).toHaveLength(2)
    expect(await contactsIn(ctx)).toMatchObject({
      Branch: ['service_desk noticed@branch.example'],
      Company: ['general +1 203 413 4880 (integration)', 'general info@company.example'],
    })
    expect(await round()).toMatchObject({ contacts: { ...none, updated: 1, unchanged: 1 } })
  })

  it('asks for all where the server does not tell times', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    rest.fields.organization = rest.fields.organization.filter((name) => name !== 'updated_at')
    const { round } = pullerOf(ctx, rest)
    await round({ changedOnly: true })
    rest.take()

    await round({ changedOnly: true })

    expect(rest.take()).toHaveLength(4)
  })

  it('does not pass over what an interrupted one has left', async () => {
    const ctx = await emptyAccount()
    const { rest, company } = await aSource()
    const { round } = pullerOf(ctx, rest)
    await round()
    company.updatedAt = '2026-05-01T00:00:00Z'
    company.contacts[1]!.value = 'late@company.example'
    rest.fail(answer(401), { on: /\/30\/contacts/ })

    await expect(round({ changedOnly: true })).rejects.toThrow(SourceRefused)
    await round({ changedOnly: true })

    expect((await contactsIn(ctx)).Company).toContain('general late@company.example')
  })
})

describe('a pull that is interrupted', () => {
  it('goes on where it was', async () => {
    const ctx = await emptyAccount()
    const rest = await startRestSource()
    for (let id = 1; id <= 40; id += 1) rest.addContact(rest.add({ id, name: `O${id}` }))
    const { round } = pullerOf(ctx, rest)
    const stop = new AbortController()
    rest.before = () => {
      if (rest.requests.length === 25) stop.abort(new Error('stopped'))
    }

    await expect(round({ signal: stop.signal })).rejects.toThrow('stopped')
    const done = Object.values(await contactsIn(ctx)).flat().length
    rest.take()
    const result = await round()

    expect(done).toBeGreaterThan(0)
    expect(result).toMatchObject({ isResumed: true, contacts: { ...none, created: 40 - done } })
    expect(rest.take()).toHaveLength(1 + 40 - done)
    expect(await round()).toMatchObject({ isResumed: false })
    expect(Object.values(await contactsIn(ctx)).flat()).toHaveLength(40)
  })

  it('waits for the writes that are under way', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const stop = new AbortController()
    const begun = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const held = runningBy(ctx.db, async (statement: Statement<never, never>, parameters: never) => {
      if (statement.name === 'pull_contacts' && (parameters as { organization: number }).organization === 30) {
        begun.resolve()
        await released.promise
      }
      return ctx.db.run(statement, parameters)
    })
    const { round } = pullerOf({ ...ctx, db: held }, rest)
    const onEnd = vi.fn()

    const ended = round({ signal: stop.signal }).catch(onEnd)
    await begun.promise
    stop.abort(new Error('stopped'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(onEnd).not.toHaveBeenCalled()
    released.resolve()
    await ended

    expect(onEnd).toHaveBeenCalledExactlyOnceWith(new Error('stopped'))
    expect((await contactsIn(ctx)).Company).toEqual(asInSource[1]!.contacts)
  })

  it('by a source that does not answer any more, ends with the reason, and goes on later', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    rest.fail(hangUp, { on: /\/30\/contacts/, times: 9 })
    const { round } = pullerOf(ctx, rest)

    await expect(round()).rejects.toThrow('failed (UND_ERR_SOCKET), 9 times in a row.')
    expect(await round()).toMatchObject({ isResumed: true })
    expect(await seenIn(ctx)).toEqual(asInSource)
  })
})

describe('a pull with faults', () => {
  it('ends as one without, whatever the server does in between', async () => {
    const ctx = await emptyAccount()
    const quiet = await emptyAccount()
    const rest = await startRestSource()
    for (let id = 1; id <= 130; id += 1) {
      const organization = rest.add({ id, name: `O${id}`, parentId: id > 1 ? Math.floor(id / 2) : null })
      for (let i = 0; i < id % 4; i += 1) rest.addContact(organization)
    }
    for (let i = 0; i < 220; i += 1) rest.addContact(rest.organizations.get(3)!)
    const faults = [answer(429, { 'retry-after': '3' }), cut, answer(503), hangUp, answer(500), answer(200, {}, '[{')]
    for (const fault of faults) {
      rest.fail(fault, { on: /contacts/ })
      rest.fail(fault, { on: /organizations\?/ })
      rest.fail(fault, { on: /search_after/ })
    }
    let moved = false
    rest.before = (url) => {
      if (!url.includes('search_after') || moved) return
      moved = true
      rest.organizations.delete(99)
      rest.organizations.get(3)!.contacts.shift()
    }

    await pullerOf(ctx, rest).round()
    const { round } = pullerOf(quiet, rest)
    await round()

    const [here, there] = [await seenIn(ctx), await seenIn(quiet)]
    expect(here.filter(({ name }) => name !== 'O99')).toEqual(there)
    expect(here).toHaveLength(129)
  })

  it('leaves the contacts of an organization as they are where one of them cannot be, and tells why', async () => {
    const ctx = await emptyAccount()
    const { rest, company, branch } = await aSource()
    const { round, told } = pullerOf(ctx, rest)
    await round()
    company.contacts.splice(0, 1)
    rest.addContact(company, { id: 7, label: 'fax', value: 'not an address' })
    rest.addContact(branch, { id: 8, value: 'new@branch.example' })

    const result = await round()

    expect(result).toMatchObject({
      organizations: { failed: 0 },
      contacts: { ...none, created: 1, unchanged: 1, failed: 2 },
    })
    expect(told).toEqual([
      expect.stringMatching(
        /^The contacts of organization 30 were left as they are: contact 7: Label "fax" .* contact 7: Email must not hold white space\.$/,
      ),
    ])
    expect((await contactsIn(ctx)).Company).toEqual(asInSource[1]!.contacts)

    company.contacts.splice(1, 1)
    expect(await round()).toMatchObject({ contacts: { deleted: 1, failed: 0 } })
    expect((await contactsIn(ctx)).Company).toEqual(['general info@company.example'])
  })

  it('leaves out what has no id, and the contacts beside it', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    rest.distort = (items, url) => (url.includes('/30/contacts') ? [...items, { label: 'general' }] : items)
    const { round, told } = pullerOf(ctx, rest)

    expect(await round()).toMatchObject({ contacts: { created: 1, failed: 3 } })
    expect(told).toEqual([
      'The contacts of organization 30 were left as they are: item 3 of page 1 of /organizations/30/contacts has no id.',
    ])
  })

  it('leaves out an organization that cannot be, with its contacts, and tells why', async () => {
    const ctx = await emptyAccount()
    const { rest, partner, branch } = await aSource()
    partner.name = '  '
    branch.contacts[0]!.value = 'help@branch.example'
    const { round, told } = pullerOf(ctx, rest)

    expect(await round()).toMatchObject({ organizations: { created: 2, failed: 1 }, contacts: { created: 3 } })
    expect(told).toEqual(["Organization 20 was left out: Name can't be blank."])
    expect(rest.take().filter((url) => url.includes('/20'))).toEqual([])

    partner.name = 'Partner'
    await round()
    expect(await seenIn(ctx)).toEqual(asInSource)
  })

  it('does not take an organization for gone that cannot be read', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    const { round, told } = pullerOf(ctx, rest)
    await round()
    rest.distort = (items) => items.map((item) => (item.id === 20 ? { ...item, parent: 'x' } : item))

    expect(await unchanged(ctx, () => round())).toMatchObject({ organizations: { deleted: 0, failed: 1 } })
    expect(told).toEqual(['Organization 20 was left out: Its parent "x" names no organization by a positive integer.'])
  })

  it('brings to the root what is beneath something that is not shown, or beneath itself', async () => {
    const ctx = await emptyAccount()
    const rest = await startRestSource()
    rest.add({ id: 1, name: 'A', parentId: 99 })
    rest.add({ id: 2, name: 'B', parentId: 3 })
    rest.add({ id: 3, name: 'C', parentId: 2 })
    rest.add({ id: 4, name: 'D', parentId: 3 })
    const { round, told } = pullerOf(ctx, rest)

    await round()

    expect(await parentsIn(ctx)).toEqual({ A: null, B: null, C: null, D: 'C' })
    expect(told).toEqual([
      'Organization 1 is beneath 99, which the source does not show: it comes to the root.',
      'Organizations above each other in a circle come to the root: 2, 3.',
    ])
  })

  it('gives an organization a name that another one had until now', async () => {
    const ctx = await emptyAccount()
    const rest = await startRestSource()
    const [one, other] = [rest.add({ id: 1, name: 'A' }), rest.add({ id: 2, name: 'B' })]
    const { round, told } = pullerOf(ctx, rest)
    await round()
    one.name = 'B'
    other.name = 'C'

    expect(await round()).toMatchObject({ organizations: { ...none, updated: 2 } })
    expect(Object.keys(await parentsIn(ctx))).toEqual(['B', 'C'])
    expect(told).toEqual([])
  })

  it('ends at once where the token is not accepted any more', async () => {
    const ctx = await emptyAccount()
    const { rest } = await aSource()
    rest.fail(answer(403), { on: /contacts/ })
    const { round } = pullerOf(ctx, rest)

    await expect(round()).rejects.toThrow(SourceRefused)
    expect(rest.requests.length).toBeLessThanOrEqual(4)
  })
})
