import { parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { type DocumentCost, measure, scan } from '../../src/graphql/limits.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import { introspectionQuery } from '../support/graphql.ts'

const schema = createSchema()
const { limits } = readConfig({})

const costOf = (document: string, variables: Record<string, unknown> = {}, operationName?: string): DocumentCost =>
  measure(schema, parse(document), operationName, variables).cost

const nodesOf = (document: string, variables?: Record<string, unknown>) => costOf(document, variables).nodes

/** A chain of fragments `F0` to `F<length>`, each made from the name of the next; the last is made from `end`. */
const chain = (type: string, length: number, each: (next: string) => string, end: string) =>
  Array.from(
    { length: length + 1 },
    (_, i) => `fragment F${i} on ${type} { ${i < length ? each(`F${i + 1}`) : end} }`,
  ).join(' ')

const list = (length: number, item: string | ((index: number) => string)) =>
  Array.from({ length }, (_, i) => (typeof item === 'string' ? item : item(i))).join(' ')

describe('the tokens of a document', () => {
  it.each([
    ['', 0],
    ['{ __typename }', 3],
    ['query Q($id: ID! = "a b") { node(id: $id) { id } }', 23],
    ['{ a ... on Query { b } }', 9],
    ['# { a b c }\n{ a, , ,\n b }\ufeff', 4],
    ['{ a(text: """block { string }""") }', 8],
  ])('%j are %i', (text, count) => {
    expect(scan(text).tokens).toBe(count)
  })

  it('are counted as far as the text can be read', () => {
    expect(scan('{ a b "unterminated').tokens).toBe(3)
  })
})

describe('the depth of a document', () => {
  it.each([
    ['{ __typename }', 1],
    ['{ organization(id: 1) { parent { name } } }', 3],
    ['{ organization(id: 1) { ... { ... on Organization { parent { name } } } } }', 3],
    [
      '{ organization(id: 1) { ...A } } fragment A on Organization { parent { ...B } } fragment B on Organization { name }',
      3,
    ],
    ['{ organization(id: 1) { name ...A name } } fragment A on Organization { parent { parent { name } } }', 4],
    ['{ __schema { types { fields { type { name } } } } }', 1],
    ['{ unknown { deeper { still } } }', 3],
  ])('of %s is %i', (document, depth) => {
    expect(costOf(document).depth).toBe(depth)
  })
})

describe('the aliases and directives of a document', () => {
  it('count wherever a fragment is spread', () => {
    const cost = costOf(
      `{ organization(id: 1) { ...A a: parent { ...A } } }
      fragment A on Organization { b: name c: name @skip(if: false) ... @include(if: true) { d: name } }`,
    )

    expect(cost).toMatchObject({ aliases: 7, directives: 4 })
  })

  it('count on operations, variables, fields, spreads and inline fragments', () => {
    const cost = costOf(
      'query ($x: Int @a) @b @c { __typename @d ...A @e ... @f { __typename @g } } fragment A on Query { __typename @h }',
    )

    expect(cost.directives).toBe(8)
  })

  it('count within introspection, where each alias repeats a part of the schema', () => {
    const cost = costOf(
      `{ a: __schema { types { b: fields @skip(if: false) { ...A } c: fields { ...A } } } }
      fragment A on __Field { d: type { e: fields { name } } }`,
    )

    expect(cost).toMatchObject({ aliases: 7, directives: 1, depth: 1, nodes: 0 })
  })
})

describe('the root fields of an operation', () => {
  it.each([
    ['{ a b a c: a __typename }', 5],
    ['{ a ... { b ... on Query { c } } }', 3],
    ['{ ...A b ...A } fragment A on Query { c ...B } fragment B on Query { d e }', 7],
    ['{ a { b c d } }', 1],
  ])('of %s are %i', (document, rootFields) => {
    expect(costOf(document).rootFields).toBe(rootFields)
  })
})

describe('the longest list of the input', () => {
  it.each<[string, string, Record<string, unknown>, number]>([
    ['no list', '{ __typename }', {}, 0],
    ['a literal', '{ nodes(ids: ["1", "2", "3"]) { id } }', {}, 3],
    [
      'a literal in an object',
      '{ organization(id: 1) { contacts(filter: { labels: [FAX, FAX] }) { totalCount } } }',
      {},
      2,
    ],
    ['a default value', 'query($ids: [ID!]! = [1, 2, 3, 4]) { nodes(ids: $ids) { id } }', {}, 4],
    ['a literal in a fragment', '{ ...A } fragment A on Query { nodes(ids: [1, 2]) { id } }', {}, 2],
    ['a list within a list', '{ nodes(ids: [[1, 2, 3], []]) { id } }', {}, 3],
    ['a variable', 'query($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: [1, 2, 3, 4, 5] }, 5],
    ['a variable within a variable', '{ __typename }', { a: { b: [{ c: [1, 2, 3] }] } }, 3],
    ['a variable that nothing uses', '{ __typename }', { a: [1, 2] }, 2],
  ])('%s', (_, document, variables, listItems) => {
    expect(costOf(document, variables).listItems).toBe(listItems)
  })
})

describe('the nodes of a document', () => {
  it.each<[string, string, number]>([
    ['none where nothing is listed', '{ organization(id: 1) { name } }', 0],
    ['one for each object that another refers to', '{ organization(id: 1) { parent { parent { name } } } }', 2],
    ['50 organizations unless it says how many', '{ organizations { totalCount } }', 50],
    ['100 contacts unless it says how many', '{ organization(id: 1) { contacts { totalCount } } }', 100],
    ['`first`', '{ organizations(first: 3) { totalCount } }', 3],
    ['`last`', '{ organizations(last: 4) { totalCount } }', 4],
    ['`first`, where both are given', '{ organizations(first: 5, last: 6) { totalCount } }', 5],
    ['`last`, where `first` is null', '{ organizations(first: null, last: 6) { totalCount } }', 6],
    ['none for a page of 0', '{ organizations(first: 0) { nodes { contacts { totalCount } } } }', 0],
    ['those of the default for a negative size', '{ organizations(first: -1) { totalCount } }', 50],
    ['those of the default for what is no number', '{ organizations(first: "1") { totalCount } }', 50],
    [
      'those of the default for a size that no integer holds',
      `{ organizations(first: 1${'0'.repeat(400)}) { totalCount } }`,
      50,
    ],
    ['a huge size', '{ organizations(first: 2147483647) { totalCount } }', 2147483647],
    [
      'the product of what is nested',
      '{ organizations(first: 3) { nodes { children(first: 4) { nodes { contacts(first: 5) { totalCount } } } } } }',
      3 * (1 + 4 * (1 + 5)),
    ],
    [
      'the sum of `nodes` and `edges`',
      '{ organizations(first: 3) { nodes { contacts(first: 4) { totalCount } } edges { node { contacts(first: 5) { totalCount } } } } }',
      3 * (1 + 4 + 5),
    ],
    [
      'the sum of aliases',
      '{ a: organizations(first: 3) { totalCount } b: organizations(first: 4) { totalCount } }',
      7,
    ],
    [
      'the length of a list of ids',
      '{ nodes(ids: [1, 2, 3]) { id ... on Organization { contacts(first: 2) { totalCount } } } }',
      3 * (1 + 2),
    ],
    ['1 for a single id in place of a list', '{ nodes(ids: 1) { id } }', 1],
    [
      'a fragment wherever it is spread',
      '{ a: organizations(first: 2) { ...A } b: organizations(first: 3) { ...A } } fragment A on OrganizationConnection { nodes { contacts(first: 10) { totalCount } } }',
      2 * 11 + 3 * 11,
    ],
    [
      'nested and inline fragments',
      '{ ...A } fragment A on Query { ... on Query { ...B } } fragment B on Query { organizations(first: 7) { ... { nodes { ... on Node { ... on Organization { contacts(first: 2) { totalCount } } } } } } }',
      7 * 3,
    ],
    ['nothing of unknown fields', '{ unknown(first: 100) { nodes { children(first: 100) { totalCount } } } }', 0],
    ['nothing of unknown types', '{ ... on Unknown { organizations(first: 3) { totalCount } } }', 3],
    ['nothing of introspection', '{ __schema { types { name } } }', 0],
    [
      'what a mutation shows',
      'mutation { clearContacts(input: { organizationId: 1 }) { ... on ClearContactsSuccess { organization { contacts(first: 9) { totalCount } } query { organizations(first: 8) { totalCount } } } } }',
      17,
    ],
  ])('%s', (_, document, nodes) => {
    expect(nodesOf(document)).toBe(nodes)
  })

  it('are 100 for the ancestors of each, so that ancestors of ancestors come to an end', () => {
    expect(nodesOf('{ organization(id: 1) { ancestors { ancestors { name } } } }')).toBe(100 * (1 + 100))
  })

  it('are 100 for each list of contacts that were changed', () => {
    const document = `mutation($input: ChangeContactsInput!) { changeContacts(input: $input) { ... on ChangeContactsSuccess {
      added { ... on ContactDetails { organization { contacts(first: 3) { totalCount } } } } updated { __typename }
    } } }`

    expect(nodesOf(document)).toBe(100 * (1 + (1 + 3)) + 100)
  })

  it('are 250 for what was imported', () => {
    const document = `mutation($input: ImportContactsInput!) { importContacts(input: $input) { ... on ImportContactsSuccess {
      results { contact { ... on ContactDetails { organization { contacts(first: 3) { totalCount } } } } }
    } } }`

    expect(nodesOf(document)).toBe(250 * (1 + (1 + 3)))
  })

  const sized = 'query($n: Int) { organizations(first: $n) { totalCount } }'
  const byDefault = 'query($n: Int = 7) { organizations(first: $n) { totalCount } }'
  it.each<[string, string, Record<string, unknown>, number]>([
    ['a page size', sized, { n: 12 }, 12],
    ['a page size that is absent', sized, {}, 50],
    ['a page size of null', sized, { n: null }, 50],
    ['a negative page size', sized, { n: -5 }, 50],
    ['half a page', sized, { n: 0.5 }, 50],
    ['an infinite page', sized, { n: Number.POSITIVE_INFINITY }, 50],
    ['a page size that is no number', sized, { n: '9' }, 50],
    ['a default value', byDefault, {}, 7],
    ['a value in place of the default value', byDefault, { n: 8 }, 8],
    ['null in place of the default value', byDefault, { n: null }, 50],
    ['a list', 'query($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: [1, 2, 3] }, 3],
    ['a list by default', 'query($ids: [ID!]! = [1, 2]) { nodes(ids: $ids) { id } }', {}, 2],
    [
      'a list whose variable has the name of what every object has',
      'query($constructor: [ID!]! = [1, 2]) { nodes(ids: $constructor) { id } }',
      {},
      2,
    ],
    ['items of a list', 'query($id: ID!) { nodes(ids: [$id, $id]) { id } }', { id: 1 }, 2],
    [
      'a variable within a fragment',
      'query($n: Int) { ...A } fragment A on Query { organizations(last: $n) { totalCount } }',
      { n: 6 },
      6,
    ],
  ])('are told by variables: %s', (_, document, variables, nodes) => {
    expect(nodesOf(document, variables)).toBe(nodes)
  })

  it('are a number whatever the page sizes', () => {
    const deep = `{ organizations(first: 0) { ${'nodes { children { '.repeat(400)} totalCount ${'} } '.repeat(400)} } }`

    expect(nodesOf(deep)).toBe(0)
    expect(nodesOf(deep.replace('first: 0', 'first: 1'))).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER)
  })
})

describe('of several operations', () => {
  const several = `query Small { organizations(first: 1) { totalCount } }
    query Large($n: Int = 9) { a: organizations(first: $n) { nodes { name } } }`

  it.each<[string | undefined, Partial<DocumentCost>]>([
    ['Small', { nodes: 1, depth: 2, aliases: 0 }],
    ['Large', { nodes: 9, depth: 3, aliases: 1 }],
    ['Missing', { nodes: 9, depth: 3, aliases: 1 }],
    [undefined, { nodes: 9, depth: 3, aliases: 1 }],
  ])('%s is measured', (operationName, cost) => {
    expect(costOf(several, {}, operationName)).toMatchObject(cost)
  })

  it('each has its own variables', () => {
    expect(
      costOf(
        'query A($n: Int = 3) { ...F } query B($n: Int = 5) { ...F } fragment F on Query { organizations(first: $n) { totalCount } }',
        {},
        'A',
      ).nodes,
    ).toBe(3)
  })
})

describe('fragments', () => {
  it('that double each other are each looked at once', () => {
    const doubling = `{ ...F0 } ${chain('Query', 190, (next) => `...${next} ...${next}`, 'a: __typename')}`
    costOf(doubling)

    const start = performance.now()
    const { aliases, rootFields } = costOf(doubling)

    expect(performance.now() - start).toBeLessThan(100)
    expect({ aliases, rootFields }).toEqual({ aliases: 2 ** 190, rootFields: 2 ** 190 })
  })

  it('that double the nodes are each looked at once', () => {
    const half = (next: string) => `children(first: 2) { nodes { ...${next} } edges { node { ...${next} } } }`

    expect(nodesOf(`{ organization(id: 1) { ...F0 } } ${chain('Organization', 3, half, 'name')}`)).toBe(
      2 + 4 * (2 + 4 * 2),
    )
  })

  it.each([
    [
      'itself',
      '{ ...A } fragment A on Query { a: organizations(first: 2) { totalCount } ...A }',
      { aliases: 1, nodes: 2 },
    ],
    [
      'each other',
      '{ ...A } fragment A on Query { ...B __typename } fragment B on Query { ...A __typename }',
      { rootFields: 2 },
    ],
    [
      'itself below a field',
      '{ organization(id: 1) { ...A } } fragment A on Organization { parent { ...A } }',
      { depth: 2 },
    ],
    ['what is missing', '{ ...Missing __typename }', { rootFields: 1 }],
  ])('may spread %s', (_, document, cost) => {
    expect(costOf(document)).toMatchObject(cost)
  })
})

describe('the query by which GraphiQL reads the schema', () => {
  const query = introspectionQuery

  it('is far below each limit', () => {
    const cost = { tokens: scan(query).tokens, ...costOf(query) }

    for (const [kind, actual] of Object.entries(cost)) {
      expect(actual, kind).toBeLessThan(limits[kind as keyof typeof cost] / 2)
    }
  })
})

describe('a document of 2,000 tokens', () => {
  it('is measured in milliseconds', () => {
    const wide = `{ organization(id: 1) { ${list(490, 'parent { id }')} } }`
    costOf(wide)

    const start = performance.now()
    costOf(wide)

    expect(performance.now() - start).toBeLessThan(100)
  })
})
