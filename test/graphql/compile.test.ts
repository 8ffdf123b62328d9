import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { execute, type GraphQLResolveInfo, type GraphQLSchema, getOperationAST, parse, validate } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { GraphQLContext } from '../../src/graphql/builder.ts'
import { compileOperation } from '../../src/graphql/compile.ts'

type Variables = Record<string, unknown>

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function compile(schema: GraphQLSchema, query: string) {
  const document = parse(query)
  expect(validate(schema, document)).toEqual([])
  const compiled = compileOperation(schema, document, getOperationAST(document)!)
  const run = (context: unknown = {}, variables?: Variables) => compiled!.run(context as GraphQLContext, variables)
  return { document, compiled, run }
}

/** Holds the compiled query to what the interpreter answers, or to nothing where that has errors. */
async function expectSame(schema: GraphQLSchema, query: string, contextFor: () => unknown, variables?: Variables) {
  const { document, run } = compile(schema, query)
  const text = await run(contextFor(), variables)
  const result = await execute({ schema, document, contextValue: contextFor(), variableValues: variables })
  expect(text, query).toBe(result.errors ? undefined : textOf(result.data))
  return text
}

/** What JSON cannot hold has no text. */
function textOf(data: unknown): string | undefined {
  try {
    return JSON.stringify(data)
  } catch {
    return undefined
  }
}

/** What nobody waits for in this test: it would end the process of a server. */
function collectUnhandled(): unknown[] {
  const unhandled: unknown[] = []
  const listener = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', listener)
  onTestFinished(async () => {
    await nextTurn()
    process.off('unhandledRejection', listener)
  })
  return unhandled
}

/** Any field has the value that the context has. */
const given = (_source: unknown, _args: unknown, context: { value(): unknown }) => context.value()

const kinds = {
  string: 'String',
  stringNeeded: 'String!',
  id: 'ID',
  int: 'Int',
  float: 'Float',
  boolean: 'Boolean!',
  color: 'Color',
  any: 'Any',
  strings: '[String]',
  stringsNeeded: '[String!]!',
  matrix: '[[Float!]]',
  colors: '[Color!]',
  item: 'Item { name child { name } }',
  items: '[Item!] { name __typename child { name } }',
  named: 'Named { __typename name }',
  member: 'Member! { ... on Item { name } ... on Other { name } }',
  members: '[Member] { __typename ... on Named { name } }',
}

const values = createSchema({
  typeDefs: `
    scalar Any
    enum Color { RED GREEN BLUE }
    interface Named { name: String }
    type Item implements Named { name: String child: Item }
    type Other implements Named { name: String }
    type Strict implements Named { name: String }
    union Member = Item | Other
    type Query { ${Object.entries(kinds)
      .map(([name, kind]) => `${name}: ${kind.replace(/ \{.*/, '')}`)
      .join('\n')} strict: Strict }
  `,
  resolvers: {
    Color: { RED: 1, GREEN: 'green', BLUE: null },
    Strict: { __isTypeOf: (value: { isStrict?: boolean }) => value.isStrict },
    Query: { ...Object.fromEntries(Object.keys(kinds).map((name) => [name, given])), strict: given },
  },
  resolverValidationOptions: { requireResolversForResolveType: 'ignore' },
})

const later = (value: unknown) => () => Promise.resolve(value)
const item = (more: object = {}) => ({ __typename: 'Item', name: 'an item', ...more })
const samples: Record<string, () => unknown> = {
  null: () => null,
  undefined: () => undefined,
  'a text': () => 'text',
  'an empty text': () => '',
  quotes: () => 'He said "no" \\ and / left',
  'control characters': () => '\u0000\b\t\n\u001f\u007f',
  'characters above ASCII': () => 'é ☃ \u2028\u2029\ufeff\u202e',
  'an emoji': () => '🦊',
  'half of a pair': () => 'a\ud83eb',
  'the other half': () => '\udd8a',
  zero: () => 0,
  'minus zero': () => -0,
  one: () => 1,
  'a negative integer': () => -42,
  'the greatest Int': () => 2 ** 31 - 1,
  'above Int': () => 2 ** 31,
  'a fraction': () => 0.1,
  'a great number': () => 1e21,
  NaN: () => Number.NaN,
  infinity: () => -Infinity,
  'a bigint': () => 12n,
  true: () => true,
  false: () => false,
  'an internal value of an enum': () => 'green',
  'a name of an enum': () => 'BLUE',
  'a date': () => new Date(0),
  'an object with valueOf': () => ({ valueOf: () => 7 }),
  'an object with toJSON': () => ({ toJSON: () => '"as JSON"' }),
  'an error': () => new Error('as a value'),
  'what throws': () => {
    throw new Error('thrown')
  },
  'a promise': later('text'),
  'a promise of null': later(null),
  'a promise of a list': later([1, 2]),
  'a promise of an object': later(item()),
  'a rejection': () => Promise.reject(new Error('rejected')),
  // biome-ignore lint/suspicious/noThenProperty: a promise of another kind
  'a thenable': () => ({ then: (resolve: (value: unknown) => void) => resolve('at once') }),
  'a thenable that fails': () => ({
    // biome-ignore lint/suspicious/noThenProperty: as above
    then: (_resolve: unknown, reject: (error: unknown) => void) => reject(new Error('at once')),
  }),
  'an empty list': () => [],
  'a list of texts': () => ['a', 'b'],
  'a list with null': () => ['a', null, undefined],
  'a list of numbers': () => [1, 0.5],
  'a list of lists': () => [[1, 2], [], [3]],
  'a list of promises': () => [Promise.resolve('a'), 'b', Promise.resolve('c')],
  'a list with an error': () => ['a', new Error('in a list')],
  'a list with a rejection': () => ['a', Promise.reject(new Error('in a list')), Promise.resolve('c')],
  'a list of colors': () => ['green', 1],
  'a set': () => new Set(['a', 'b']),
  'what is generated': () =>
    (function* () {
      yield 'a'
      yield 'b'
    })(),
  'an iterator of promises': () => new Set([Promise.resolve('a')]).values(),
  'an async iterator': () =>
    (async function* () {
      yield 'a'
    })(),
  'an item': () => item(),
  'an item with a child': () => item({ child: { name: 'a child' } }),
  'an item with a promise': () => item({ name: Promise.resolve('later'), child: Promise.resolve({ name: null }) }),
  'an item with methods': () => ({
    ...item(),
    own: 'its own',
    name(this: { own: string }, _args: unknown, context: object) {
      return `${this.own} ${'value' in context}`
    },
  }),
  'another thing': () => ({ __typename: 'Other', name: 'other' }),
  'a type that is no member': () => ({ __typename: 'Query' }),
  'a type that there is not': () => ({ __typename: 'Nothing' }),
  'a type that is no object': () => ({ __typename: 'Any' }),
  'a type that is no text': () => ({ __typename: 5 }),
  'what is its type': () => ({ isStrict: true, name: 'strict' }),
  items: () => [item(), item({ name: 'second', child: item() })],
  'items and nothing': () => [item(), null, undefined],
  'members of several types': () => [item(), { __typename: 'Other', name: 'other' }, item(), Promise.resolve(item())],
  'nothing with properties': () => Object.create(null),
}

describe('the value of a field', () => {
  it.each(Object.keys(kinds) as (keyof typeof kinds)[])('of the kind %s is written as graphql does', async (name) => {
    // Promises where a scalar belongs are left alone by graphql, too.
    collectUnhandled()
    const selection = kinds[name].match(/\{.*/)?.[0] ?? ''
    const written = new Set<string | undefined>()
    for (const value of Object.values(samples)) {
      written.add(await expectSame(values, `{ ${name} ${selection} }`, () => ({ value })))
    }

    expect(written.size).toBeGreaterThan(2)
  })

  it('is left to the interpreter where JSON cannot hold it', async () => {
    const { run } = compile(values, '{ any }')

    expect(await run({ value: () => () => 'a function' })).toBeUndefined()
    expect(await run({ value: () => Symbol('a symbol') })).toBeUndefined()
  })

  it('must be of the type that its field has, if the type can tell', async () => {
    collectUnhandled()
    for (const value of Object.values(samples)) await expectSame(values, '{ strict { name } }', () => ({ value }))
  })

  it('is left to the interpreter where the type tells it later', async () => {
    const unhandled = collectUnhandled()
    const schema = createSchema({
      typeDefs:
        'type Query { late: Late named: Named } interface Named { name: String } type Late implements Named { name: String }',
      resolvers: {
        Late: { __isTypeOf: async () => Promise.reject(new Error('not now')) },
        Named: { __resolveType: async () => Promise.reject(new Error('not now')) },
        Query: { late: () => ({}), named: () => ({}) },
      },
    })

    expect(await compile(schema, '{ late { name } }').run()).toBeUndefined()
    expect(await compile(schema, '{ named { name } }').run()).toBeUndefined()
    await nextTurn()
    expect(unhandled).toEqual([])
  })
})

const selections = createSchema({
  typeDefs: `
    enum Color { RED GREEN }
    input Inner { color: Color = GREEN list: [Int!] }
    interface Named { name: String }
    type Item implements Named { name: String parent: Item children: [Item!] echo(text: String, inner: Inner = { list: [1] }, colors: [Color!], id: ID = 5): String }
    type Other implements Named { name: String size: Int }
    union Member = Item | Other
    type Query { item: Item members: [Member!]! named: [Named!]! echo(text: String, inner: Inner, colors: [Color!]): String }
    type Mutation { change: Int }
    type Subscription { changes: Int }
  `,
  resolvers: {
    Color: { RED: 1, GREEN: 2 },
    Item: {
      parent: () => ({ name: 'parent' }),
      children: () => [{ name: 'first' }, { name: 'second' }],
      echo: (_source: unknown, args: unknown) => JSON.stringify(args),
    },
    Query: {
      item: async () => ({ name: 'item' }),
      echo: (_source: unknown, args: unknown) => JSON.stringify(args),
      members: () => [item(), { __typename: 'Other', name: 'other', size: 3 }],
      named: () => [{ __typename: 'Other', name: 'other', size: 3 }, item()],
    },
  },
  resolverValidationOptions: { requireResolversForResolveType: 'ignore' },
})

const named = 'fragment Name on Named { name __typename }'
const corpus: [string, Variables?][] = [
  ['{ __typename }'],
  ['{ __typename again: __typename item { name } last: __typename }'],
  ['{ item { b: name a: name name __proto__: name } }'],
  ['{ item { name } ...Later item { parent { name } } } fragment Later on Query { item { children { name } name } }'],
  [`{ item { ...Name parent { ...Name } children { ...Name ...Name n: name } } } ${named}`],
  [`{ members { ...Name ... on Other { size name } ... on Item { parent { name } } ... { __typename } } } ${named}`],
  [`{ named { ... on Other { size } name ... on Member { ... on Item { children { name } } } ...Name } } ${named}`],
  ['{ members { __typename } named { ... on Other { size } } }'],
  ['{ item { name @skip(if: true) parent @include(if: false) { name } } }'],
  ['{ item { name @skip(if: true) @include(if: true) n: name @skip(if: false) @include(if: true) } }'],
  [
    '{ item { ... @include(if: false) { name } ... @skip(if: false) { n: name } ...F @skip(if: true) ...F } } fragment F on Item { parent { name } }',
  ],
  [
    'query($a: Boolean!, $b: Boolean = true) { item { name @include(if: $a) ...F @skip(if: $b) ...F @include(if: $a) } } fragment F on Item { p: parent { name @skip(if: $b) } }',
    { a: true },
  ],
  [
    'query($a: Boolean!, $b: Boolean = true) { item { name @include(if: $a) ... @skip(if: $b) { n: name } } }',
    { a: false, b: false },
  ],
  ['query($a: Boolean!) { item { name @include(if: $a) } }', {}],
  ['query($a: Boolean = true) { item { name @include(if: $a) } }', { a: null }],
  [
    'query($a: Boolean = true) { members { ... on Item { ...F ...F @include(if: $a) } } } fragment F on Item { name }',
    { a: null },
  ],
  [
    'query($a: Boolean = true) { item { name } named { ... on Item { ... on Named { ... on Other { name @include(if: $a) } } name } } }',
    { a: null },
  ],
  ['{ echo(text: null) a: echo(text: "\\"é\\n", inner: {}) b: echo(inner: { color: RED, list: 3 }, colors: GREEN) }'],
  ['{ item { echo a: echo(id: null, inner: null) b: echo(colors: [RED, GREEN], inner: { list: [] }) } }'],
  ['query($t: String, $c: Color) { echo(text: $t, inner: { color: $c }, colors: []) }', {}],
  ['query($t: String, $c: Color) { echo(text: $t, inner: { color: $c }, colors: []) }', { t: null, c: 'RED' }],
  ['query($t: String = "default") { echo(text: $t) item { echo(text: $t) } }'],
  ['query($t: String = "default") { echo(text: $t) item { echo(text: $t) } }', { t: 'given', unknown: 1 }],
  ['query($t: String = "default") { echo(text: $t) }', { t: null }],
  ['query($t: String = "default") { echo(text: $t) }', { t: undefined }],
  ['query($t: String) { echo(text: $t) }', { t: 5 }],
  ['query($i: Inner, $l: [Color!]) { echo(inner: $i, colors: $l) }', { i: { list: 1 }, l: 'RED' }],
  [
    'query($i: Inner, $c: [Color!]) { item { echo(inner: $i, colors: $c) } }',
    { i: { color: null }, c: ['GREEN', 'RED'] },
  ],
  ['query($i: Inner) { echo(inner: $i) }', { i: { color: 'BLUE' } }],
  ['query($i: Int!) { echo(inner: { list: [1, $i] }) }', { i: 2 }],
  ['query($i: Int!) { echo(inner: { list: [1, $i] }) }', { i: null }],
  ['query($id: ID) { item { echo(id: $id) } }', { id: 7 }],
  ['query($constructor: String) { echo(text: $constructor) }'],
]

describe('a selection', () => {
  it.each(corpus)('%s is answered as graphql does %j', async (query, variables) => {
    await expectSame(selections, query, () => ({}), variables)
  })

  it('of the same query is answered for other conditions, and for the first ones again', async () => {
    const { run } = compile(
      selections,
      'query($a: Boolean = false, $b: Boolean!) { item { name @skip(if: $a) parent { name @include(if: $b) __typename } } }',
    )

    expect(await run({}, { a: true, b: true })).toBe('{"item":{"parent":{"name":"parent","__typename":"Item"}}}')
    expect(await run({}, { b: false })).toBe('{"item":{"name":"item","parent":{"__typename":"Item"}}}')
    expect(await run({}, { a: true, b: true })).toBe('{"item":{"parent":{"name":"parent","__typename":"Item"}}}')
    expect(await run({}, { a: true, b: false })).toBe('{"item":{"parent":{"__typename":"Item"}}}')
  })

  it('has a limit to the conditions that it is planned for', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `b${i}`)
    const { run } = compile(
      selections,
      `query(${names.map((name) => `$${name}: Boolean!`)}) { item { ${names.map((name) => `${name}: name @include(if: $${name})`).join(' ')} n: name } }`,
    )
    const answers = []
    for (let i = 0; i < 256; i += 1) {
      answers.push(await run({}, Object.fromEntries(names.map((name, bit) => [name, ((i >> bit) & 1) === 1]))))
    }

    expect(answers[0]).toBe('{"item":{"n":"item"}}')
    expect(answers.filter((answer) => answer !== undefined).length).toBeLessThan(100)
    expect(await run({}, Object.fromEntries(names.map((name) => [name, false])))).toBe(answers[0])
  })

  it('keeps nothing of the request that it was planned in', async () => {
    const { run } = compile(selections, 'query($t: String, $a: Boolean!) { item @include(if: $a) { echo(text: $t) } }')
    const runOnce = async () => {
      const context = {}
      const variables = { t: 'text', a: true }
      await run(context, variables)
      return [context, variables].map((each) => new WeakRef(each))
    }
    const kept = await runOnce()
    await nextTurn()
    collect()

    expect(kept.map((each) => each.deref())).toEqual([undefined, undefined])
    expect(await run({}, { t: 'again', a: true })).toContain('again')
  })

  it.each([
    'subscription { changes }',
    '{ __schema { queryType { name } } }',
    '{ ...Types } fragment Types on Query { item { name } __type(name: "Item") { name } }',
  ])('%s is not compiled', (query) => {
    expect(compile(selections, query).compiled).toBeUndefined()
  })

  it('with a directive that may mean something is not compiled', () => {
    const { document } = compile(selections, '{ item { name } }')
    const marked = parse('{ item { name @mark } }')

    expect(compileOperation(selections, document, getOperationAST(document)!)).toBeDefined()
    expect(compileOperation(selections, marked, getOperationAST(marked)!)).toBeUndefined()
  })
})

describe('a resolver', () => {
  interface Call {
    key: string
    args: object
    info: GraphQLResolveInfo
  }
  /** Names of all that was called, in order; all of them answer later. */
  const tree = createSchema<{ calls: Call[] }>({
    typeDefs:
      'type Query { node(id: Int, more: [Int!] = [1]): Node } type Node { leaf(id: Int): Int node(id: Int): Node nodes: [Node!]! }',
    resolvers: Object.fromEntries(
      [
        ['Query', ['node']],
        ['Node', ['node', 'leaf', 'nodes']],
      ].map(([type, fields]) => [
        type,
        Object.fromEntries(
          (fields as string[]).map((field) => [
            field,
            (_source: unknown, args: object, { calls }: { calls: Call[] }, info: GraphQLResolveInfo) => {
              calls.push({ key: String(info.path.key), args, info })
              if (field === 'leaf') return calls.length % 2 ? 1 : Promise.resolve(1)
              return field === 'node' ? Promise.resolve({}) : [{}, Promise.resolve({}), {}]
            },
          ]),
        ),
      ]),
    ),
  })
  const query = `query Named($id: Int) {
    a: node(id: $id) { leaf nodes { b: leaf(id: 1) c: node(id: 2) { leaf(id: $id) } d: leaf(id: $id) ...F } }
    e: node(more: [2]) { ...F nodes { f: leaf } }
  } fragment F on Node { g: node(id: 3) { h: leaf(id: $id) } nodes { i: leaf(id: 4) } }`

  async function callsOf(variables: Variables, times = 1) {
    const { document, run } = compile(tree, query)
    const compiled: Call[][] = []
    for (let i = 0; i < times; i += 1) {
      const calls: Call[] = []
      await run({ calls }, variables)
      compiled.push(calls)
    }
    const interpreted: Call[] = []
    await execute({ schema: tree, document, contextValue: { calls: interpreted }, variableValues: variables })
    return { compiled, interpreted }
  }

  it('is called when graphql calls it, with the same arguments', async () => {
    const { compiled, interpreted } = await callsOf({ id: 9 })
    const shown = (calls: Call[]) => calls.map(({ key, args }) => [key, args])

    expect(shown(compiled[0]!)).toEqual(shown(interpreted))
    expect(interpreted.length).toBeGreaterThan(40)
  })

  it('is told of its field what graphql tells, but for positions in lists', async () => {
    const { compiled, interpreted } = await callsOf({ id: 9 })
    const pathOf = (path: GraphQLResolveInfo['path'] | undefined): unknown[] => {
      if (!path) return []
      return typeof path.key === 'number' ? pathOf(path.prev) : [...pathOf(path.prev), path.key, path.typename]
    }
    const shown = ({ info }: Call) => ({ ...info, path: pathOf(info.path), variableValues: { ...info.variableValues } })

    for (const [i, call] of compiled[0]!.entries()) expect(shown(call)).toEqual(shown(interpreted[i]!))
  })

  it('gets the same arguments object in every call of its field, and without variables in every execution', async () => {
    const { compiled } = await callsOf({ id: 9 }, 2)
    const objectsOf = (key: string, calls: Call[]) =>
      new Set(calls.filter((call) => call.key === key).map(({ args }) => args))
    for (const key of ['a', 'b', 'c', 'd', 'e', 'g', 'h', 'i']) {
      for (const calls of compiled) expect(objectsOf(key, calls).size, key).toBe(1)
    }
    const [first, second] = compiled.map((calls) => (key: string) => [...objectsOf(key, calls)][0])

    for (const key of ['b', 'c', 'e', 'g', 'i']) expect(first!(key)).toBe(second!(key))
    for (const key of ['a', 'd', 'h']) expect(first!(key)).not.toBe(second!(key))
  })

  it('cannot change arguments that other requests get, too', async () => {
    const schema = createSchema({
      typeDefs: 'type Query { sum(numbers: [Int!]!): Int }',
      resolvers: {
        Query: {
          sum(_source, { numbers }: { numbers: number[] }) {
            numbers.push(1)
            return numbers.length
          },
        },
      },
    })
    const { run } = compile(schema, '{ sum(numbers: [1, 2]) }')

    expect(await run()).toBeUndefined()
    expect(await compile(schema, 'query($n: [Int!]!) { sum(numbers: $n) }').run({}, { n: [1] })).toBe('{"sum":2}')
  })

  it('may fail after another has, or bring promises that fail; nothing is left behind', async () => {
    const unhandled = collectUnhandled()
    const failing = (message: string) => Promise.reject(new Error(message))
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const asked: string[] = []
    const schema = createSchema({
      typeDefs: 'type Query { a: Int! b: [Int] c: [Item!] d: Int e: Item } type Item { name: String }',
      resolvers: {
        Query: {
          a: () => failing('a'),
          b: async () => {
            await released
            return [failing('b'), [failing('b')]]
          },
          c: () => [null, failing('c'), failing('c')],
          d: async () => {
            await released
            throw new Error('d')
          },
          e: () => released.then(() => ({})),
        },
        Item: { name: () => asked.push('name') },
      },
    })

    expect(await compile(schema, '{ a b d e { name } }').run()).toBeUndefined()
    expect(await compile(schema, '{ b d c { name } }').run()).toBeUndefined()
    release()
    await nextTurn()
    expect(unhandled).toEqual([])
    // What nobody is going to see is not asked for.
    expect(asked).toEqual([])
  })
})
