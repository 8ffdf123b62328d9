import {
  type GraphQLArgument,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
} from 'graphql'

export interface RandomRequest {
  query: string
  variables: Record<string, unknown>
  operationName?: string
  /** Whether it was broken after it was made to fit the schema. */
  broken: boolean
}

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const texts = [
  '',
  'Best IT',
  'info@best-it.com',
  'www.best-it.com',
  '+1 (800) 4-BEST-IT',
  '%_\\',
  "'; --",
  'é',
  '🦊',
  '\u0000',
  '\ud800',
  '\u202e',
  '\ufeff',
  '\u2028',
  'a'.repeat(300),
]

/** Makes a request from the schema: one that fits it, or one that was broken somewhere. */
export function randomRequest(schema: GraphQLSchema, random: () => number, ids: readonly string[]): RandomRequest {
  const chance = (share: number) => random() < share
  const below = (limit: number) => Math.floor(random() * limit)
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!

  const fragments: string[] = []
  const declared: string[] = []
  const variables: Record<string, unknown> = {}
  let fields = 0

  const scalarValue = (name: string): unknown => {
    if (name === 'Int') return pick([1, 1, 2, 3, 5, 10, 100, 0, -1, 101, 2_147_483_647])
    if (name === 'Boolean') return chance(0.5)
    if (name === 'ID') return chance(0.8) ? pick(ids) : pick([...texts, '1', '0', '-1', '9007199254740993'])
    return pick(texts)
  }

  /** A value as JSON has it. */
  const valueFor = (type: GraphQLInputType): unknown => {
    if (isNonNullType(type)) return valueFor(type.ofType)
    if (isListType(type)) return Array.from({ length: below(4) }, () => valueFor(type.ofType))
    if (isEnumType(type)) return pick(type.getValues()).name
    if (!isInputObjectType(type)) return scalarValue(type.name)
    const all: GraphQLInputField[] = Object.values(type.getFields())
    const chosen = type.isOneOf ? [pick(all)] : all.filter((field) => isRequiredInputField(field) || chance(0.3))
    return Object.fromEntries(chosen.map((field) => [field.name, valueFor(field.type)]))
  }

  /** The same as a literal. Half of a pair of surrogates is written as it is: JSON carries it. */
  const literal = (value: unknown, type: GraphQLInputType): string => {
    if (isNonNullType(type)) return literal(value, type.ofType)
    if (value === null) return 'null'
    if (isListType(type)) return `[${(value as unknown[]).map((item) => literal(item, type.ofType)).join(', ')}]`
    if (isEnumType(type)) return String(value)
    if (!isInputObjectType(type)) return JSON.stringify(value)
    const parts = Object.entries(value as object).map(
      ([name, part]) => `${name}: ${literal(part, type.getFields()[name]!.type)}`,
    )
    return `{ ${parts.join(', ')} }`
  }

  const argumentsOf = (args: readonly GraphQLArgument[]): string => {
    const given = args.filter((arg) => isRequiredArgument(arg) || chance(arg.name === 'first' ? 0.5 : 0.12))
    const parts = given.map((arg) => {
      const value = valueFor(arg.type)
      if (chance(0.6)) return `${arg.name}: ${literal(value, arg.type)}`
      const name = `v${declared.length}`
      const initial = chance(0.2) ? ` = ${literal(valueFor(arg.type), arg.type)}` : ''
      declared.push(`$${name}: ${arg.type}${initial}`)
      if (!initial || chance(0.5)) variables[name] = chance(0.05) && !isNonNullType(arg.type) ? null : value
      return `${arg.name}: $${name}`
    })
    return parts.length > 0 ? `(${parts.join(', ')})` : ''
  }

  const directives = () => {
    if (!chance(0.06)) return ''
    const name = pick(['skip', 'include'])
    return ` @${name}(if: ${chance(0.5) ? chance(0.5) : condition()})`
  }

  /** A variable for a directive: it may have a default, but not be null. */
  const condition = () => {
    const name = `v${declared.length}`
    const hasDefault = chance(0.5)
    declared.push(`$${name}: ${hasDefault ? `Boolean = ${chance(0.5)}` : 'Boolean!'}`)
    if (!hasDefault || chance(0.5)) variables[name] = hasDefault && chance(0.1) ? null : chance(0.5)
    return `$${name}`
  }

  /** Keys are few, so that some are used again; some are none. */
  const keyFor = (field: GraphQLField<unknown, unknown>) =>
    schema.getMutationType()!.getFields()[field.name] === field && chance(0.5)
      ? ` @idempotent(key: ${JSON.stringify(chance(0.9) ? `key-${below(20)}` : pick(texts))})`
      : ''

  const fieldOf = (field: GraphQLField<unknown, unknown>, depth: number): string => {
    fields += 1
    const type = getNamedType(field.type)
    // Arguments that differ need names that do.
    const alias = field.args.length > 0 || chance(0.05) ? `a${fields}: ` : ''
    const head = `${alias}${field.name}${argumentsOf(field.args)}${keyFor(field)}`
    if (!isCompositeType(type)) return `${head}${directives()}`
    const whole = () => `${head}${directives()} ${selectionOf(type, depth - 1)}`
    // Written twice, it is one field all the same.
    return chance(0.1) ? `${whole()} ${whole()}` : whole()
  }

  const selectionOf = (type: GraphQLCompositeType, depth: number): string => {
    const parts: string[] = chance(0.2) ? ['__typename'] : []
    if ('getFields' in type) {
      const all = Object.values(type.getFields())
      const usable = all.filter((field) => depth > 1 || !isCompositeType(getNamedType(field.type)))
      const count = usable.length === 0 || fields > 120 ? 0 : 1 + below(3)
      for (let i = 0; i < count; i += 1) parts.push(fieldOf(pick(usable), depth))
    }
    if (fields < 120 && depth > 0 && chance(isAbstractType(type) ? 0.9 : 0.15)) {
      const member = isAbstractType(type) ? pick(schema.getPossibleTypes(type)) : type
      const on = pick([member, member, type, ...member.getInterfaces()])
      const body = selectionOf(on, depth - 1)
      if (chance(0.5)) {
        parts.push(`... on ${on.name}${directives()} ${body}`)
      } else {
        const name = `F${fragments.length}`
        fragments.push('')
        fragments[Number(name.slice(1))] = `fragment ${name} on ${on.name} ${body}`
        for (let i = 1 + below(2); i > 0; i -= 1) parts.push(`...${name}${directives()}`)
      }
    }
    if (parts.length === 0) parts.push('__typename')
    return `{ ${parts.join(' ')} }`
  }

  const kind = chance(0.25) ? 'mutation' : 'query'
  const root = kind === 'mutation' ? schema.getMutationType()! : schema.getQueryType()!
  const selection = selectionOf(root, 1 + below(8))
  const name = chance(0.3) ? 'Random' : ''
  const head = declared.length > 0 || name || kind === 'mutation' || chance(0.5)
  const operation = `${head ? `${kind} ${name}${declared.length > 0 ? `(${declared.join(', ')})` : ''} ` : ''}${selection}`
  const query = [operation, ...fragments].join('\n')
  const request: RandomRequest = { query, variables, operationName: name || undefined, broken: false }
  return chance(0.5) ? request : breakRequest(request, random)
}

/** Spoils a request once or several times. */
function breakRequest(request: RandomRequest, random: () => number): RandomRequest {
  const below = (limit: number) => Math.floor(random() * limit)
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!
  let { query, operationName } = request
  let variables: Record<string, unknown> = { ...request.variables }
  const at = () => below(query.length + 1)
  const insert = (text: string) => {
    const position = at()
    query = query.slice(0, position) + text + query.slice(position)
  }
  /** Replaces one of the matches. */
  const exchange = (pattern: RegExp, text: () => string) => {
    const match = pick([...query.matchAll(pattern)])
    if (match) query = query.slice(0, match.index) + text() + query.slice(match.index + match[0].length)
  }
  const oddValues = [null, true, -1, 0.5, 1e300, 2 ** 53, '', '\u0000', '\ud800', [], [[1]], {}, { a: { b: [] } }]
  const oddLiterals = [
    'null',
    '"x"',
    '-1',
    '1.5',
    '1e999',
    'true',
    'UNKNOWN',
    '[]',
    '[[1]]',
    '{}',
    '{ a: 1 }',
    '$missing',
    '"\\u0000"',
    '"\\uD800"',
    '"""\n \\""" """',
  ]
  const oddTexts = [
    '\u0000',
    '\ud800',
    '\udfff',
    '🦊',
    '\ufeff',
    '\u2028',
    '\u202e',
    '\u0007',
    'é',
    '"',
    '"""',
    '\\',
    '#',
    '$',
    '@',
    '...',
    '{',
    '}',
    '(',
    ')',
    '[',
    ']',
    '!',
    '|',
    '&',
    '\r\n',
  ]
  const faults: (() => void)[] = [
    () => exchange(/[{}]/g, () => ''),
    () => exchange(/[()[\]:]/g, () => ''),
    () =>
      exchange(/\b[a-z]\w*\b/g, () =>
        pick([
          'unknown',
          'id',
          'nodes',
          'organization',
          '__typename',
          '__schema',
          '__proto__',
          'constructor',
          'on',
          'fragment',
        ]),
      ),
    () => exchange(/: (?:"[^"]*"|-?\d+|true|false|[A-Z_]+\b)/g, () => `: ${pick(oddLiterals)}`),
    () =>
      exchange(
        /\$\w+: [\w[\]!]+/g,
        () =>
          `$${pick(['v0', 'v1', 'constructor'])}: ${pick(['Int', 'String!', '[ID]', 'Unknown', 'Organization', '[[[Int]]]'])}`,
      ),
    () => exchange(/\.\.\.F\d+/g, () => `...F${below(5)}`),
    () =>
      exchange(/on [A-Z]\w+/g, () => `on ${pick(['Unknown', 'Query', 'String', 'Node', 'Contact', 'ContactFilter'])}`),
    () => insert(pick(oddTexts)),
    () =>
      insert(
        pick([' @unknown', ' @skip', ' @include(if: 1)', ' @skip(if: $missing)', ' @oneOf', ' @idempotent(key: "a")']),
      ),
    () =>
      insert(
        pick(['query { __typename }', 'subscription { a }', 'type A { b: Int }', 'mutation M { a }', ' ...Missing ']),
      ),
    () => {
      query = query.slice(0, at())
    },
    () => {
      query = query.slice(at())
    },
    () => {
      const name = pick([...Object.keys(variables), 'v0', '__proto__', 'constructor'])
      variables = { ...variables, ...JSON.parse(`{ ${JSON.stringify(name)}: null }`), [name]: pick(oddValues) }
    },
    () => {
      const [dropped, ...kept] = Object.entries(variables)
      variables = Object.fromEntries(dropped ? kept : [['unused', pick(oddValues)]])
    },
    () => {
      operationName = pick(['Missing', '', '\u0000', '__proto__', 'F0'])
    },
  ]
  for (let i = 1 + below(3); i > 0; i -= 1) pick(faults)()
  return { query, variables, operationName, broken: true }
}
