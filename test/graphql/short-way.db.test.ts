import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AppOptions, createApp } from '../../src/app.ts'
import { createRateLimiter } from '../../src/auth/rate-limit.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { introspectionQuery } from '../support/graphql.ts'
import { randomFrom, randomRequest } from '../support/random-document.ts'

// An operation that was executed before takes a shorter way to its answer. No caller may see a difference.

const { FUZZ_SEED, FUZZ_RUNS = '150' } = process.env
const seed = FUZZ_SEED ? Number(FUZZ_SEED) : Math.floor(Math.random() * 2 ** 32)
/** The first time teaches, the second compiles, the third finds everything ready. */
const times = 3

const database = useDatabase()
const servers: RunningServer[] = []
const start = async (given: Partial<AppOptions> = {}) => {
  const server = await listen({ handler: createApp(appOptionsFor(database.ctx, given)), ...serverOptions })
  servers.push(server)
  return server.url
}

let shortUrl: string
let longUrl: string
let organization: { id: number; gid: string }
let contact: { id: number; gid: string }
let contactless: { gid: string }
beforeAll(async () => {
  await seedOrganizations(
    database.ctx,
    Array.from({ length: 30 }, (_, i) => plausibleOrganization(i, 3)),
  )
  const { id } = await anOrganization(database.ctx, { name: 'Quotes " and \\ and \u2028 and 🙂' })
  organization = { id, gid: encodeId('Organization', id) }
  const added = await aContact(database.ctx, id)
  contact = { id: added.id, gid: encodeId('Contact', added.id) }
  const { id: other } = await anOrganization(database.ctx)
  contactless = { gid: encodeId('Organization', other) }
  shortUrl = await start()
  longUrl = await start({ isShortWayOpen: false })
})
afterAll(() => Promise.all(servers.map((server) => server.close(0))))

interface Sent {
  body: string | object
  headers?: Record<string, string>
  path?: string
}

async function send(url: string, { body, headers = {}, path = '/graphql' }: Sent) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'the-same', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const { date: _, ...rest } = Object.fromEntries(response.headers)
  return { status: response.status, headers: rest, text: await response.text() }
}

async function expectSame(sent: Sent, normalize = (text: string) => text): Promise<void> {
  const long = await send(longUrl, sent)
  for (let time = 0; time < times; time += 1) {
    const short = await send(shortUrl, sent)
    expect({ ...short, text: normalize(short.text) }).toEqual({ ...long, text: normalize(long.text) })
  }
}

/** Errors of branches that wait for different statements come in the order in which those end, on either way. */
function withErrorsSorted(text: string): string {
  const { errors, ...rest } = JSON.parse(text)
  return errors
    ? JSON.stringify({ errors: errors.map((error: object) => JSON.stringify(error)).toSorted(), ...rest })
    : text
}

const pages = 'query Pages($first: Int) { organizations(first: $first) { nodes { name contacts { totalCount } } } }'
const one = 'query One($id: ID!) { organization(id: $id) { id name contacts { nodes { id __typename } } } }'
const two = `${one} query Two { organizations(first: 2) { nodes { name } } }`

describe('a request is answered alike, word by word, the first time and when it is known', () => {
  it.each<[string, () => Sent]>([
    ['a query', () => ({ body: { query: '{ organizations(first: 3) { nodes { name } } }' } })],
    ['with variables', () => ({ body: { query: one, variables: { id: organization.gid } } })],
    ['with text that JSON has to escape', () => ({ body: { query: one, variables: { id: String(organization.id) } } })],
    ['with a variable missing', () => ({ body: { query: one } })],
    ['with a variable of a wrong type', () => ({ body: { query: one, variables: { id: [1] } } })],
    ['with an id that is none', () => ({ body: { query: one, variables: { id: 'nonsense' } } })],
    ['that finds nothing', () => ({ body: { query: one, variables: { id: '1' } } })],
    ['with a variable too many', () => ({ body: { query: one, variables: { id: '1', more: 1 } } })],
    ['with variables that are null', () => ({ body: { query: pages, variables: null } })],
    ['with a null variable', () => ({ body: { query: pages, variables: { first: null } } })],
    ['with a page that is too large', () => ({ body: { query: pages, variables: { first: 1000 } } })],
    ['with more nodes than allowed', () => ({ body: { query: pages, variables: { first: 2_000_000 } } })],
    ['with a page that is no number', () => ({ body: { query: pages, variables: { first: 'x' } } })],
    ['with variables that are a list', () => ({ body: { query: pages, variables: [] } })],
    ['with variables that are a text', () => ({ body: { query: pages, variables: '{}' } })],
    ['one of several operations', () => ({ body: { query: two, operationName: 'Two' } })],
    ['several without saying which', () => ({ body: { query: two } })],
    ['an operation that is not there', () => ({ body: { query: two, operationName: 'Three' } })],
    ['an empty name', () => ({ body: { query: pages, operationName: '' } })],
    ['a name that is no text', () => ({ body: { query: pages, operationName: 1 } })],
    ['a null name', () => ({ body: { query: pages, operationName: null } })],
    ['extensions', () => ({ body: { query: pages, extensions: {} } })],
    ['an unknown parameter', () => ({ body: { query: pages, more: 1 } })],
    ['the name of a prototype', () => ({ body: '{"query":"{ __typename }","__proto__":{}}' })],
    ['a batch', () => ({ body: [{ query: pages }] })],
    ['no object', () => ({ body: '"text"' })],
    ['no JSON', () => ({ body: '{"query":' })],
    ['nothing', () => ({ body: '' })],
    ['a parameter twice', () => ({ body: '{"query":"{ nothing }","query":"{ __typename }"}' })],
    ['no document', () => ({ body: { query: '{' } })],
    ['a document that does not fit', () => ({ body: { query: '{ nothing }' } })],
    ['a query in the address', () => ({ body: { query: pages }, path: '/graphql?query={__typename}' })],
    ['a question mark', () => ({ body: { query: pages }, path: '/graphql?' })],
    ['a path that means the same', () => ({ body: { query: pages }, path: '/x/../graphql' })],
    ['introspection', () => ({ body: { query: introspectionQuery } })],
    ['only the name of the type', () => ({ body: { query: '{ __typename a: __typename }' } })],
    [
      'another charset',
      () => ({ body: { query: pages }, headers: { 'content-type': 'application/json; charset=utf-8' } }),
    ],
    ['another type', () => ({ body: { query: pages }, headers: { 'content-type': 'text/plain' } })],
    ['the cost', () => ({ body: { query: pages }, headers: { 'x-graphql-cost': '1' } })],
    ['an unexpected origin', () => ({ body: { query: pages }, headers: { origin: 'https://elsewhere.example' } })],
    ['a wrong cursor', () => ({ body: { query: '{ organizations(after: "x") { nodes { id } } }' } })],
    [
      'an error in the middle',
      () => ({
        body: { query: '{ organizations(first: 2) { nodes { name children(first: 1000) { totalCount } } } }' },
      }),
    ],
    [
      'a mutation that finds nothing',
      () => ({
        body: { query: 'mutation { removeContact(input: { id: 1 }) { ... on NotFoundError { message path } } }' },
      }),
    ],
    [
      'a mutation with a wrong argument',
      () => ({
        body: { query: 'mutation { removeContact(input: { id: "x" }) { __typename ... on UserError { message } } }' },
      }),
    ],
    [
      'a mutation whose answer has an error',
      () => ({
        body: {
          query: `mutation Change($id: ID!) { updateContact(input: { id: $id, change: { telephone: { integration: false } } }) {
            ... on UpdateContactSuccess { contact { ... on ContactDetails { id organization { contacts(first: 1000) { totalCount } } } } }
            ... on UserError { message }
          } }`,
          variables: { id: contact.gid },
        },
      }),
    ],
    [
      'an import that finds everything there already',
      () => ({
        body: {
          query: `mutation Import($input: ImportContactsInput!) { importContacts(input: $input) {
            ... on ImportContactsSuccess {
              results { outcome contact { __typename ... on ContactDetails { id channel label value version createdAt } } }
              removedContactIds organization { name }
            }
            ... on ValidationError { issues { path message code } }
          } }`,
          variables: {
            input: {
              organizationId: organization.gid,
              contacts: [{ contact: { telephone: { label: 'GENERAL', value: '+1 203 413 4880' } } }],
            },
          },
        },
      }),
    ],
    [
      'two mutations that change nothing',
      () => ({
        body: {
          query: `mutation { a: removeContact(input: { id: 1 }) { __typename } b: clearContacts(input: { organizationId: 1 }) { __typename } }`,
        },
      }),
    ],
  ])('%s', async (_, sent) => {
    await expectSame(sent())
  })

  it.each([
    'application/json',
    'application/graphql-response+json',
    'application/graphql-response+json, application/json;q=0.9',
    'application/json, application/graphql-response+json',
    '*/*',
    'application/*',
    'text/html',
    'text/event-stream',
    'multipart/mixed, application/json',
    'application/json; charset=utf-16',
    'nonsense',
    '',
  ])('whatever it accepts: %j', async (accept) => {
    await expectSame({ body: { query: pages }, headers: { accept } })
    await expectSame({ body: { query: pages, variables: { first: 1000 } }, headers: { accept } })
    await expectSame({ body: { query: '{ nothing }' }, headers: { accept } })
  })

  it('a mutation that adds', async () => {
    const query = `mutation Add($input: AddContactInput!) { addContact(input: $input) {
      ... on AddContactSuccess { contact { __typename ... on ContactDetails { id label value version createdAt } } }
      ... on ValidationError { issues { path message code } }
    } }`
    const input = { organizationId: organization.gid, contact: { email: { label: 'GENERAL', value: 'a@example.com' } } }
    const withoutWhatChanges = (text: string) => text.replace(/"(id|createdAt)":"[^"]+"/g, '"$1":""')

    await expectSame({ body: { query, variables: { input } } }, withoutWhatChanges)
    const wrong = { ...input, contact: { email: { label: 'GENERAL', value: ' ' } } }
    await expectSame({ body: { query, variables: { input: wrong } } })
  })

  it('a mutation that is done, and done once, although its answer has an error', async () => {
    const query = `mutation Add($id: ID!, $first: Int) {
      addContact(input: { organizationId: $id, contact: { website: { label: GENERAL, value: "once.example" } } }) {
        ... on AddContactSuccess { organization { contacts(first: $first) { totalCount } } }
      }
    }`
    for (const [first, total] of [
      [10, 1],
      [10, 2],
      [1000, 3],
      [1000, 4],
      [10, 5],
    ]) {
      const { text } = await send(shortUrl, { body: { query, variables: { id: contactless.gid, first } } })
      expect(text).toContain(first === 10 ? `"totalCount":${total}` : 'first is 1000')
    }
  })

  it('random queries, valid and broken', { timeout: 120_000 }, async () => {
    const schema = createSchema()
    const random = randomFrom(seed)
    const ids = [organization.gid, contact.gid, String(organization.id), encodeId('Organization', 1)]
    for (let run = 0; run < Number(FUZZ_RUNS); run += 1) {
      const { query, variables, operationName } = randomRequest(schema, random, ids)
      // Done again, it would come to something else.
      if (query.includes('mutation')) continue
      await expectSame({ body: { query, variables, operationName } }, withErrorsSorted).catch((error) => {
        throw new Error(`FUZZ_SEED=${seed}, document ${run}: ${query} ${JSON.stringify(variables)}`, { cause: error })
      })
    }
  })

  it('beyond a rate limit, which both ways count alike', async () => {
    const limited = () => ({
      limiter: createRateLimiter({ requests: 1000, nodes: 100, concurrent: 10, streams: 10 }, undefined),
      authenticate: async () => ({ ...database.ctx, key: 'caller' }),
    })
    const [short, long] = [await start(limited()), await start({ ...limited(), isShortWayOpen: false })]
    const query = '{ organizations(first: 40) { nodes { name } } }'
    const statuses: number[] = []

    for (let time = 0; time < 5; time += 1) {
      const [one, other] = await Promise.all([send(short, { body: { query } }), send(long, { body: { query } })])
      const withoutTime = ({ headers, text, ...answer }: typeof one) => ({
        ...answer,
        headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !/-after$|-reset$/.test(name))),
        text: text.replace(/"retryAfterSeconds":\d+/, ''),
      })
      expect(withoutTime(one)).toEqual(withoutTime(other))
      statuses.push(one.status)
    }

    expect(statuses).toEqual([200, 200, 429, 429, 429])
  })
})

describe('the short way', () => {
  /** Yoga is called by requests of the platform, and nothing else is. */
  let made = 0
  beforeAll(() => {
    const { Request } = globalThis
    globalThis.Request = class extends Request {
      constructor(...given: ConstructorParameters<typeof Request>) {
        super(...given)
        made += 1
      }
    }
    return () => {
      globalThis.Request = Request
    }
  })
  const madeFor = async (sent: Sent) => {
    const before = made
    expect(await send(shortUrl, sent)).toMatchObject({ status: 200 })
    return made - before
  }
  const mutation = 'mutation Known { removeContact(input: { id: 1 }) { __typename } }'

  it.each<[string, () => object]>([
    ['a query', () => ({ query: 'query Known { organizations(first: 1) { nodes { name } } }' })],
    [
      'a query with variables',
      () => ({ query: 'query Known($id: ID!) { node(id: $id) { id } }', variables: { id: contact.gid } }),
    ],
    ['a mutation', () => ({ query: mutation })],
  ])('is taken by %s from the second time on', async (_, bodyOf) => {
    const body = bodyOf()
    const accept = 'application/json'
    await madeFor({ body: { query: '{ __typename }' }, headers: { accept } })

    const counts = [
      await madeFor({ body, headers: { accept } }),
      await madeFor({ body, headers: { accept } }),
      await madeFor({ body, headers: { accept, 'content-type': 'application/json; charset=utf-8' } }),
    ]

    expect(counts).toEqual([1, 0, 0])
  })

  it('is taken no more by what it leaves to Yoga again and again', async () => {
    const query = 'query Wrong($first: Int) { organizations(first: $first) { totalCount nodes { name } } }'
    const first = { body: { query, variables: { first: 1 } } }
    await send(shortUrl, first)
    expect(await madeFor(first)).toBe(0)

    for (let time = 0; time < 20; time += 1) await send(shortUrl, { body: { query, variables: { first: 101 } } })

    expect(await madeFor(first)).toBe(1)
  })
})

describe('GraphQL by GET', () => {
  const query = encodeURIComponent('{ organizations(first: 2) { nodes { name contacts { totalCount } } } }')
  const get = async (headers: Record<string, string> = {}, path = `/graphql?query=${query}`, url = shortUrl) => {
    const response = await fetch(url + path, { headers: { accept: 'application/json', ...headers } })
    return { status: response.status, etag: response.headers.get('etag'), text: await response.text(), response }
  }

  it('has a tag, by which an answer that has not changed need not be sent again', async () => {
    const first = await get()
    const again = await get({ 'if-none-match': first.etag! })
    const oneOfSeveral = await get({ 'if-none-match': `"other", ${first.etag}` })

    expect(first).toMatchObject({ status: 200, etag: expect.stringMatching(/^W\/"[\w-]{22}"$/) })
    expect([again, oneOfSeveral]).toMatchObject(Array(2).fill({ status: 304, etag: first.etag, text: '' }))
    expect(again.response.headers.get('cache-control')).toBe('private, no-cache')
    expect(again.response.headers.get('vary')).toContain('authorization')
  })

  it('is sent again as soon as it shows something else', async () => {
    const { etag } = await get()
    const { id } = await anOrganization(database.ctx, { name: '!first of all' })

    const next = await get({ 'if-none-match': etag! })

    expect(next).toMatchObject({ status: 200, etag: expect.not.stringContaining(etag!) })
    await aContact(database.ctx, id)
    expect(await get({ 'if-none-match': next.etag! })).toMatchObject({ status: 200 })
  })

  it('is not left out for another account that has heard of the tag', async () => {
    const { etag, text } = await get()
    const account = await ensureAccount(database.db, 'another')
    const url = await start({ authenticate: async () => ({ account, permissions: allPermissions, key: undefined }) })

    const theirs = await get({ 'if-none-match': etag! }, undefined, url)

    expect(theirs).toMatchObject({ status: 200, text: '{"data":{"organizations":{"nodes":[]}}}' })
    expect([theirs.etag, theirs.text]).not.toEqual([etag, text])
  })

  it('has no tag where it was refused', async () => {
    const refused = await get({ accept: 'application/graphql-response+json' }, '/graphql?query={nothing}')

    expect(refused).toMatchObject({ status: 400, etag: null })
  })
})
