import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type AppOptions, createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import { checkDocuments, listManifest, sha256Of } from '../../src/graphql/trusted-documents.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'
import { introspectionQuery } from '../support/graphql.ts'

const database = useDatabase()
const servers: RunningServer[] = []
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close(0))))

const read = 'query Read($id: ID!) { organization(id: $id) { name } }'
const rename = `mutation Rename($id: ID!) {
  updateOrganization(input: { id: $id, name: "Renamed" }) { __typename }
}`
const two = 'query One { one: __typename } query Two { two: __typename }'
const long = `query Long { __typename } # ${'long '.repeat(2000)}`
const pages = 'query Pages($first: Int) { organizations(first: $first) { totalCount } }'

const { limits } = readConfig({})
const faults: string[] = []
const listed = listManifest(
  'persisted-documents.json',
  JSON.stringify({ [sha256Of(read)]: read, [sha256Of(rename)]: rename, relay1: read, two, long, pages }),
  faults,
)
const trustedDocuments = checkDocuments(listed, { schema: createSchema(), limits, introspection: true }, faults)
if (faults.length > 0) throw new Error(faults.join('\n'))

const start = async (given: Partial<AppOptions> = {}) => {
  const server = await listen({ handler: createApp(appOptionsFor(database.ctx, given)), ...serverOptions })
  servers.push(server)
  return `${server.url}/graphql`
}
const startTrusting = (given: Partial<AppOptions> = {}) => start({ trustedDocuments, ...given })
const startStrict = (given: Partial<AppOptions> = {}) =>
  startTrusting({ persistedOnly: true, persistedAutomatic: false, graphiql: false, ...given })

async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, json: await response.json() }
}

async function get(url: string, params: Record<string, string>, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}?${new URLSearchParams(params)}`, { headers })
  return { status: response.status, json: await response.json() }
}

const modern = { accept: 'application/graphql-response+json' }
const byHash = (sha256Hash: unknown, version: unknown = 1) => ({
  extensions: { persistedQuery: { version, sha256Hash } },
})
const ok = (data: unknown) => ({ status: 200, json: { data } })
const refused = (code: string, message: unknown = expect.any(String)) => ({
  status: 200,
  json: { errors: [{ message, extensions: { code } }] },
})

let id: string
beforeAll(async () => {
  id = encodeId('Organization', (await anOrganization(database.ctx, { name: 'Best IT' })).id)
})
const bestIt = ok({ organization: { name: 'Best IT' } })

describe('a trusted document', () => {
  it.each<[string, object]>([
    ['its documentId', { documentId: sha256Of(read) }],
    ['its documentId with the prefix of hashes', { documentId: `sha256:${sha256Of(read)}` }],
    ['the id that Relay gave it', { documentId: 'relay1' }],
    ['the doc_id that Relay has fetch functions send', { doc_id: 'relay1', query: null }],
    ['its id beside an empty query', { documentId: 'relay1', query: '' }],
    ["Apollo's persistedQuery", byHash(sha256Of(read))],
    [
      "Apollo's persistedQuery beside other extensions",
      { extensions: { ...byHash('relay1').extensions, trace: true } },
    ],
  ])('is executed by %s, the first time and when it is known', async (_, naming) => {
    const url = await startTrusting()

    for (let time = 0; time < 3; time += 1) expect(await post(url, { ...naming, variables: { id } })).toEqual(bestIt)
  })

  it('is executed by GET', async () => {
    const url = await startTrusting()
    const variables = JSON.stringify({ id })
    const extensions = JSON.stringify(byHash(sha256Of(read)).extensions)

    expect(await get(url, { documentId: `sha256:${sha256Of(read)}`, variables })).toEqual(bestIt)
    expect(await get(url, { doc_id: 'relay1', variables })).toEqual(bestIt)
    expect(await get(url, { extensions, variables })).toEqual(bestIt)
  })

  it('changes nothing by GET', async () => {
    const url = await startTrusting()
    const params = { documentId: sha256Of(rename), variables: JSON.stringify({ id }) }

    for (const headers of [{}, modern]) {
      const refusal = await get(url, params, headers)
      expect(refusal).toEqual(await get(url, { query: rename, variables: params.variables }, headers))
      expect(refusal).toMatchObject({ json: { errors: [expect.anything()] } })
    }
    expect(await get(url, params, modern)).toMatchObject({ status: 405 })
    expect(await post(url, { documentId: sha256Of(read), variables: { id } })).toEqual(bestIt)
  })

  it('may have several operations', async () => {
    const url = await startTrusting()
    const names = ['One', 'Two', undefined, 'Three']

    for (let time = 0; time < 2; time += 1) {
      const answers = await Promise.all(names.map((operationName) => post(url, { documentId: 'two', operationName })))
      expect(answers).toEqual([
        ok({ one: 'Query' }),
        ok({ two: 'Query' }),
        { ...refused('BAD_USER_INPUT'), status: 400 },
        { ...refused('BAD_USER_INPUT'), status: 400 },
      ])
    }
  })

  it('may be longer than what is remembered of other documents', async () => {
    const url = await startTrusting()

    for (let time = 0; time < 3; time += 1) {
      expect(await post(url, { documentId: 'long' })).toEqual(ok({ __typename: 'Query' }))
      expect(await get(url, { documentId: 'long' })).toEqual(ok({ __typename: 'Query' }))
    }
  })

  it('may ask for no more than any other, whatever its variables say', async () => {
    const url = await startTrusting()
    const ask = (first: number) => post(url, { documentId: 'pages', variables: { first } })

    for (let time = 0; time < 2; time += 1) {
      expect(await ask(10)).toMatchObject({ json: { data: { organizations: {} } } })
      expect(await ask(60_000)).toMatchObject({ json: { errors: [{ extensions: { code: 'QUERY_TOO_COMPLEX' } }] } })
    }
  })

  it('is one among all documents, unless nothing else is to be executed', async () => {
    const url = await startTrusting()

    expect(await post(url, { query: '{ __typename }' })).toEqual(ok({ __typename: 'Query' }))
  })

  it('is refused by an id that nobody has listed', async () => {
    const url = await startTrusting()
    const unknown = refused('PERSISTED_QUERY_NOT_FOUND', 'There is no document with this documentId.')

    for (const documentId of [
      'nothing',
      '',
      '__proto__',
      'constructor',
      'x'.repeat(200_000),
      'sha256:',
      'sha256:relay2',
    ])
      expect(await post(url, { documentId })).toEqual(unknown)
    expect(await post(url, '{"documentId":"__proto__","__proto__":null}')).toEqual(unknown)
    expect(await post(url, { documentId: 'nothing' }, modern)).toMatchObject({ status: 400 })
    expect(await get(url, { documentId: 'nothing' }, modern)).toMatchObject({ status: 400 })
  })

  it.each<[string, object]>([
    ['a number', { documentId: 1 }],
    ['a list', { documentId: ['relay1'] }],
    ['an object', { doc_id: { toString: 'relay1' } }],
    ['true', { documentId: true }],
    ['a hash that is no text', byHash(['relay1'])],
    ['a hash of another version', byHash('relay1', 2)],
    ['a persistedQuery that is a text', { extensions: { persistedQuery: 'relay1' } }],
    ['extensions that are a list', { extensions: [] }],
    ['a documentId and a query', { documentId: 'relay1', query: read }],
    ['a documentId and a hash', { documentId: 'relay1', ...byHash('relay1') }],
    ['a documentId and a doc_id', { documentId: 'relay1', doc_id: 'relay1' }],
    ['the id under another name', { documentID: 'relay1' }],
  ])('is not executed by %s', async (_, naming) => {
    const url = await startTrusting()
    await post(url, { documentId: 'relay1', variables: { id } })

    const { json } = await post(url, { ...naming, variables: { id } })

    expect(json).toEqual({ errors: [{ message: expect.any(String), extensions: { code: 'BAD_USER_INPUT' } }] })
  })
})

describe('a request that names a document is answered alike, word by word, without the short way', () => {
  it.each<[string, () => object]>([
    ['by documentId', () => ({ documentId: 'relay1', variables: { id } })],
    ['by hash', () => ({ ...byHash('relay1'), variables: { id } })],
    ['by a hash with its text', () => ({ query: read, ...byHash(sha256Of(read)), variables: { id } })],
    ['by a hash with another text', () => ({ query: pages, ...byHash(sha256Of(read)), variables: { id } })],
    ['without a variable', () => ({ documentId: 'relay1' })],
    ['with a variable of a wrong type', () => ({ documentId: 'relay1', variables: { id: [1] } })],
    ['with too many nodes', () => ({ documentId: 'pages', variables: { first: 60_000 } })],
    ['with variables that are a text', () => ({ documentId: 'relay1', variables: '{}' })],
    ['with an unknown parameter', () => ({ documentId: 'relay1', variables: { id }, more: 1 })],
    ['with extensions that are a list', () => ({ documentId: 'relay1', variables: { id }, extensions: [] })],
    ['with one of several operations', () => ({ documentId: 'two', operationName: 'Two' })],
    ['with several without saying which', () => ({ documentId: 'two' })],
    ['with an id that nobody has listed', () => ({ documentId: 'nothing' })],
    ['with a hash that nobody has sent', () => byHash('nothing')],
  ])('%s', async (_, body) => {
    const [short, long] = await Promise.all([startTrusting(), startTrusting({ isShortWayOpen: false })])
    const send = async (url: string, headers: Record<string, string>) => {
      const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } }
      const response = await fetch(url, { ...init, body: JSON.stringify(body()) })
      return [response.status, response.headers.get('content-type'), await response.text()]
    }

    for (const headers of [{}, modern]) {
      const expected = await send(long, headers)
      for (let time = 0; time < 3; time += 1) expect(await send(short, headers)).toEqual(expected)
    }
  })
})

describe('where only trusted documents are executed', () => {
  it('they are', async () => {
    const url = await startStrict()
    const asked = { documentId: sha256Of(read), variables: { id } }

    for (let time = 0; time < 3; time += 1) expect(await post(url, asked)).toEqual(bestIt)
    expect(await post(url, { ...byHash(sha256Of(read)), variables: { id } })).toEqual(bestIt)
    expect(await get(url, { documentId: sha256Of(read), variables: JSON.stringify({ id }) })).toEqual(bestIt)
  })

  it.each<[string, object]>([
    ['a query', { query: '{ __typename }' }],
    ['a query that is no document', { query: '{{{' }],
    ['the text of a trusted document', { query: read }],
    ['introspection', { query: introspectionQuery }],
    ['a query with its hash', { query: read, ...byHash(sha256Of(read)) }],
    ['a query beside an id', { query: '{ __typename }', documentId: 'relay1' }],
    ['an empty query', { query: '' }],
    ['no document at all', {}],
  ])('%s is refused before anything looks at it', async (_, body) => {
    const url = await startStrict()
    await post(url, { documentId: 'relay1', variables: { id } })
    const expected = refused(
      'PERSISTED_QUERY_ID_REQUIRED',
      'Only trusted documents are executed: send the documentId of one, and no query.',
    )

    for (let time = 0; time < 2; time += 1) expect(await post(url, { ...body, variables: { id } })).toEqual(expected)
    expect(await post(url, body, modern)).toMatchObject({ status: 400 })
  })

  it('a query by GET is refused', async () => {
    const url = await startStrict()
    const expected = refused('PERSISTED_QUERY_ID_REQUIRED')

    expect(await get(url, { query: '{ __typename }' })).toEqual(expected)
    expect(await get(url, { query: '{ __typename }', documentId: 'two' })).toEqual(expected)
    expect(await get(url, {})).toEqual(expected)
  })

  it('an id that is not listed is refused in a way that no client sends the query after', async () => {
    const url = await startStrict()
    const expected = refused(
      'PERSISTED_QUERY_NOT_IN_LIST',
      'Only trusted documents are executed, and none of them has this id.',
    )

    expect(await post(url, { documentId: '__proto__' })).toEqual(expected)
    expect(await post(url, byHash(sha256Of(pages)))).toEqual(expected)
    expect(await get(url, { documentId: 'nothing' })).toEqual(expected)
  })

  it('nobody adds one', async () => {
    const url = await startStrict({ persistedAutomatic: true })
    const query = '{ __typename }'
    await post(url, { query, ...byHash(sha256Of(query)) })

    expect(await post(url, byHash(sha256Of(query)))).toEqual(refused('PERSISTED_QUERY_NOT_IN_LIST'))
  })

  it('a batch and a form are refused', async () => {
    const url = await startStrict()

    expect(await post(url, [{ documentId: 'two', operationName: 'One' }])).toMatchObject({ status: 400 })
    const form = await fetch(url, { method: 'POST', body: new URLSearchParams({ query: '{ __typename }' }) })
    expect(form.status).toBe(415)
  })
})

describe('an automatic persisted query', () => {
  const query = 'query Own { own: __typename }'
  const hash = sha256Of(query)
  const notFound = refused('PERSISTED_QUERY_NOT_FOUND', 'PersistedQueryNotFound')
  const own = ok({ own: 'Query' })

  it('is executed by its hash once it was sent with it', async () => {
    const url = await start()

    expect(await post(url, byHash(hash))).toEqual(notFound)
    expect(await post(url, { query, ...byHash(hash) })).toEqual(own)
    for (let time = 0; time < 3; time += 1) expect(await post(url, byHash(hash))).toEqual(own)
    expect(await get(url, { extensions: JSON.stringify(byHash(hash).extensions) })).toEqual(own)
  })

  it('is registered as well where the query is known already', async () => {
    const url = await start()
    for (let time = 0; time < 2; time += 1) expect(await post(url, { query })).toEqual(own)

    await post(url, { query, ...byHash(hash) })

    expect(await post(url, byHash(hash))).toEqual(own)
  })

  it('is registered by GET as well', async () => {
    const url = await start()
    await get(url, { query, extensions: JSON.stringify(byHash(hash).extensions) })

    expect(await post(url, byHash(hash))).toEqual(own)
  })

  it('is refused where the hash is of something else', async () => {
    const url = await start()
    const mismatch = refused('BAD_USER_INPUT', 'The sha256Hash is not that of the query.')
    await post(url, { query })

    for (const wrong of [sha256Of('{ __typename }'), hash.toUpperCase(), '', '__proto__']) {
      expect(await post(url, { query, ...byHash(wrong) })).toEqual(mismatch)
      expect(await post(url, byHash(wrong))).toEqual(notFound)
    }
  })

  it('is not registered where it is not valid, or asks for too much', async () => {
    const url = await start()

    for (const wrong of ['{ nothing }', '{', `{ ${'a: __typename '.repeat(31)} }`]) {
      await post(url, { query: wrong, ...byHash(sha256Of(wrong)) })
      expect(await post(url, byHash(sha256Of(wrong)))).toEqual(notFound)
    }
  })

  it('is known to the account alone that has sent it', async () => {
    const other = await ensureAccount(database.db, 'another')
    const { account } = database.ctx
    const callers = { mine: account, theirs: other }
    const url = await start({
      authenticate: async (headers) => ({
        account: callers[headers.get('x-caller') as keyof typeof callers],
        permissions: allPermissions,
        key: undefined,
      }),
    })
    const as = (caller: keyof typeof callers) => ({ 'x-caller': caller })
    await post(url, { query, ...byHash(hash) }, as('mine'))

    expect(await post(url, byHash(hash), as('mine'))).toEqual(own)
    expect(await post(url, byHash(hash), as('theirs'))).toEqual(notFound)
    expect(await post(url, { query, ...byHash(hash) }, as('theirs'))).toEqual(own)
    expect(await post(url, byHash(hash), as('theirs'))).toEqual(own)
    expect(await post(url, byHash(hash), as('mine'))).toEqual(own)
  })

  it('changes nothing by GET', async () => {
    const url = await start()
    const { extensions } = byHash(sha256Of(rename))
    await post(url, { query: rename, extensions, variables: { id: encodeId('Organization', 999_999) } })

    const params = { extensions: JSON.stringify(extensions), variables: JSON.stringify({ id }) }
    const answer = await get(url, params, modern)

    expect(answer).toMatchObject({ status: 405 })
    expect(await post(url, { query: read, variables: { id } })).toEqual(bestIt)
  })

  it('is not served where that is off, which clients are told', async () => {
    const url = await start({ persistedAutomatic: false })

    expect(await post(url, { query, ...byHash(hash) })).toEqual(own)
    expect(await post(url, byHash(hash))).toEqual(
      refused('PERSISTED_QUERY_NOT_SUPPORTED', 'PersistedQueryNotSupported'),
    )
  })

  it('is sent as a query where that is off, and other documents are trusted', async () => {
    const url = await startTrusting({ persistedAutomatic: false })

    expect(await post(url, byHash(hash))).toEqual(notFound)
    expect(await post(url, { query, ...byHash(hash) })).toEqual(own)
    expect(await post(url, byHash(hash))).toEqual(notFound)
    expect(await post(url, { ...byHash('relay1'), variables: { id } })).toEqual(bestIt)
  })
})
