import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { defineStatement, param } from '../../src/db/statement.ts'
import { type Contact, removeContact, updateContact } from '../../src/domain/contacts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { executeFor } from '../support/graphql.ts'
import { type CallRest, type RestAnswer, restFor } from '../support/rest.ts'
import { stateOf, unchanged } from '../support/state.ts'

const database = useDatabase()
let call: CallRest
let callAsOther: CallRest
beforeAll(() => {
  call = restFor(database.ctx)
  callAsOther = restFor(database.otherCtx)
})

let organization: Organization
let contact: Contact
let key: string
/** An id that nothing has yet. */
let missing: number
let made = 0
beforeEach(async () => {
  made += 1
  key = `key-${made}`
  missing = 900_000 + made
  organization = await anOrganization(database.ctx)
  contact = await aContact(database.ctx, organization.id)
})

const list = (id = organization.id) => `/organizations/${id}/contacts`
const single = (id = contact.id) => `${list()}/${id}`

interface Sent {
  method: string
  path: string
  body?: object
  ifMatch?: string
}
const send = ({ method, path, body, ifMatch }: Sent, withKey = key, as = call) =>
  as(method, path, body, { 'idempotency-key': withKey, ...(ifMatch && { 'if-match': ifMatch }) })
const repeat = (sent: Sent) => unchanged(database, () => send(sent))

/** All that a caller sees of an answer. */
const seen = ({ status, text, headers }: RestAnswer) => [status, text, headers.get('etag'), headers.get('location')]

const withoutKeys = (state: string[]) => state.filter((line) => !line.startsWith('idempotency key'))

const age = defineStatement<{ key: string }>(
  'test_age',
  sql`update idempotency_keys set created_at = created_at - interval '24 hours' where key = ${param('key', 'text')}`,
)

const calls: { name: string; sent: () => Sent; other: () => Sent; status: number; anew: number }[] = [
  {
    name: 'POST',
    sent: () => ({ method: 'POST', path: list(), body: { label: 'general', email: 'a@b' } }),
    other: () => ({ method: 'POST', path: list(), body: { label: 'general', email: 'b@b' } }),
    status: 201,
    anew: 201,
  },
  ...['PATCH', 'PUT'].map((method) => ({
    name: method,
    sent: () => ({ method, path: single(), body: { label: 'fax' }, ifMatch: '"v1"' }),
    other: () => ({ method, path: single(), body: { label: 'fax' } }),
    status: 200,
    anew: 412,
  })),
  {
    name: 'DELETE of one',
    sent: () => ({ method: 'DELETE', path: single() }),
    other: () => ({ method: 'DELETE', path: single(), ifMatch: '"v1"' }),
    status: 204,
    anew: 404,
  },
  {
    name: 'DELETE of all',
    sent: () => ({ method: 'DELETE', path: list() }),
    other: () => ({ method: 'DELETE', path: list(missing) }),
    status: 204,
    anew: 204,
  },
]

const keyReused = {
  message: 'Validation Failed',
  errors: [['base', 'The key was used for another request: repeat that one exactly, or take another key']],
}

describe.each(calls)('$name with a key', ({ sent, other, status, anew }) => {
  it('has one effect, and the first answer again', async () => {
    const before = await stateOf(database.db)
    const first = await send(sent())
    const after = await stateOf(database.db)
    const again = await repeat(sent())

    expect(first.status).toBe(status)
    expect(withoutKeys(after)).not.toEqual(withoutKeys(before))
    expect(seen(again)).toEqual(seen(first))
  })

  it('has the first answer also when all contacts have gone meanwhile', async () => {
    const first = await send(sent())
    await call('DELETE', list())

    expect(seen(await repeat(sent()))).toEqual(seen(first))
  })

  it('is refused with another request under that key, which then changes nothing', async () => {
    const first = await send(sent())
    const refused = await repeat(other())

    expect([refused.status, refused.body]).toEqual([422, keyReused])
    expect(seen(await repeat(sent()))).toEqual(seen(first))
  })

  it('is another request where another account has the key', async () => {
    const first = await send(sent())
    const theirs = await send(sent(), key, callAsOther)

    expect(theirs.status).toBe(404)
    expect(seen(await repeat(sent()))).toEqual(seen(first))
  })

  it('is done anew after 24 hours', async () => {
    await send(sent())
    await database.db.run(age, { key })
    const second = await send(sent())

    expect(second.status).toBe(anew)
    expect(seen(await repeat(sent()))).toEqual(seen(second))
  })
})

describe('a refusal with a key', () => {
  const appear = defineStatement<{ account: number; id: number }>(
    'test_insert_organization',
    sql`insert into organizations (account_id, id, name)
      values (${param('account', 'bigint')}, ${param('id', 'bigint')}, 'Late ' || ${param('id', 'bigint')}::text)`,
  )
  const organizationAppears = () => database.db.run(appear, { account: database.ctx.account, id: missing })
  const contactAppear = defineStatement<{ account: number; organization: number; id: number }>(
    'test_insert_contact',
    sql`insert into contacts (account_id, organization_id, id, channel, label, value)
      values (${param('account', 'bigint')}, ${param('organization', 'bigint')}, ${param('id', 'bigint')},
        'telephone', 'general', '+1 203 413 4880')`,
  )
  const contactAppears = () =>
    database.db.run(contactAppear, { account: database.ctx.account, organization: organization.id, id: missing })
  const moveOn = () => updateContact(database.ctx, { id: contact.id, change: { telephone: { label: 'fax' } } })
  const body = { label: 'service_desk' }

  it.each<[string, () => Sent, number, () => Promise<unknown>]>([
    [
      'POST',
      () => ({ method: 'POST', path: list(missing), body: { ...body, email: 'a@b' } }),
      404,
      organizationAppears,
    ],
    ['PATCH', () => ({ method: 'PATCH', path: single(missing), body }), 404, contactAppears],
    ['PUT', () => ({ method: 'PUT', path: single(missing), body }), 404, contactAppears],
    ['PATCH', () => ({ method: 'PATCH', path: single(), body, ifMatch: '"v2"' }), 412, moveOn],
    ['PUT', () => ({ method: 'PUT', path: single(), body, ifMatch: '"v2", "v3"' }), 412, moveOn],
    ['DELETE', () => ({ method: 'DELETE', path: single(missing) }), 404, contactAppears],
    ['DELETE', () => ({ method: 'DELETE', path: single(), ifMatch: '"v2"' }), 412, moveOn],
    ['DELETE', () => ({ method: 'DELETE', path: list(missing) }), 404, organizationAppears],
  ])('of %s is told again, though it would be accepted by then: %#', async (_, sent, status, heal) => {
    const before = await stateOf(database.db)
    const first = await send(sent())
    const after = await stateOf(database.db)
    await heal()
    const again = await repeat(sent())
    const withAnother = await send(sent(), `${key}-another`)

    expect(first.status).toBe(status)
    expect(withoutKeys(after)).toEqual(withoutKeys(before))
    expect(seen(again)).toEqual(seen(first))
    expect(withAnother.status).toBeLessThan(300)
  })

  it('tells the version that the contact had then', async () => {
    const sent = { method: 'DELETE', path: single(), ifMatch: '"v7"' }
    await send(sent)
    await moveOn()

    expect((await repeat(sent)).headers.get('etag')).toBe('"v1"')
  })

  it.each<[string, () => Sent, number]>([
    ['its body', () => ({ method: 'POST', path: list(), body: { email: 'a@b' } }), 422],
    ['another channel', () => ({ method: 'PATCH', path: single(), body: { email: 'a@b' } }), 422],
    ['a condition on a list', () => ({ method: 'DELETE', path: list(), ifMatch: '"v1"' }), 412],
    ['an id that is none', () => ({ method: 'DELETE', path: single(-1) }), 404],
    ['unknown fields', () => ({ method: 'PATCH', path: `${single()}?fields=no`, body }), 400],
  ])('for %s alone is not kept: the key is free', async (_, sent, status) => {
    const refused = await repeat(sent())
    const accepted = await send({ method: 'DELETE', path: single() })

    expect([refused.status, accepted.status]).toEqual([status, 204])
  })

  it('of what is not there comes before one of the body, as without a key', async () => {
    const answers = [
      await send({ method: 'PATCH', path: single(missing), body: { label: 'no' } }),
      await call('PATCH', single(missing), { label: 'no' }),
      await send({ method: 'PATCH', path: single(missing), body: { email: 'a@b', website: 'c' } }),
    ]

    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404])
  })

  it('of a caller who may not write is given to repeats, too', async () => {
    await send({ method: 'DELETE', path: single() })
    const permissions = new Set([...allPermissions].filter((name) => name !== 'contacts:write'))
    const asReader = restFor({ ...database.ctx, permissions })

    expect((await unchanged(database, () => send({ method: 'DELETE', path: single() }, key, asReader))).status).toBe(
      403,
    )
  })
})

describe('a change whose contact has gone', () => {
  it.each<[string, object, object]>([
    ['email', { channel: 'email' }, { email: 'new@b' }],
    ['email', { channel: 'email' }, { telephone: null, website: null, label: 'service_desk' }],
    ['email', { channel: 'email' }, { telephone: null, integration: 'yes' }],
    ['telephone', {}, { label: 'service_desk_fax' }],
    ['telephone', {}, { email: null, telephone: '1', label: 'fax' }],
    ['telephone', {}, { unknown: 1 }],
    ['website', { channel: 'website' }, { website: 'new.example', email: null }],
    ['website', { channel: 'website' }, { label: 'general' }],
  ])('has its answer again, whatever the body names: %s, %#', async (_, given, body) => {
    const { id } = await aContact(database.ctx, organization.id, given)
    const sent = { method: 'PATCH', path: single(id), body }
    const first = await send(sent)
    await removeContact(database.ctx, { id })

    expect(first.status).toBe(200)
    expect(seen(await repeat(sent))).toEqual(seen(first))
  })

  it('is not found under another key', async () => {
    const sent = { method: 'PATCH', path: single(), body: { label: 'fax' } }
    await send(sent)
    await removeContact(database.ctx, { id: contact.id })

    expect((await send(sent, 'another')).status).toBe(404)
  })
})

describe('the same request', () => {
  it('may come with its body in another order, with .json and with other fields to show', async () => {
    const first = await send({
      method: 'POST',
      path: list(),
      body: { label: 'general', email: 'a@b', x: { b: 1, a: 2 } },
    })
    const again = await repeat({
      method: 'POST',
      path: `${list()}.json/?fields=email,id`,
      body: { x: { a: 2, b: 1 }, email: 'a@b', label: 'general' },
    })

    expect([again.status, again.body]).toEqual([201, { id: first.body.id, email: 'a@b' }])
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
  })

  it.each<[string, () => Sent]>([
    ['method', () => ({ method: 'PUT', path: single(), body: { label: 'fax' } })],
    ['path', () => ({ method: 'PATCH', path: `${list()}/${encodeId('Contact', contact.id)}`, body: { label: 'fax' } })],
    ['condition', () => ({ method: 'PATCH', path: single(), body: { label: 'fax' }, ifMatch: '*' })],
    ['body', () => ({ method: 'PATCH', path: single(), body: { label: 'fax', ignored: 1 } })],
  ])('is not one with another %s', async (_, other) => {
    await send({ method: 'PATCH', path: single(), body: { label: 'fax' } })

    expect((await repeat(other())).status).toBe(422)
  })

  it('is not a mutation with the same key', async () => {
    await send({ method: 'DELETE', path: list() })
    const { data } = await unchanged(database, () =>
      executeFor(database.ctx)(
        `mutation { clearContacts(input: { organizationId: ${organization.id} }) @idempotent(key: "${key}") { __typename } }`,
      ),
    )

    expect(data.clearContacts.__typename).toBe('ConflictError')
  })

  it('may hold what is nested very deep', async () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    const post = () =>
      call('POST', list(), `{"label":"general","email":"a@b","x":${deep}}`, {
        'content-type': 'application/json',
        'idempotency-key': key,
      })
    const first = await post()

    expect(first.status).toBe(201)
    expect(seen(await unchanged(database, post))).toEqual(seen(first))
  })
})

describe('the key', () => {
  it.each([
    ['k', '"k"'],
    ['a"b', '"a\\"b"'],
    ['a\\b', '"a\\\\b"'],
    ['a,b;c=d', '"a,b;c=d"'],
    ['x'.repeat(255), `"${'x'.repeat(255)}"`],
  ])('may be sent as it is, or as a quoted string: %s', async (bare, quoted) => {
    // Each with a key of its own, for others have used it before.
    const first = await send({ method: 'POST', path: list(), body: { label: 'general', email: 'a@b' } }, bare)
    const again = await unchanged(database, () =>
      send({ method: 'POST', path: list(), body: { label: 'general', email: 'a@b' } }, quoted),
    )

    expect(first.status).toBe(201)
    expect(seen(again)).toEqual(seen(first))
  })

  const rule = 'Idempotency-Key must be 1 to 255 visible ASCII characters without spaces'
  it.each([
    ['', `${rule}: it is empty`],
    ['""', `${rule}: it is empty`],
    ['two words', `${rule}: it is "two words"`],
    ['"two words"', `${rule}: it is "two words"`],
    ['one, another', `${rule}: it is "one, another"`],
    ['"one", "another"', `${rule}: it is "\\"one\\", \\"another\\""`],
    ['cl\u00e9', `${rule}: it is "cl\u00e9"`],
    ['x'.repeat(256), `${rule}: it has 256`],
    [`"${'x'.repeat(256)}"`, `${rule}: it has 256`],
    ['"unfinished', 'Idempotency-Key begins with a quotation mark, but is no quoted string: "\\"unfinished"'],
    ['"a"b"', 'Idempotency-Key begins with a quotation mark, but is no quoted string: "\\"a\\"b\\""'],
    ['"a\\b"', 'Idempotency-Key begins with a quotation mark, but is no quoted string: "\\"a\\\\b\\""'],
    ['"a";b=c', 'Idempotency-Key begins with a quotation mark, but is no quoted string: "\\"a\\";b=c"'],
  ])('%j is refused', async (given, message) => {
    for (const { sent } of calls) {
      const { status, body } = await unchanged(database, () => send(sent(), given))

      expect([status, body]).toEqual([400, { message }])
    }
  })

  it('that is sent in two headers is refused', async () => {
    const headers = new Headers([
      ['idempotency-key', 'one'],
      ['idempotency-key', 'one'],
    ])
    const { status } = await unchanged(database, () => call('DELETE', list(), undefined, Object.fromEntries(headers)))

    expect(status).toBe(400)
  })

  it('is ignored where nothing is written', async () => {
    const { status } = await unchanged(database, () => send({ method: 'GET', path: single() }, 'not a key'))
    const head = await call('HEAD', single(), undefined, { 'idempotency-key': 'not a key' })

    expect([status, head.status]).toEqual([200, 200])
  })
})
