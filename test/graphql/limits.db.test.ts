import { beforeAll, describe, expect, it } from 'vitest'
import type { AppOptions } from '../../src/app.ts'
import type { DocumentLimits } from '../../src/graphql/limits.ts'
import { appFor } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import type { Answer } from '../support/graphql.ts'
import { introspectionQuery } from '../support/graphql.ts'

const database = useDatabase()
beforeAll(async () => {
  const { id } = await anOrganization(database.ctx)
  await aContact(database.ctx, id)
})

interface Told extends Answer {
  extensions?: unknown
}

interface Params {
  query: string
  variables?: Record<string, unknown>
  operationName?: string
}

/** Sends the text of a body, and tells what came back. */
async function send(body: string, given: Partial<AppOptions> = {}, headers: Record<string, string> = {}) {
  const accept = 'application/graphql-response+json'
  const response = await appFor(database.ctx, given).handle(
    new Request('http://gateway/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept, ...headers },
      body,
    }),
  )
  const text = await response.text()
  return { status: response.status, text, json: JSON.parse(text) as Told }
}

const ask = (params: Params, ...more: [given?: Partial<AppOptions>, headers?: Record<string, string>]) =>
  send(JSON.stringify(params), ...more)

const sentences: Record<keyof DocumentLimits, [before: string, after: string]> = {
  tokens: ['The document has', 'tokens'],
  depth: ['The document is', 'levels deep'],
  aliases: ['The document has', 'aliases'],
  rootFields: ['The operation has', 'fields'],
  directives: ['The document has', 'directives'],
  listItems: ['A list of the input has', 'items'],
  nodes: ['The document asks for', 'nodes'],
}

function refusal(kind: keyof DocumentLimits, actual: number, limit: number) {
  const [before, after] = sentences[kind]
  return {
    message: `${before} ${actual} ${after}; at most ${limit} are allowed.`,
    extensions: { code: 'QUERY_TOO_COMPLEX', limit, actual },
  }
}

const times = (count: number, item: string | ((index: number) => string)) =>
  Array.from({ length: count }, (_, i) => (typeof item === 'string' ? item : item(i))).join(' ')

/** `{ organization { … } }` of this many tokens. */
const ofTokens = (tokens: number) =>
  `{ organization(id: 1) { ${times(tokens - 10, (i) => scalars[i % scalars.length]!)} } }`
const scalars = ['id', 'databaseId', 'name', 'disabled', 'source', 'sourceID', 'createdAt', 'updatedAt']
const nested = (levels: number) =>
  `{ organization(id: 1) { ${'parent { '.repeat(levels - 2)} name ${'} '.repeat(levels - 2)} } }`
const aliased = (aliases: number) => `{ organization(id: 1) { ${times(aliases, (i) => `a${i}: name`)} } }`
const directed = (directives: number) => `{ organization(id: 1) { ${times(directives, 'name @include(if: true)')} } }`
const labelled = (labels: string) =>
  `{ organization(id: 1) { contacts(filter: { labels: ${labels} }) { totalCount } } }`
const labels = (length: number): string[] => Array.from({ length }, () => 'FAX')
const ofLabels =
  'query($labels: [ContactLabel!]) { organization(id: 1) { contacts(filter: { labels: $labels }) { totalCount } } }'
const ofFilter = 'query($filter: ContactFilter) { organization(id: 1) { contacts(filter: $filter) { totalCount } } }'
/** A thousand nodes for each that a page holds. */
const thousand = 'nodes { children(first: 27) { nodes { contacts(first: 36) { totalCount } } } }'
const paged = (first: string) => `organizations(first: ${first}) { ${thousand} }`
const ofPage = `query($first: Int) { ${paged('$first')} one: organizations(first: 1) { totalCount } }`

const ofSize = 'query($first: Int) { organizations(first: $first) { totalCount } }'

interface Case {
  kind: keyof DocumentLimits
  how: string
  limit: number
  at: Params
  above: Params
  /** Unless it is one more than the limit. */
  actual?: number
}

const cases: Case[] = [
  { kind: 'tokens', how: 'by fields', limit: 2000, at: { query: ofTokens(2000) }, above: { query: ofTokens(2001) } },
  {
    kind: 'tokens',
    how: 'by a value, with comments that do not count',
    limit: 2000,
    at: { query: `# a b c { } \n${ofTokens(2000)}` },
    above: { query: `{ organization(id: 1) { ${times(1988, 'name')} } node(id: "") }` },
    actual: 2004,
  },
  { kind: 'depth', how: 'by fields', limit: 12, at: { query: nested(12) }, above: { query: nested(13) } },
  {
    kind: 'depth',
    how: 'by inline fragments, which are no level themselves',
    limit: 12,
    at: { query: nested(12).replace(' name ', ' ... { ... on Organization { ... on Node { id } } } ') },
    above: { query: nested(12).replace(' name ', ' ... { ... on Organization { parent { name } } } ') },
  },
  {
    kind: 'depth',
    how: 'by the sum of nested fragments',
    limit: 12,
    at: {
      query: `{ organization(id: 1) { ...A } } fragment A on Organization { parent { parent { parent { parent { parent { ...B } } } } } }
        fragment B on Organization { parent { parent { parent { parent { parent { name } } } } } }`,
    },
    above: {
      query: `{ organization(id: 1) { ...A } } fragment A on Organization { parent { parent { parent { parent { parent { ...B } } } } } }
        fragment B on Organization { parent { parent { parent { parent { parent { parent { name } } } } } } }`,
    },
  },
  { kind: 'aliases', how: 'by fields', limit: 30, at: { query: aliased(30) }, above: { query: aliased(31) } },
  {
    kind: 'aliases',
    how: 'by the sum of fragments',
    limit: 30,
    at: {
      query: `{ organization(id: 1) { ...A parent { ...A } } } fragment A on Organization { ${times(15, (i) => `a${i}: name`)} }`,
    },
    above: {
      query: `{ organization(id: 1) { ...A b: parent { ...A } } } fragment A on Organization { ${times(15, (i) => `a${i}: name`)} }`,
    },
  },
  {
    kind: 'aliases',
    how: 'by the sum of fragments within introspection',
    limit: 30,
    at: {
      query: `{ __schema { types { ${times(5, (i) => `a${i}: fields { ...A }`)} } } } fragment A on __Field { ${times(5, (i) => `b${i}: name`)} }`,
    },
    above: {
      query: `{ c: __schema { types { ${times(5, (i) => `a${i}: fields { ...A }`)} } } } fragment A on __Field { ${times(5, (i) => `b${i}: name`)} }`,
    },
  },
  {
    kind: 'rootFields',
    how: 'by fields',
    limit: 20,
    at: { query: `{ ${times(20, '__typename')} }` },
    above: { query: `{ ${times(21, '__typename')} }` },
  },
  {
    kind: 'rootFields',
    how: 'by the sum of fragments',
    limit: 20,
    at: { query: `{ ...A ...A } fragment A on Query { ${times(10, '__typename')} }` },
    above: { query: `{ ...A ... { ...A } __typename } fragment A on Query { ${times(10, '__typename')} }` },
  },
  { kind: 'directives', how: 'on fields', limit: 20, at: { query: directed(20) }, above: { query: directed(21) } },
  {
    kind: 'directives',
    how: 'by the sum of fragments',
    limit: 20,
    at: {
      query: `{ organization(id: 1) { ...A @include(if: true) parent { ...A @skip(if: false) } } }
        fragment A on Organization { ${times(9, 'name @skip(if: false)')} }`,
    },
    above: {
      query: `{ organization(id: 1) { ...A @include(if: true) parent { ... @include(if: true) { ...A @skip(if: false) } } } }
        fragment A on Organization { ${times(9, 'name @skip(if: false)')} }`,
    },
  },
  {
    kind: 'listItems',
    how: 'by literal',
    limit: 250,
    at: { query: labelled(`[${labels(250)}]`) },
    above: { query: labelled(`[${labels(251)}]`) },
  },
  {
    kind: 'listItems',
    how: 'by variable',
    limit: 250,
    at: { query: ofLabels, variables: { labels: labels(250) } },
    above: { query: ofLabels, variables: { labels: labels(251) } },
  },
  {
    kind: 'listItems',
    how: 'within a variable',
    limit: 250,
    at: { query: ofFilter, variables: { filter: { labels: labels(250) } } },
    above: { query: ofFilter, variables: { filter: { labels: labels(251) } } },
  },
  {
    kind: 'listItems',
    how: 'by the default value of a variable',
    limit: 250,
    at: { query: ofLabels.replace('])', `] = [${labels(250)}])`) },
    above: { query: ofLabels.replace('])', `] = [${labels(251)}])`) },
  },
  {
    kind: 'nodes',
    how: 'by literal',
    limit: 50_000,
    at: { query: `{ ${paged('50')} }` },
    above: { query: `{ ${paged('50')} one: organizations(last: 1) { totalCount } }` },
  },
  {
    kind: 'nodes',
    how: 'by variable',
    limit: 50_000,
    at: { query: `query($first: Int) { ${paged('$first')} }`, variables: { first: 50 } },
    above: { query: ofPage, variables: { first: 50 } },
  },
  {
    kind: 'nodes',
    how: 'by the default value of a variable',
    limit: 50_000,
    at: { query: `query($first: Int = 50) { ${paged('$first')} }` },
    above: { query: ofPage.replace('Int', 'Int = 50') },
  },
  {
    kind: 'nodes',
    how: 'by the default of a page, where the variable is null in place of its default value',
    limit: 50_000,
    at: { query: `query($first: Int = 1) { ${paged('$first')} }`, variables: { first: null } },
    above: { query: ofPage.replace('Int', 'Int = 1'), variables: { first: null } },
  },
  {
    kind: 'nodes',
    how: 'by the sum of fragments',
    limit: 50_000,
    at: {
      query: `{ a: organizations(first: 25) { ...A } b: organizations(last: 25) { ...A } } fragment A on OrganizationConnection { ${thousand} }`,
    },
    above: {
      query: `{ a: organizations(first: 25) { ...A } b: organizations(last: 26) { ...A } } fragment A on OrganizationConnection { ${thousand} }`,
    },
    actual: 51_000,
  },
  {
    kind: 'nodes',
    how: 'by nested fragments with variables',
    limit: 50_000,
    at: {
      query: `query($n: Int!) { ...A } fragment A on Query { organizations(first: 50) { nodes { ...B } } }
        fragment B on Organization { children(last: $n) { edges { node { contacts(first: 36) { totalCount } } } } }`,
      variables: { n: 27 },
    },
    above: {
      query: `query($n: Int!) { ...A } fragment A on Query { organizations(first: 50) { nodes { ...B } } }
        fragment B on Organization { children(last: $n) { edges { node { contacts(first: 36) { totalCount } } } } }`,
      variables: { n: 28 },
    },
    actual: 51_850,
  },
  {
    kind: 'nodes',
    how: 'by the number of ids',
    limit: 50_000,
    at: {
      query: `query($constructor: [ID!]! = [${times(4, '"T3JnYW5pemF0aW9uOjE"')}]) { nodes(ids: $constructor) { ... on Organization { children(first: 100) { nodes { contacts(first: 100) { totalCount } } } } } }`,
    },
    above: {
      query: `query($constructor: [ID!]! = [${times(5, '"T3JnYW5pemF0aW9uOjE"')}]) { nodes(ids: $constructor) { ... on Organization { children(first: 100) { nodes { contacts(first: 100) { totalCount } } } } } }`,
    },
    actual: 50_505,
  },
  {
    kind: 'nodes',
    how: 'by ancestors of ancestors',
    limit: 50_000,
    at: { query: '{ organization(id: 1) { ancestors { ancestors { name } } } }' },
    above: { query: '{ organization(id: 1) { ancestors { ancestors { ancestors { name } } } } }' },
    actual: 100 * (1 + 100 * (1 + 100)),
  },
  {
    kind: 'nodes',
    how: 'by a huge page',
    limit: 50_000,
    at: { query: ofSize, variables: { first: 100 } },
    above: {
      query: ofSize,
      variables: { first: 2_147_483_647 },
    },
    actual: 2_147_483_647,
  },
]

describe.each(cases)('the limit of $kind, reached $how', ({ kind, limit, at, above, actual = limit + 1 }) => {
  it('lets a document at the limit be answered', async () => {
    const { status, json } = await ask(at)

    expect(json).toEqual({ data: expect.any(Object) })
    expect(status).toBe(200)
  })

  it('refuses a document above it, naming the limit and the actual value', async () => {
    const { status, json } = await ask(above)

    expect(json).toEqual({ errors: [refusal(kind, actual, limit)] })
    expect(status).toBe(400)
  })
})

describe('a document', () => {
  it('above several limits is told of each', async () => {
    const { status, json } = await ask({
      query: `query($ids: [ID!]!) { ${times(21, (i) => `a${i}: nodes(ids: $ids) { ${directed(1).slice(1, -1)} }`)} }`,
      variables: { ids: labels(5000) },
    })

    expect(status).toBe(400)
    expect(json.errors).toEqual([
      refusal('rootFields', 21, 20),
      refusal('directives', 21, 20),
      refusal('listItems', 5000, 250),
      refusal('nodes', 105_000, 50_000),
    ])
  })

  it('above a limit is refused by GET, too', async () => {
    const query = encodeURIComponent(nested(13))
    const response = await appFor(database.ctx).handle(new Request(`http://gateway/graphql?query=${query}`))

    expect(await response.json()).toEqual({ errors: [refusal('depth', 13, 12)] })
  })

  it('of several operations is judged by the one that is named', async () => {
    const query = `query Small { __typename } query Large { ${times(21, '__typename')} }`

    expect(await ask({ query, operationName: 'Small' })).toMatchObject({
      status: 200,
      json: { data: { __typename: 'Query' } },
    })
    expect(await ask({ query, operationName: 'Large' })).toMatchObject({
      status: 400,
      json: { errors: [refusal('rootFields', 21, 20)] },
    })
    for (const operationName of [undefined, 'Missing']) {
      const { status, json } = await ask({ query, operationName })
      expect(status).toBe(400)
      expect(json.data).toBeUndefined()
    }
  })

  it('is judged anew with other variables', async () => {
    const app = appFor(database.ctx)
    const statuses: number[] = []
    for (const first of [49, 50, 49]) {
      const response = await app.handle(
        new Request('http://gateway/graphql', {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
          body: JSON.stringify({ query: ofPage, variables: { first } }),
        }),
      )
      statuses.push(response.status)
    }

    expect(statuses).toEqual([200, 400, 200])
  })

  it('is judged by the limits that are set', async () => {
    const limits = { tokens: 10, depth: 1, aliases: 0, rootFields: 1, directives: 0, listItems: 1, nodes: 5 }

    expect((await ask({ query: '{ __typename }' }, { limits })).json).toEqual({ data: { __typename: 'Query' } })
    expect((await ask({ query: '{ a: __typename b: __typename }' }, { limits })).json.errors).toEqual([
      refusal('aliases', 2, 0),
      refusal('rootFields', 2, 1),
    ])
  })

  it.each([
    ['`first` and `last` together', 'query { organizations(first: 1, last: 1) { totalCount } }', {}],
    ['a negative page size', '{ organizations(first: -1) { totalCount } }', {}],
    ['a page size of 0', '{ organizations(last: 0) { totalCount } }', {}],
    ['a page size above the greatest page', '{ organizations(first: 101) { totalCount } }', {}],
    ['a negative page size by variable', ofSize, { first: -1 }],
    ['half a node', ofSize, { first: 0.5 }],
    ['a page size that no integer holds', `{ organizations(first: 1${'0'.repeat(400)}) { totalCount } }`, {}],
    ['a fragment that spreads itself', '{ ...A } fragment A on Query { __typename ...A }', {}],
    [
      'fragments that spread each other',
      '{ ...A } fragment A on Query { ...B } fragment B on Query { ...C } fragment C on Query { ...A }',
      {},
    ],
    ['a fragment that is missing', '{ ...Missing }', {}],
    ['an unknown field with a page', '{ unknown(first: 100) { nodes { children(first: 100) { totalCount } } } }', {}],
    ['an unknown type', '{ ... on Unknown { organizations { totalCount } } }', {}],
  ])('with %s is refused as wrong, not as too large', async (_, query, variables) => {
    const { json } = await ask({ query, variables })

    expect(json.errors?.map(({ extensions }) => extensions.code)).toEqual(
      json.errors?.map(() => 'BAD_USER_INPUT') ?? ['BAD_USER_INPUT'],
    )
    expect(json.data ?? null).toBeNull()
  })

  it('with an infinite page beneath an empty one is refused before it is counted', async () => {
    const body = `{ "query": "query($none: Int, $all: Int) { organizations(first: $none) { nodes { children(first: $all) { totalCount } } } }",
      "variables": { "none": 0, "all": 1e400 } }`

    const spent: number[] = []
    const limiter = {
      enter: async () => ({ headers: {}, leave: () => {} }),
      spendNodes: async (_key: string, nodes: number) => void spent.push(nodes),
      openStream: () => () => {},
    }
    const { status } = await send(body, { limiter })

    expect(status).toBe(400)
    expect(spent).toEqual([0])
  })
})

describe('what a document costs', () => {
  const query = '{ organizations(first: 3) { nodes { contacts(first: 4) { totalCount } } } }'

  it('is told where a header asks for it', async () => {
    const { json } = await ask({ query }, {}, { 'x-graphql-cost': '1' })

    expect(json.extensions).toEqual({ cost: { requestedNodes: 15, maxNodes: 50_000 } })
    expect(json.data).toBeDefined()
  })

  it('is told of an answer with errors, too', async () => {
    const { json } = await ask({ query: '{ organizations(first: 101) { totalCount } }' }, {}, { 'x-graphql-cost': '1' })

    expect(json.extensions).toEqual({ cost: { requestedNodes: 101, maxNodes: 50_000 } })
    expect(json.errors).toHaveLength(1)
  })

  it('is not told otherwise', async () => {
    const { json } = await ask({ query })

    expect(Object.keys(json)).toEqual(['data'])
  })
})

describe('introspection', () => {
  const query = introspectionQuery
  const off = { introspection: false }

  it('passes the limits, as GraphiQL asks for it', async () => {
    const { status, json } = await ask({ query })

    expect(json.errors).toBeUndefined()
    expect(status).toBe(200)
    expect(json.data.__schema).toMatchObject({ queryType: { name: 'Query' }, mutationType: { name: 'Mutation' } })
  })

  it.each([
    ['all of the schema', query],
    ['a type', '{ __type(name: "Organization") { fields { name } } }'],
    ['the schema by a fragment', '{ ...A } fragment A on Query { __schema { types { name } } }'],
    ['the schema by an alias', '{ a: __schema { types { name } } }'],
    [
      'the schema within a mutation',
      'mutation { clearContacts(input: { organizationId: 1 }) { ... on ClearContactsSuccess { query { __schema { types { name } } } } } }',
    ],
  ])('is refused where it is off: %s', async (_, asked) => {
    const { status, json } = await ask({ query: asked }, off)

    expect(status).toBe(400)
    expect(json.data).toBeUndefined()
    expect(json.errors!.length).toBeGreaterThan(0)
    for (const { message, extensions } of json.errors!) {
      expect(message).toMatch(/introspection/)
      expect(extensions.code).toBe('BAD_USER_INPUT')
    }
  })

  it('that is off leaves __typename', async () => {
    const { json } = await ask({ query: '{ __typename organizations(first: 1) { __typename } }' }, off)

    expect(json).toEqual({ data: { __typename: 'Query', organizations: { __typename: 'OrganizationConnection' } } })
  })

  describe.each<[string, Params]>([
    ['a field', { query: '{ organisations { totalCount } }' }],
    ['a field of a union', { query: '{ contact(id: 1) { value } }' }],
    ['an argument', { query: '{ organizations(firs: 1) { totalCount } }' }],
    ['a directive', { query: '{ __typename @includ(if: true) }' }],
    ['a type', { query: '{ contact(id: 1) { ... on EmailContac { email } } }' }],
    ['a fragment', { query: '{ ...Organizatio } fragment Organization on Query { __typename }' }],
    ['a value of an enum', { query: labelled('[FAXE]') }],
    ['a field of an input', { query: '{ organizations(filter: { rooot: true }) { totalCount } }' }],
    ['a value of an enum by variable', { query: ofLabels, variables: { labels: ['FAXE'] } }],
    ['a field of an input by variable', { query: ofFilter, variables: { filter: { channel: 'EMAIL' } } }],
  ])('that is off takes %s that does not exist', (_, params) => {
    it('without a suggestion', async () => {
      const { text, status } = await ask(params, off)

      expect(status).toBe(400)
      expect(text).not.toMatch(/did you mean/i)
      expect(text).not.toContain('namePrefix')
    })
  })

  it('that is on lets misspelled names be told', async () => {
    const { text } = await ask({ query: '{ organisations { totalCount } }' })

    expect(text).toContain('Did you mean')
  })
})

describe('within 500 ms', () => {
  const patience = 500
  beforeAll(() => ask({ query: nested(13) }))

  async function timed(body: string) {
    const start = performance.now()
    const answer = await send(body)
    return { ...answer, milliseconds: performance.now() - start }
  }

  const deep = 20_000
  const around = (open: string, inner: string, close: string, depth = deep) =>
    open.repeat(depth) + inner + close.repeat(depth)
  const bodyOf = (query: string, variables = '{}') => `{ "query": ${JSON.stringify(query)}, "variables": ${variables} }`
  const byId = 'query($v: [ID!]!) { nodes(ids: $v) { id } }'
  const byFilter = 'query($v: OrganizationFilter) { organizations(filter: $v) { totalCount } }'

  it.each([
    ['a selection 20,000 deep', bodyOf(around('{a', '', '}'))],
    ['a selection 20,000 deep that does not end', bodyOf(around('{a', '', ''))],
    ['inline fragments 20,000 deep', bodyOf(`{${around('...{', 'a', '}')}}`)],
    ['a list 20,000 deep', bodyOf(`{ nodes(ids: ${around('[', '1', ']')}) { id } }`)],
    ['a list that does not end, as deep as tokens allow', bodyOf(`{ nodes(ids: ${around('[', '', '', 1995)}`)],
    [
      'a default value that does not end, as deep as tokens allow',
      bodyOf(`query($v: Int = ${around('[', '', '', 1990)}`),
    ],
    ['a list 20,000 deep that does not end', bodyOf(`{ nodes(ids: ${around('[', '1', '')}`)],
    ['an object 20,000 deep', bodyOf(`{ organizations(filter: ${around('{a:', '1', '}')}) { totalCount } }`)],
    ['a type 20,000 deep', bodyOf(`query($v: ${around('[', 'Int', ']')}) { __typename }`)],
    ['a default value 20,000 deep', bodyOf(`query($v: Int = ${around('[', '1', ']')}) { __typename }`)],
    ['a variable of lists 20,000 deep', bodyOf(byId, `{ "v": ${around('[', '1', ']')} }`)],
    ['a variable of objects 20,000 deep', bodyOf(byFilter, `{ "v": ${around('{"a":', '1', '}')} }`)],
    ['a variable of known fields 20,000 deep', bodyOf(byFilter, `{ "v": ${around('{"root":', '1', '}')} }`)],
    ['variables 20,000 deep', bodyOf('{ organizations(first: 0) { totalCount } a }', around('{"a":', '1', '}'))],
    ['a body of lists 20,000 deep', around('[', '', ']')],
    ['a body of lists 100,000 deep', around('[', '', ']', 100_000)],
    ['a body 100,000 deep that does not end', around('[', '', '', 100_000)],
    ['a query that is a list 20,000 deep', `{ "query": ${around('[', '1', ']')} }`],
    ['an operation name 20,000 deep', `{ "query": "{ __typename }", "operationName": ${around('[', '1', ']')} }`],
    ['a list as deep as tokens allow', bodyOf(`{ nodes(ids: ${around('[', '1', ']', 990)}) { id } }`)],
    [
      'an object as deep as tokens allow',
      bodyOf(`{ organizations(filter: ${around('{a:', '1', '}', 490)}) { totalCount } }`),
    ],
    ['a type as deep as tokens allow', bodyOf(`query($v: ${around('[', 'Int', ']', 990)}) { __typename }`)],
    ['a selection as deep as tokens allow', bodyOf(around('{a', '', '}', 660))],
  ])('%s is refused', async (_, body) => {
    const { status, json, text, milliseconds } = await timed(body)

    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
    expect(json.errors!.length).toBeGreaterThan(0)
    for (const { extensions } of json.errors!) expect(extensions.code).toMatch(/^(BAD_USER_INPUT|QUERY_TOO_COMPLEX)$/)
    expect(text).not.toContain('Unexpected error')
    expect(text.length).toBeLessThan(5000)
    expect(milliseconds).toBeLessThan(patience)
  })

  const doubling = (length: number, each: (next: string) => string) =>
    `{ organization(id: 1) { ...F0 } } ${times(length, (i) => `fragment F${i} on Organization { ${each(`F${i + 1}`)} }`)} fragment F${length} on Organization { name }`
  let made = 0
  const numbered = () => `id(a: ${made++})`

  it.each([
    ['doubles fragments', doubling(180, (next) => `...${next} ...${next}`)],
    ['doubles fields', doubling(100, (next) => `parent { ...${next} } parent { ...${next} }`)],
    [
      'spreads every fragment in every other',
      `{ ...F0 } ${times(30, (i) => `fragment F${i} on Query { ${times(30, (j) => `...F${j}`)} }`)}`,
    ],
    [
      'spreads fragments in a long circle',
      `{ ...F0 } ${times(200, (i) => `fragment F${i} on Query { ...F${(i + 1) % 200} }`)}`,
    ],
    ['has the same field very often', `{ organization(id: 1) { ${times(1990, 'name')} } }`],
    ['has the same object very often', `{ organization(id: 1) { ${times(490, 'parent { id }')} } }`],
    ['has the same list very often', `{ organization(id: 1) { ${times(210, 'children(first: 1) { totalCount }')} } }`],
    [
      'has the same object very often at two levels',
      `{ organization(id: 1) { ${times(21, `parent { ${times(22, 'parent { id }')} }`)} } }`,
    ],
    ['has fields that exclude each other', `{ organization(id: 1) { ${times(320, numbered)} } }`],
    [
      'has objects that exclude each other',
      `{ organization(id: 1) { ${times(15, () => `parent { ${times(20, numbered)} }`)} } }`,
    ],
    [
      'has nothing but unknown fields',
      `{ organization(id: 1) { ${times(1900, (i) => `${'organizations'.repeat(8)}${i}`)} } }`,
    ],
    [
      'has long values that are equal',
      `{ organization(id: 1) { ${times(180, `children(filter: { namePrefix: "${'a'.repeat(1000)}" }) { totalCount }`)} } }`,
    ],
  ])('a document that %s is answered', async (_, query) => {
    const { status, text, milliseconds } = await timed(bodyOf(query))

    expect(status).toBeLessThan(500)
    expect(text).not.toContain('Unexpected error')
    expect(text.length).toBeLessThan(500_000)
    expect(milliseconds).toBeLessThan(patience)
  })
})
