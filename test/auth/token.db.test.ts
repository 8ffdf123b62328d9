import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { byToken } from '../../src/auth/token.ts'
import type { Permission } from '../../src/db/tables.ts'
import { createAccount } from '../../src/domain/accounts.ts'
import type { Context } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { createToken, hashOf, listTokens, revokeToken } from '../../src/domain/tokens.ts'
import { appFor, type TestApp } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let app: TestApp
let organization: { id: number }
let contact: { id: number }
/** An account that tests write to: what the others hold stays. */
let written: Context

beforeAll(async () => {
  app = appFor(database.ctx, { authenticate: byToken(database.db) })
  organization = await anOrganization(database.ctx, { name: 'Ours' })
  contact = await aContact(database.ctx, organization.id, { channel: 'email' })
  await anOrganization(database.otherCtx, { name: 'Theirs' })
  written = { ...database.ctx, account: (await createAccount(database.db, 'written')).id }
})

afterEach(() => {
  vi.restoreAllMocks()
})

const everything: Permission[] = ['organizations:write', 'contacts:write']

const create = (given: object = {}) =>
  createToken(database.db, { name: 'Test', accounts: ['demo'], permissions: everything, expiresAt: null, ...given })

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const headersOf = async (given: object = {}) => bearer((await create(given)).token)

interface Answer {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
  body: any
}

async function graphql(query: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await app.handle(
    new Request('http://gateway/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query }),
    }),
  )
  return { status: response.status, headers: response.headers, body: await response.json() }
}

/** Calls the REST API. `:organization` and `:contact` stand for the ids of those that there are. */
async function rest(
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const target = path.replace(':organization', `${organization.id}`).replace(':contact', `${contact.id}`)
  const response = await app.handle(
    new Request(`http://gateway/v1${target}`, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
      body: body && JSON.stringify(body),
    }),
  )
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined }
}

const graphqlRefusal = (code: string, message: string) => ({ errors: [{ message, extensions: { code } }] })

/** The two doors: how the names of the organizations are read by each, and how each puts a refusal. */
const doors = [
  {
    door: 'GraphQL',
    read: async (headers: Record<string, string>) => {
      const { status, headers: answered, body } = await graphql('{ organizations { nodes { name } } }', headers)
      const names = body.data?.organizations.nodes.map(({ name }: { name: string }) => name)
      return { status, headers: answered, body, names }
    },
    refusal: graphqlRefusal,
  },
  {
    door: 'REST',
    read: async (headers: Record<string, string>) => {
      const { status, headers: answered, body } = await rest('GET', '/organizations', undefined, headers)
      const names = Array.isArray(body) ? body.map(({ name }) => name) : undefined
      return { status, headers: answered, body, names }
    },
    refusal: (_code: string, message: string) => ({ message }),
  },
]

const realNow = performance.now.bind(performance)
/** Lets the clock that caches go by be ahead. */
const advance = (ms: number) => vi.spyOn(performance, 'now').mockImplementation(() => realNow() + ms)

describe.each(doors)('a token, at the door of $door,', ({ read, refusal }) => {
  const unauthorized = refusal('UNAUTHENTICATED', 'Unauthorized')
  const challenge = 'Bearer realm="contacts"'
  const invalid = 'Bearer realm="contacts", error="invalid_token"'
  const summary = ({ status, headers, body }: Answer) => ({
    status,
    challenge: headers.get('www-authenticate'),
    body,
  })

  it('lets its holder in', async () => {
    const { status, names } = await read(await headersOf())

    expect({ status, names }).toEqual({ status: 200, names: ['Ours'] })
  })

  it.each(['bearer', 'BEARER', 'Bearer  '])('is taken after the scheme %j', async (scheme) => {
    const { token } = await create()

    const { status } = await read({ authorization: `${scheme} ${token}` })

    expect(status).toBe(200)
  })

  it('is missed where there is none', async () => {
    expect(summary(await read({}))).toEqual({ status: 401, challenge, body: unauthorized })
  })

  it.each([
    ['nothing', ''],
    ['the scheme alone', 'Bearer'],
    ['another scheme', 'Basic Y2d3OmNndw=='],
    ['a token without a scheme', `cgw_${'a'.repeat(43)}`],
    ['two tokens', `Bearer cgw_${'a'.repeat(43)} cgw_${'b'.repeat(43)}`],
    ['two headers', `Bearer cgw_${'a'.repeat(43)}, Bearer cgw_${'b'.repeat(43)}`],
    ['characters that no token has', 'Bearer cgw_ü"'],
  ])('is missed where the header holds %s', async (_, authorization) => {
    expect(summary(await read({ authorization }))).toEqual({ status: 401, challenge, body: unauthorized })
  })

  it.each([
    ['unknown', `cgw_${'a'.repeat(43)}`],
    ['of another kind', 'ghp_0123456789abcdefghijklmnopqrstuvwxyz'],
    ['a character short', `cgw_${'a'.repeat(42)}`],
    ['a character long', `cgw_${'a'.repeat(44)}`],
    ['of 10,000 characters', 'a'.repeat(10_000)],
    ['a JSON Web Token', 'eyJhbGciOiJub25lIn0.eyJhY2NvdW50IjoiZGVtbyJ9.'],
  ])('is refused when it is %s', async (_, token) => {
    expect(summary(await read(bearer(token)))).toEqual({ status: 401, challenge: invalid, body: unauthorized })
  })

  it('is refused in other letters, and as its digest', async () => {
    const { token } = await create()

    const answers = await Promise.all(
      [token.toUpperCase(), `cgw_${token.slice(4).toLowerCase()}`, hashOf(token)].map((other) => read(bearer(other))),
    )

    expect(answers.map(summary)).toEqual(Array(3).fill({ status: 401, challenge: invalid, body: unauthorized }))
  })

  it('is taken up to its expiry, and from then on refused, however short ago it was looked up', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000)
    const headers = await headersOf({ expiresAt })
    const clock = vi.spyOn(Date, 'now').mockReturnValue(expiresAt.getTime() - 1)
    const before = await read(headers)

    clock.mockReturnValue(expiresAt.getTime())
    const after = await read(headers)

    expect(before.status).toBe(200)
    expect(summary(after)).toEqual({ status: 401, challenge: invalid, body: unauthorized })
  })

  it('is refused once it is revoked, within five seconds where it was just used', async () => {
    const { id, token } = await create()
    const startedAt = realNow()
    const before = await read(bearer(token))
    const lookedUpBy = realNow()
    await revokeToken(database.db, id)

    advance(5_000 + lookedUpBy - startedAt)
    const after = await read(bearer(token))

    expect(before.status).toBe(200)
    expect(summary(after)).toEqual({ status: 401, challenge: invalid, body: unauthorized })
  })

  it('is refused at once where it was revoked before it was ever used', async () => {
    const { id, token } = await create()
    await revokeToken(database.db, id)

    expect(summary(await read(bearer(token)))).toEqual({ status: 401, challenge: invalid, body: unauthorized })
  })

  describe('for several accounts', () => {
    const both = { accounts: ['demo', 'other'] }

    it.each([
      ['X-Xurrent-Account', 'demo', ['Ours']],
      ['X-Xurrent-Account', 'other', ['Theirs']],
      ['X-4me-Account', 'demo', ['Ours']],
      ['X-4me-Account', 'other', ['Theirs']],
    ])('reads by %s: %s its data alone', async (header, account, expected) => {
      const { status, names } = await read({ ...(await headersOf(both)), [header]: account })

      expect({ status, names }).toEqual({ status: 200, names: expected })
    })

    it('goes by the new spelling where both are sent', async () => {
      const { names } = await read({
        ...(await headersOf(both)),
        'X-4me-Account': 'demo',
        'X-Xurrent-Account': 'other',
      })

      expect(names).toEqual(['Theirs'])
    })

    it('must be told which', async () => {
      const { status, body } = await read(await headersOf(both))

      const message = 'Several accounts may be used: name one in X-Xurrent-Account'
      expect({ status, body }).toEqual({ status: 400, body: refusal('BAD_USER_INPUT', message) })
    })
  })

  describe('for one account', () => {
    it.each<Record<string, string>>([{}, { 'X-Xurrent-Account': 'demo' }, { 'X-4me-Account': 'demo' }])(
      'reads it with the headers %j',
      async (headers) => {
        const { status, names } = await read({ ...(await headersOf()), ...headers })

        expect({ status, names }).toEqual({ status: 200, names: ['Ours'] })
      },
    )

    it('is told the very same of an account that it may not use and of one that does not exist', async () => {
      const headers = await headersOf()
      const asSeen = ({ status, headers: answered, body }: Answer) => ({ status, headers: [...answered], body })

      const answers = await Promise.all(
        ['other', 'nobody', 'DEMO', 'demo, other', `${database.ctx.account}`].map((account) =>
          read({ ...headers, 'X-Xurrent-Account': account }),
        ),
      )

      expect(answers[0]).toMatchObject({ status: 403, body: refusal('FORBIDDEN', 'Forbidden'), names: undefined })
      for (const answer of answers) expect(asSeen(answer)).toEqual(asSeen(answers[0]!))
    })
  })

  it('is looked up once in five seconds, and so are those that do not exist', async () => {
    const headers = [await headersOf(), bearer(`cgw_${'z'.repeat(43)}`)]
    await Promise.all(headers.map(read))
    database.takeStatements()

    const answers = [...(await Promise.all(headers.map(read))), ...(await Promise.all(headers.map(read)))]

    expect(answers.map(({ status }) => status)).toEqual([200, 401, 200, 401])
    expect(database.takeStatements().filter((text) => /tokens/.test(text))).toEqual([])
  })

  it('tells in the list when it was used', async () => {
    const { id, token } = await create()

    await read(bearer(token))

    const [used] = (await listTokens(database.db)).filter((one) => one.id === id)
    expect(used!.lastUsedAt).toEqual(expect.any(Date))
  })
})

describe('the permissions of a token', () => {
  const email = { label: 'GENERAL', value: 'new@best-it.com' }
  const inGraphQL = (value: unknown) =>
    JSON.stringify(value)
      .replace(/"(\w+)":/g, '$1:')
      .replaceAll('"GENERAL"', 'GENERAL')

  const mutations: [name: string, needed: Permission, input: () => object][] = [
    ['addContact', 'contacts:write', () => ({ organizationId: organization.id, contact: { email } })],
    ['updateContact', 'contacts:write', () => ({ id: contact.id, change: { email } })],
    ['removeContact', 'contacts:write', () => ({ id: contact.id })],
    ['clearContacts', 'contacts:write', () => ({ organizationId: organization.id })],
    ['changeContacts', 'contacts:write', () => ({ organizationId: organization.id, add: [{ email }] })],
    [
      'importContacts',
      'contacts:write',
      () => ({ organizationId: organization.id, contacts: [{ contact: { email } }] }),
    ],
    ['createOrganization', 'organizations:write', () => ({ name: 'New' })],
    ['updateOrganization', 'organizations:write', () => ({ id: organization.id, name: 'Renamed' })],
  ]
  const calls: [method: string, path: string, body?: object][] = [
    ['POST', '/organizations/:organization/contacts', { label: 'general', email: 'new@best-it.com' }],
    ['PATCH', '/organizations/:organization/contacts/:contact', { email: 'new@best-it.com' }],
    ['PUT', '/organizations/:organization/contacts/:contact', { email: 'new@best-it.com' }],
    ['DELETE', '/organizations/:organization/contacts/:contact'],
    ['DELETE', '/organizations/:organization/contacts'],
    ['DELETE', '/organizations/:organization/contacts/'],
  ]
  const others = (needed: Permission): Permission[] =>
    needed === 'contacts:write'
      ? ['organizations:read', 'organizations:write', 'contacts:read']
      : ['organizations:read', 'contacts:read', 'contacts:write']

  it.each(mutations)('to do all but the one for %s do not suffice for it', async (name, needed, input) => {
    const headers = await headersOf({ permissions: others(needed) })
    const query = `mutation { ${name}(input: ${inGraphQL(input())}) { __typename } }`

    const { status, body } = await unchanged(database, () => graphql(query, headers))

    expect({ status, body }).toEqual({
      status: 200,
      body: {
        data: null,
        errors: [
          expect.objectContaining({
            message: `This needs the permission ${needed}.`,
            path: [name],
            extensions: { code: 'FORBIDDEN' },
          }),
        ],
      },
    })
  })

  it.each(calls)('to do all but to write contacts do not suffice for %s %s', async (method, path, body) => {
    const headers = await headersOf({ permissions: others('contacts:write') })

    const answer = await unchanged(database, () => rest(method, path, body, headers))

    expect({ status: answer.status, body: answer.body }).toEqual({ status: 403, body: { message: 'Forbidden' } })
  })

  it.each([
    ['a body without a contact', {}, {}],
    ['a body with two channels', { label: 'general', email: 'a@b', website: 'b.com' }, {}],
    ['a condition', { label: 'general', email: 'a@b' }, { 'if-match': '"v1"' }],
  ])('to read are told nothing about %s that is to be added', async (_, body, more) => {
    const headers = await headersOf({ permissions: ['organizations:read', 'contacts:read'] })

    const answer = await rest('POST', `/organizations/${organization.id}/contacts`, body, { ...headers, ...more })

    expect({ status: answer.status, body: answer.body }).toEqual({ status: 403, body: { message: 'Forbidden' } })
  })

  it('to write organizations suffice to create and to change one', async () => {
    const headers = await headersOf({ accounts: ['written'], permissions: ['organizations:write'] })

    const { body } = await graphql(
      'mutation { createOrganization(input: { name: "By a token" }) { ... on CreateOrganizationSuccess { organization { name } } } }',
      headers,
    )

    expect(body).toEqual({ data: { createOrganization: { organization: { name: 'By a token' } } } })
  })

  it('to write contacts suffice to add, change, read and remove one, through both doors', async () => {
    const headers = await headersOf({ accounts: ['written'], permissions: ['contacts:write'] })
    const { id } = await anOrganization(written)
    const path = `/organizations/${id}/contacts`

    const added = await rest('POST', path, { label: 'general', email: 'a@best-it.com' }, headers)
    const item = `${path}/${added.body.id}`
    const updated = await rest('PATCH', item, { email: 'b@best-it.com' }, headers)
    const got = await rest('GET', item, undefined, headers)
    const read = await graphql(`{ contact(id: ${added.body.id}) { ... on EmailContact { email } } }`, headers)
    const removed = await graphql(`mutation { removeContact(input: { id: ${added.body.id} }) { __typename } }`, headers)

    expect([added.status, updated.status, got.status]).toEqual([201, 200, 200])
    expect(got.body.email).toBe('b@best-it.com')
    expect(read.body).toEqual({ data: { contact: { email: 'b@best-it.com' } } })
    expect(removed.body).toEqual({ data: { removeContact: { __typename: 'RemoveContactSuccess' } } })
  })

  const contactReads: [document: string, query: () => string][] = [
    ['contact', () => `{ contact(id: ${contact.id}) { __typename } }`],
    ['contacts', () => '{ contacts(filter: { email: "info@best-it.com" }) { nodes { __typename } } }'],
    ['contacts.totalCount', () => '{ contacts(filter: { email: "info@best-it.com" }) { totalCount } }'],
    ['node', () => `{ node(id: "${encodeId('Contact', contact.id)}") { id } }`],
    ['nodes', () => `{ nodes(ids: ["${encodeId('Contact', contact.id)}"]) { id } }`],
  ]
  const organizationReads: [document: string, query: () => string][] = [
    ['organization', () => `{ organization(id: ${organization.id}) { name } }`],
    ['organizations', () => '{ organizations { nodes { name } } }'],
    ['organizations.totalCount', () => '{ organizations { totalCount } }'],
    ['organizations.pageInfo', () => '{ organizations { pageInfo { hasNextPage } } }'],
    ['node', () => `{ node(id: "${encodeId('Organization', organization.id)}") { id } }`],
    ['nodes', () => `{ nodes(ids: ["${encodeId('Organization', organization.id)}"]) { id } }`],
  ]
  const contactsBeneath: [document: string, query: () => string][] = [
    ['contacts.nodes', () => `{ organization(id: ${organization.id}) { contacts { nodes { __typename } } } }`],
    ['contacts.totalCount', () => `{ organization(id: ${organization.id}) { contacts { totalCount } } }`],
    ['organizations.contacts', () => '{ organizations { nodes { contacts { edges { cursor } } } } }'],
  ]
  const organizationsBeneath: [document: string, query: () => string][] = [
    [
      'contact.organization',
      () => `{ contact(id: ${contact.id}) { ... on ContactDetails { organization { name } } } }`,
    ],
    [
      'contacts.organization',
      () =>
        '{ contacts(filter: { email: "info@best-it.com" }) { nodes { ... on EmailContact { organization { id } } } } }',
    ],
  ]

  const codesOf = ({ body }: Answer) => new Set(body.errors?.map((error: { extensions: object }) => error.extensions))
  const leaves = (value: unknown): unknown[] =>
    typeof value === 'object' && value !== null ? Object.values(value).flatMap(leaves) : [value]

  it.each([...contactReads, ...contactsBeneath])('for organizations alone do not show %s', async (_, query) => {
    const headers = await headersOf({ permissions: ['organizations:write'] })

    const answer = await graphql(query(), headers)

    expect(codesOf(answer)).toEqual(new Set([{ code: 'FORBIDDEN' }]))
    expect(leaves(answer.body.data).filter((leaf) => leaf !== null)).toEqual([])
  })

  it.each([...organizationReads, ...organizationsBeneath])('for contacts alone do not show %s', async (_, query) => {
    const headers = await headersOf({ permissions: ['contacts:write'] })

    const answer = await graphql(query(), headers)

    expect(codesOf(answer)).toEqual(new Set([{ code: 'FORBIDDEN' }]))
    expect(leaves(answer.body.data).filter((leaf) => leaf !== null)).toEqual([])
  })

  it.each([
    ['organizations:read' as const, organizationReads],
    ['organizations:write' as const, organizationReads],
    ['contacts:read' as const, contactReads],
    ['contacts:write' as const, contactReads],
  ])('with %s alone show what it is for', async (granted, reads) => {
    const headers = await headersOf({ permissions: [granted] })

    const answers = await Promise.all(reads.map(([, query]) => graphql(query(), headers)))

    expect(answers.filter(({ body }) => body.errors)).toEqual([])
  })

  it('of a document are looked at field by field', async () => {
    const headers = await headersOf({ permissions: ['organizations:read'] })

    const { body } = await graphql(
      `{ organization(id: ${organization.id}) { name } contact(id: ${contact.id}) { __typename } }`,
      headers,
    )

    expect(body).toMatchObject({
      data: { organization: { name: 'Ours' }, contact: null },
      errors: [{ path: ['contact'], extensions: { code: 'FORBIDDEN' } }],
    })
  })

  describe('by REST', () => {
    const forbidden = { status: 403, body: { message: 'Forbidden' } }
    const get = async (path: string, permissions: Permission[]) => {
      const { status, body } = await rest('GET', path, undefined, await headersOf({ permissions }))
      return { status, body }
    }

    it.each([
      '/organizations/:organization/contacts',
      '/organizations/:organization/contacts/:contact',
      '/organizations/:organization?fields=id,contacts',
    ])('for organizations alone do not show %s', async (path) => {
      expect(await get(path, ['organizations:write'])).toEqual(forbidden)
    })

    it.each(['/organizations', '/organizations/:organization'])('for contacts alone do not show %s', async (path) => {
      expect(await get(path, ['contacts:write'])).toEqual(forbidden)
    })

    it('for organizations alone show an organization without its contacts', async () => {
      const answer = await get('/organizations/:organization?fields=name', ['organizations:read'])

      expect(answer).toEqual({ status: 200, body: { name: 'Ours' } })
    })

    it('for contacts alone show a contact', async () => {
      const answer = await get('/organizations/:organization/contacts/:contact?fields=id', ['contacts:read'])

      expect(answer).toEqual({ status: 200, body: { id: contact.id } })
    })

    it('for contacts alone show the contacts of an organization', async () => {
      const answer = await get('/organizations/:organization/contacts?fields=id', ['contacts:read'])

      expect(answer).toEqual({ status: 200, body: [{ id: contact.id }] })
    })
  })
})

describe('what needs no token', () => {
  const get = async (path: string, accept = '*/*', given = app) => {
    const response = await given.handle(new Request(`http://gateway${path}`, { headers: { accept } }))
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }

  it('is the page of GraphiQL, which shows no data whatever it is asked', async () => {
    const page = await get('/graphql', 'text/html')
    const asked = await get(`/graphql?query=${encodeURIComponent('{ organizations { nodes { name } } }')}`, 'text/html')

    expect(page).toMatchObject({ status: 200, type: expect.stringMatching(/^text\/html/) })
    expect(asked).toMatchObject({ status: 200, type: expect.stringMatching(/^text\/html/) })
    expect(asked.text).not.toContain('"Ours"')
  })

  it.each([
    ['/v1/docs', 'text/html; charset=utf-8'],
    ['/v1/openapi.json', 'application/json; charset=utf-8'],
    ['/v1/openapi', 'application/json; charset=utf-8'],
  ])('is %s', async (path, type) => {
    expect(await get(path)).toMatchObject({ status: 200, type })
  })

  it.each(['/nowhere', '/v1/nowhere', '/v1'])('is that there is nothing at %s', async (path) => {
    expect(await get(path)).toMatchObject({ status: 404, text: '{"message":"Not Found"}' })
  })

  it.each([
    ['/graphql', '*/*'],
    ['/graphql', 'application/json'],
    ['/graphql?query={__typename}', '*/*'],
    ['/graphql?query={__schema{types{name}}}', 'application/json'],
    ['/v1/organizations', '*/*'],
    ['/v1/organizations', 'text/html'],
    ['/v1/organizations/docs', '*/*'],
    ['/v1/organizations/1/contacts/', '*/*'],
    ['/v1/docs/../organizations', '*/*'],
  ])('is not %s for a caller that takes %s', async (path, accept) => {
    expect(await get(path, accept)).toMatchObject({ status: 401 })
  })

  it('is not the page where GraphiQL is off', async () => {
    const without = appFor(database.ctx, { authenticate: byToken(database.db), graphiql: false })

    expect(await get('/graphql', 'text/html', without)).toMatchObject({ status: 401 })
  })

  it('is no GraphQL of another site, a form or a page of a listed origin either', async () => {
    const answers = await Promise.all(
      ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'].map((type) =>
        app.handle(
          new Request('http://gateway/graphql', {
            method: 'POST',
            headers: { 'content-type': type, accept: 'text/html' },
            body: 'query={organizations{nodes{name}}}',
          }),
        ),
      ),
    )

    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401])
  })
})

describe('a database that does not answer', () => {
  it('is told as 503 to retry by both doors, never as a token that is wrong', async () => {
    const { DatabaseUnavailable } = await import('../../src/db/errors.ts')
    const db = { ...database.db, run: () => Promise.reject(new DatabaseUnavailable(new Error('down'))) }
    const { handle } = appFor(database.ctx, { authenticate: byToken(db) })
    const headers = { ...bearer(`cgw_${'a'.repeat(43)}`), 'content-type': 'application/json' }

    const [viaGraphQL, viaRest] = await Promise.all([
      handle(new Request('http://gateway/graphql', { method: 'POST', headers, body: '{"query":"{ __typename }"}' })),
      handle(new Request('http://gateway/v1/organizations', { headers })),
    ])

    const message = 'Callers cannot be authenticated at the moment. Try again later.'
    expect([viaGraphQL.status, viaGraphQL.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await viaGraphQL.json()).toEqual({
      errors: [{ message, extensions: { code: 'SERVICE_UNAVAILABLE', requestId: expect.any(String) } }],
    })
    expect([viaRest.status, viaRest.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await viaRest.json()).toEqual({ message: 'Service Unavailable' })
  })

  it('is asked again once it does', async () => {
    const { DatabaseUnavailable } = await import('../../src/db/errors.ts')
    const { token } = await create()
    let isDown = true
    const run = ((statement: never, parameters: never) =>
      isDown
        ? Promise.reject(new DatabaseUnavailable(new Error('down')))
        : database.db.run(statement, parameters)) as typeof database.db.run
    const { handle } = appFor(database.ctx, { authenticate: byToken({ ...database.db, run }) })
    const ask = () => handle(new Request('http://gateway/v1/organizations', { headers: bearer(token) }))
    const before = await ask()

    isDown = false
    const after = await ask()

    expect([before.status, after.status]).toEqual([503, 200])
  })
})
