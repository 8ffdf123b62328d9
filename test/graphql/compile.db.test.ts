import { setImmediate as nextTurn } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { execute, getOperationAST, type OperationDefinitionNode, parse, validate } from 'graphql'
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { defineStatement } from '../../src/db/statement.ts'
import type { Context } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import type { GraphQLContext } from '../../src/graphql/builder.ts'
import { compileOperation } from '../../src/graphql/compile.ts'
import { exceededKinds, measure } from '../../src/graphql/limits.ts'
import { createLoaders } from '../../src/graphql/loaders.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import { runningBy } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { introspectionQuery } from '../support/graphql.ts'
import { type RandomRequest, randomFrom, randomRequest } from '../support/random-document.ts'

const { FUZZ_SEED, FUZZ_RUNS = '300' } = process.env
const seed = FUZZ_SEED ? Number(FUZZ_SEED) : Math.floor(Math.random() * 2 ** 32)
const runs = Number(FUZZ_RUNS)

type Variables = Record<string, unknown>

const schema = createSchema()
const database = useDatabase()
const odd = 'Quotes " and \\ and \u2028 and é and 🦊'
let oddId: number
const ids: string[] = []
beforeAll(async () => {
  await seedOrganizations(database.ctx, sampleOrganizations)
  await seedOrganizations(
    database.ctx,
    Array.from({ length: 40 }, (_, i) => plausibleOrganization(i, 4)),
  )
  const { id } = await anOrganization(database.ctx, { name: odd, parentId: '2', source: '"', sourceID: '\\' })
  oddId = id
  const contact = await aContact(database.ctx, id, { value: `${odd} 1-800-BEST-IT` })
  ids.push(encodeId('Organization', id), encodeId('Organization', 2), '1', encodeId('Contact', contact.id), '68')
})

const unhandled: unknown[] = []
beforeEach(() => {
  unhandled.length = 0
  const listener = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', listener)
  onTestFinished(async () => {
    await nextTurn()
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
  })
})

const contextFor = (domain: Context): GraphQLContext => ({ domain, loaders: createLoaders(domain), done: new Map() })

/** What is executed in two ways: by itself, and by graphql. */
function prepare(query: string, operationName?: string) {
  const document = parse(query)
  expect(validate(schema, document)).toEqual([])
  const operation = getOperationAST(document, operationName) as OperationDefinitionNode
  const compiled = compileOperation(schema, document, operation)
  return {
    isCompiled: !!compiled,
    run: (context: GraphQLContext, variables?: Variables) => compiled!.run(context, variables),
    interpret: async (contextValue: GraphQLContext, variableValues?: Variables) =>
      execute({ schema, document, operationName, contextValue, variableValues }),
  }
}

/**
 * A context that counts its own statements: those of a query that was given up may still run beside the next. They run
 * one after another, so that it is no matter of luck which list brings first what another refers to.
 */
function countingContext() {
  const { db } = database
  const count = { statements: 0 }
  let before: Promise<unknown> = Promise.resolve()
  const run = (...given: Parameters<typeof db.run>) => {
    count.statements += 1
    const result = before.then(() => db.run(...given))
    before = result.catch(() => {})
    return result
  }
  return { count, context: contextFor({ ...database.ctx, db: runningBy(db, run) }) }
}

/** The answers of both ways, each with a context of its own, and how many statements they cost. */
async function bothWays(query: string, variables?: Variables, operationName?: string) {
  const { run, interpret } = prepare(query, operationName)
  const one = countingContext()
  const other = countingContext()
  const text = await run(one.context, variables)
  const result = await interpret(other.context, variables)
  return { text, result, cost: one.count.statements, interpretedCost: other.count.statements }
}

const details = `fragment Details on ContactDetails {
  id databaseId channel label value href integration version createdAt updatedAt organization { name }
}`
const page = 'pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount'

const corpus: [what: string, query: string, variables?: Variables][] = [
  [
    'lists within lists',
    `{ organizations(first: 50) { nodes { databaseId name disabled contacts { nodes { ... on ContactDetails { databaseId channel label value integration } } } } } }`,
  ],
  [
    'all there is of an organization',
    `query($id: ID!) { organization(id: $id) {
      id databaseId name disabled source sourceID createdAt updatedAt
      parent { name parent { name } } ancestors { id name ancestors { name } } children { ${page} nodes { name } }
    } }`,
    { id: '4' },
  ],
  [
    'all there is of contacts, by members and by interfaces',
    `{ organizations(first: 3) { nodes { contacts { nodes {
      __typename ...Details ... on Node { id } ... on TelephoneContact { telephone numbers } ... on EmailContact { email }
      ... on WebsiteContact { website href organization { databaseId } }
    } } } } } ${details}`,
  ],
  [
    'edges with cursors and counts, forward and backward',
    `{ organizations(last: 3, filter: { root: false }, orderBy: { field: UPDATED_AT, direction: DESC }) {
      ${page} edges { cursor node { name contacts(first: 2) { ${page} edges { cursor node { __typename } } } } }
    } }`,
  ],
  [
    'nodes of several types, some of them missing, one of them twice',
    'query($ids: [ID!]!) { nodes(ids: $ids) { id __typename ... on Organization { name } ...Details } node(id: "T3JnYW5pemF0aW9uOjE") { id } } ' +
      details,
    {
      ids: [
        encodeId('Organization', 1),
        encodeId('Contact', 68),
        encodeId('Contact', 999_999),
        encodeId('Organization', 999_999),
        encodeId('Contact', 65),
        encodeId('Organization', 1),
      ],
    },
  ],
  [
    'fields that are merged from several fragments',
    `{ organizations(first: 5) { nodes { name ...A contacts(first: 2) { totalCount } ...B } nodes { ...A disabled } } }
    fragment A on Organization { contacts(first: 2) { nodes { ... on Node { id } } } parent { name } }
    fragment B on Organization { parent { databaseId ...C } contacts(first: 2) { nodes { ...Details } pageInfo { endCursor } } }
    fragment C on Node { id __typename ... on Organization { parent { name } } }
    ${details}`,
  ],
  [
    'the same fragment at several places',
    `{ one: organization(id: 1) { ...O } node(id: "${encodeId('Organization', 2)}") { ...O } organizations(first: 2) { nodes { ...O children(first: 2) { nodes { ...O } } } } }
    fragment O on Organization { name contacts(filter: { channels: [EMAIL, WEBSITE], labels: [GENERAL] }) { nodes { ...Details } } }
    ${details}`,
  ],
  [
    'aliases',
    '{ a: organizations(first: 2) { b: nodes { c: name d: name __proto__: id few: contacts(first: 1) { n: totalCount } all: contacts { n: totalCount } } } }',
  ],
  [
    'a search',
    '{ contacts(filter: { telephone: "1-800-BEST-IT" }) { totalCount nodes { ... on ContactDetails { value } } } }',
  ],
  [
    'conditions',
    `query($yes: Boolean!, $no: Boolean = false) { organizations(first: 3) {
      nodes @include(if: $yes) { name @skip(if: $no) ... @include(if: $no) { id } ...P @skip(if: $no) contacts @skip(if: $yes) { totalCount } }
      totalCount @include(if: $no)
    } } fragment P on Organization { parent { name @include(if: $yes) id @include(if: $no) } }`,
    { yes: true },
  ],
  [
    'the same with everything left out',
    'query($no: Boolean!) { organizations(first: 2) { nodes { name @include(if: $no) } } } ',
    { no: false },
  ],
  [
    'variables of every kind',
    `query($first: Int = 2, $filter: OrganizationFilter, $order: OrganizationOrder, $channels: [ContactChannel!], $flag: Boolean, $after: String) {
      organizations(first: $first, filter: $filter, orderBy: $order, after: $after) { nodes { name contacts(filter: { channels: $channels, integration: $flag }) { totalCount nodes { ... on ContactDetails { channel } } } } }
    }`,
    {
      filter: { disabled: false, namePrefix: 'Best' },
      order: { field: 'NAME' },
      channels: ['EMAIL', 'TELEPHONE'],
      after: null,
    },
  ],
  [
    'variables that are absent',
    'query($first: Int, $order: OrganizationOrder = { field: CREATED_AT, direction: DESC }, $filter: ContactFilter) { organizations(first: $first, orderBy: $order) { nodes { name contacts(filter: $filter, first: $first) { totalCount } } } }',
  ],
  [
    'variables that are null',
    'query($first: Int, $order: OrganizationOrder = { field: CREATED_AT }, $filter: ContactFilter) { organizations(first: $first, orderBy: $order) { nodes { name contacts(filter: $filter, first: $first) { totalCount } } } }',
    { first: null, order: null, filter: null },
  ],
  [
    'one value for a list',
    'query($l: [ContactLabel!]) { organization(id: 1) { contacts(filter: { labels: $l }) { totalCount } } }',
    { l: 'FAX' },
  ],
  [
    'what is not there',
    '{ organization(id: 999999) { name } contact(id: 999999) { __typename } node(id: "T3JnYW5pemF0aW9uOjk5OTk5OQ") { id } }',
  ],
]

describe('a compiled query', () => {
  it.each(corpus)('answers letter by letter what graphql answers: %s', async (_what, query, variables) => {
    const { text, cost, result, interpretedCost } = await bothWays(query, variables)

    expect(result.errors).toBeUndefined()
    expect(text).toBe(JSON.stringify(result.data))
    expect(cost).toBe(interpretedCost)
  })

  it('escapes what JSON escapes, and nothing else', async () => {
    const { text, result } = await bothWays(
      'query($id: ID!) { organization(id: $id) { name source sourceID contacts { nodes { ... on ContactDetails { value href } } } } }',
      { id: String(oddId) },
    )

    expect(text).toBe(JSON.stringify(result.data))
    expect(text).toContain(JSON.stringify(odd))
  })

  it('is the operation that was asked for, and can run again with other variables and for another account', async () => {
    const query =
      'query One($id: ID!) { organization(id: $id) { name } } query Two($id: ID!) { organization(id: $id) { databaseId parent { name } } }'
    const { run } = prepare(query, 'Two')

    expect(await run(contextFor(database.ctx), { id: '2' })).toBe(
      '{"organization":{"databaseId":2,"parent":{"name":"Best IT"}}}',
    )
    expect(await run(contextFor(database.ctx), { id: 5 })).toBe('{"organization":{"databaseId":5,"parent":null}}')
    expect(await run(contextFor(database.otherCtx), { id: '2' })).toBe('{"organization":null}')
  })

  it('may run many times at once', async () => {
    const { run } = prepare('query($id: ID!) { organization(id: $id) { databaseId children { totalCount } } }')
    const wanted = Array.from({ length: 40 }, (_, i) => String(1 + (i % 6)))
    const texts = await Promise.all(wanted.map((id) => run(contextFor(database.ctx), { id })))

    const found = texts.map((text) => String(JSON.parse(text!).organization.databaseId))
    expect(found).toEqual(wanted)
  })

  it('may be a mutation of one field, but of no more, since they are done one after the other', async () => {
    const remove = 'removeContact(input: { id: 1 }) { __typename ... on NotFoundError { path } }'
    const run = (query: string) => prepare(query).run(contextFor(database.ctx))

    const answer = '{"__typename":"NotFoundError","path":["id"]}'
    expect(await run(`mutation { ${remove} }`)).toBe(`{"removeContact":${answer}}`)
    expect(await run(`mutation { __typename ${remove} ${remove} }`)).toBe(
      `{"__typename":"Mutation","removeContact":${answer}}`,
    )
    expect(await run(`mutation { a: ${remove} b: ${remove} }`)).toBeUndefined()
  })

  it('is none that asks for the schema', () => {
    expect(prepare(introspectionQuery).isCompiled).toBe(false)
    expect(prepare('{ __type(name: "Query") { name } }').isCompiled).toBe(false)
  })
})

const rename = (from: string, to: string) =>
  database.db.run(defineStatement('test_rename', sql.raw(`alter table ${from} rename to ${to}`)), {})

describe('what is no plain success', () => {
  /** The compiled query gives up; the interpreter then says on the same context what it says by itself. */
  async function expectGivenUp(query: string, domain: Context, variables?: Variables) {
    const { run, interpret } = prepare(query)
    const context = contextFor(domain)
    expect(await run(context, variables)).toBeUndefined()
    const after = await interpret(context, variables)
    const alone = await interpret(contextFor(domain), variables)

    expect(after.errors).not.toBeUndefined()
    expect(JSON.stringify(after)).toBe(JSON.stringify(alone))
    return after.errors!.map(({ path, message }) => ({ path, message }))
  }

  it('is left to the interpreter: the database fails beneath a list', async () => {
    await rename('contacts', 'elsewhere')
    onTestFinished(async () => {
      await rename('elsewhere', 'contacts')
    })
    const [first] = await expectGivenUp(
      '{ organizations(first: 3) { nodes { name parent { name } contacts { nodes { __typename } } } } }',
      database.ctx,
    )

    expect(first!.path).toEqual(['organizations', 'nodes', expect.any(Number), 'contacts'])
  })

  it.each([
    ['{ organizations(first: 3) { nodes { name contacts { totalCount } } } }'],
    [
      '{ organizations(first: 3) { nodes { parent { name } contacts { nodes { __typename } } children { totalCount } } } }',
    ],
  ])('is left to the interpreter: the caller may not see the contacts in %s', async (query) => {
    const errors = await expectGivenUp(query, { ...database.ctx, permissions: new Set(['organizations:read']) })

    expect(errors[0]!.message).toContain('contacts:read')
  })

  it.each<[string, Variables?]>([
    ['{ organizations(first: 101) { totalCount } }'],
    ['{ organizations(first: 3) { nodes { parent { name } children(first: 101) { totalCount } } } }'],
    ['query($first: Int) { organizations { nodes { contacts(first: $first) { totalCount } } } }', { first: 0 }],
    ['query($first: Int) { organizations(first: $first) { totalCount } }', { first: 'many' }],
    ['query($id: ID!) { organization(id: $id) { name } }'],
    ['query($id: ID!) { organization(id: $id) { name } }', { id: null }],
    ['query($ids: [ID!]!) { nodes(ids: $ids) { id } organization(id: 1) { name } }', { ids: ['1', 'x'] }],
    ['query($yes: Boolean = true) { organization(id: 1) { name @include(if: $yes) } }', { yes: null }],
  ])('is left to the interpreter: wrong arguments in %s %j', async (query, variables) => {
    await expectGivenUp(query, database.ctx, variables)
  })
})

describe('random queries', () => {
  const { limits } = readConfig({})

  function isWithinLimits({ query, variables, operationName }: RandomRequest): boolean {
    const { cost } = measure(schema, parse(query), operationName, variables)
    return exceededKinds(cost, limits).length === 0
  }

  function isQuery({ query, operationName }: RandomRequest): boolean {
    try {
      const document = parse(query)
      const isOne = getOperationAST(document, operationName)?.operation === 'query'
      return isOne && !/__schema|__type\b|@idempotent/.test(query) && validate(schema, document).length === 0
    } catch {
      return false
    }
  }

  it('have the answer of the interpreter where that has no errors, and none otherwise', {
    timeout: 30_000 + runs * 100,
  }, async () => {
    const random = randomFrom(seed)
    let plain = 0
    let givenUp = 0
    while (plain + givenUp < runs) {
      const request = randomRequest(schema, random, ids)
      if (!isQuery(request) || !isWithinLimits(request)) continue
      const { query, variables, operationName } = request
      const { text, cost, result, interpretedCost } = await bothWays(query, variables, operationName)
      const about = `FUZZ_SEED=${seed} ${JSON.stringify(request)}`

      expect(text, about).toBe(result.errors ? undefined : JSON.stringify(result.data))
      if (!result.errors) expect(cost, about).toBe(interpretedCost)
      if (result.errors) givenUp += 1
      else plain += 1
    }
    await nextTurn()

    expect(unhandled, `FUZZ_SEED=${seed}`).toEqual([])
    expect(plain, `FUZZ_SEED=${seed}`).toBeGreaterThan(runs / 4)
  })
})
