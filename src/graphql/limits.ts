import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  GraphQLError,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  Lexer,
  type OperationDefinitionNode,
  type SelectionSetNode,
  Source,
  TokenKind,
  type ValueNode,
  visit,
} from 'graphql'
import type { Plugin } from 'graphql-yoga'
import type { Admission } from '../auth/gate.ts'
import { RateLimited } from '../auth/rate-limit.ts'
import type { TopLevelCode } from './errors.ts'
import { idempotentOnMutationsOnly } from './idempotent.ts'

/** What one document may ask for, with the values of its variables. */
export interface DocumentLimits {
  /** Lexical tokens, counted before anything is parsed. */
  tokens: number
  /** Levels of fields. What introspection asks for has a limit of its own, in graphql. */
  depth: number
  aliases: number
  /** Fields of the operation itself, also those from fragments. */
  rootFields: number
  directives: number
  /** Items of any one list of an input. */
  listItems: number
  /** Nodes of all connections, and the objects that they refer to: the product of the page sizes on the way, summed up. */
  nodes: number
}

/** How a field tells how many nodes it may bring: by its page size, or by the length of a list argument. */
export interface NodeCount {
  pageSize?: number
  listArgument?: string
}

/** What a document asks for, of each kind that has a limit. */
export type DocumentCost = Omit<DocumentLimits, 'tokens'>

/** A measured document. */
export interface Measured {
  readonly cost: DocumentCost
  /** Whether variables say how long its lists are, so that other values cost otherwise. */
  readonly isVariable: boolean
}

/** Brackets within brackets. The parser calls itself for each: a thousand and more exhaust the stack. */
const maxNesting = 200

const opening: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L])
const closing: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R])

/** Counts the tokens of a text, and how deep its brackets go; a text that is no document is left for the parser to refuse. */
export function scan(text: string): { tokens: number; nesting: number } {
  const lexer = new Lexer(new Source(text))
  let tokens = 0
  let open = 0
  let nesting = 0
  try {
    for (let { kind } = lexer.advance(); kind !== TokenKind.EOF; { kind } = lexer.advance()) {
      tokens += 1
      if (opening.has(kind)) open += 1
      if (closing.has(kind)) open -= 1
      nesting = Math.max(nesting, open)
    }
  } catch {
    // The parser says what is wrong, and where.
  }
  return { tokens, nesting }
}

interface SelectionCost {
  depth: number
  aliases: number
  directives: number
  fields: number
  nodes: number
}

const nothing: SelectionCost = { depth: 0, aliases: 0, directives: 0, fields: 0, nodes: 0 }

/** Measures an operation. Fragments count wherever they are spread, but each is looked at once. */
export function measure(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName: string | null | undefined,
  variables: Record<string, unknown>,
): Measured {
  const fragments = new Map<string, FragmentDefinitionNode>()
  const operations: OperationDefinitionNode[] = []
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition)
    if (definition.kind === Kind.OPERATION_DEFINITION) operations.push(definition)
  }
  // Without the right name nothing is executed, but everything is validated.
  const named = operations.filter(({ name }) => !operationName || name?.value === operationName)
  const measured = (named.length > 0 ? named : operations).map((operation) =>
    measureOperation(schema, operation, fragments, variables),
  )
  const most = (kind: keyof DocumentCost) => Math.max(0, ...measured.map(({ cost }) => cost[kind]))
  const cost = {
    depth: most('depth'),
    aliases: most('aliases'),
    rootFields: most('rootFields'),
    directives: most('directives'),
    listItems: Math.max(longestLiteral(document), longestList(variables)),
    nodes: most('nodes'),
  }
  return { cost, isVariable: measured.some(({ isVariable }) => isVariable) }
}

function measureOperation(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  fragments: Map<string, FragmentDefinitionNode>,
  given: Record<string, unknown>,
): Measured {
  let isVariable = false
  // Without a prototype: a variable may be called `constructor`.
  const variables: Record<string, unknown> = Object.assign(Object.create(null), given)
  let variableDirectives = 0
  for (const { variable, defaultValue, directives } of operation.variableDefinitions ?? []) {
    variableDirectives += directives?.length ?? 0
    // As in execution, a null that is given is not replaced by the default.
    if (defaultValue && variables[variable.name.value] === undefined)
      variables[variable.name.value] = plainValue(defaultValue)
  }

  const nodeInterface = schema.getType('Node')
  const isNode = (type: GraphQLNamedType | undefined) =>
    (isObjectType(type) || isInterfaceType(type)) && type.getInterfaces().some((one) => one === nodeInterface)

  const argumentOf = (field: FieldNode, name: string) => {
    const node = field.arguments?.find((given) => given.name.value === name)?.value
    if (node?.kind === Kind.VARIABLE) isVariable = true
    return node && plainValue(node, variables)
  }

  const known = new Map<SelectionSetNode, SelectionCost>()
  const measureSet = (set: SelectionSetNode | undefined, parent: GraphQLCompositeType | undefined): SelectionCost => {
    if (!set) return nothing
    const before = known.get(set)
    if (before) return before
    // A fragment that spreads itself is refused later; here it must only come to an end.
    known.set(set, nothing)
    const total = { ...nothing }
    for (const selection of set.selections) {
      total.directives += selection.directives?.length ?? 0
      if (selection.kind === Kind.FIELD) {
        const cost = measureField(selection, parent)
        total.depth = Math.max(total.depth, cost.depth)
        total.aliases += cost.aliases
        total.directives += cost.directives
        total.fields += 1
        total.nodes += cost.nodes
      } else {
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments.get(selection.name.value) : selection
        const condition = fragment?.typeCondition && schema.getType(fragment.typeCondition.name.value)
        const cost = measureSet(fragment?.selectionSet, isCompositeType(condition) ? condition : parent)
        total.depth = Math.max(total.depth, cost.depth)
        total.aliases += cost.aliases
        total.directives += cost.directives
        total.fields += cost.fields
        total.nodes += cost.nodes
      }
    }
    known.set(set, total)
    return total
  }

  const measureField = (field: FieldNode, parent: GraphQLCompositeType | undefined): SelectionCost => {
    const alias = field.alias ? 1 : 0
    if (field.name.value.startsWith('__')) {
      const { aliases, directives } = measureSet(field.selectionSet, undefined)
      return { ...nothing, aliases: aliases + alias, directives, depth: 1 }
    }
    const definition = parent && 'getFields' in parent ? parent.getFields()[field.name.value] : undefined
    const type = definition && getNamedType(definition.type)
    const inner = measureSet(field.selectionSet, isCompositeType(type) ? type : undefined)
    // A parent, or the organization of a contact, is one more object for each that refers to it.
    const refers = isNode(parent) && isNode(type) ? 1 : undefined
    const count = definition && (nodeCountOf(definition, field, argumentOf) ?? refers)
    return {
      depth: inner.depth + 1,
      aliases: inner.aliases + alias,
      directives: inner.directives,
      fields: 1,
      nodes: count === undefined ? inner.nodes : Math.min(count * (1 + inner.nodes), Number.MAX_SAFE_INTEGER),
    }
  }

  const { fields, directives, ...rest } = measureSet(
    operation.selectionSet,
    schema.getRootType(operation.operation) ?? undefined,
  )
  const allDirectives = directives + variableDirectives + (operation.directives?.length ?? 0)
  return { cost: { ...rest, rootFields: fields, directives: allDirectives, listItems: 0 }, isVariable }
}

/** How many nodes a field asks for; undefined where it is no list of nodes. */
function nodeCountOf(
  definition: GraphQLField<unknown, unknown>,
  field: FieldNode,
  argumentOf: (field: FieldNode, name: string) => unknown,
): number | undefined {
  const { pageSize, listArgument } = (definition.extensions.nodeCount ?? {}) as NodeCount
  const argument = (name: string) => argumentOf(field, name)
  if (listArgument) {
    const list = argument(listArgument)
    return Array.isArray(list) ? list.length : 1
  }
  if (pageSize === undefined) return undefined
  const size = argument('first') ?? argument('last') ?? pageSize
  // What is no size is refused later; until then it must not make the sum NaN.
  return Number.isSafeInteger(size) && (size as number) >= 0 ? (size as number) : pageSize
}

/** The value of an argument, as far as numbers and lists of them are concerned. */
function plainValue(node: ValueNode, variables: Record<string, unknown> = {}): unknown {
  if (node.kind === Kind.VARIABLE) return variables[node.name.value]
  if (node.kind === Kind.INT) return Number(node.value)
  if (node.kind === Kind.LIST) return node.values
  return undefined
}

function longestLiteral(document: DocumentNode): number {
  let longest = 0
  visit(document, {
    ListValue({ values }) {
      longest = Math.max(longest, values.length)
    },
  })
  return longest
}

/** The length of the longest list within a value, however deep. */
export function longestList(value: unknown): number {
  let longest = 0
  const waiting = [value]
  while (waiting.length > 0) {
    const found = waiting.pop()
    if (typeof found !== 'object' || found === null) continue
    if (Array.isArray(found)) longest = Math.max(longest, found.length)
    for (const item of Object.values(found)) waiting.push(item)
  }
  return longest
}

/** With the one that no operator needs to set. */
type AllLimits = DocumentLimits & { nesting: number }

const sentences: Record<keyof AllLimits, (actual: number, limit: number) => string> = {
  tokens: (actual, limit) => `The document has ${actual} tokens; at most ${limit} are allowed.`,
  nesting: (actual, limit) => `The document has ${actual} brackets within each other; at most ${limit} are allowed.`,
  depth: (actual, limit) => `The document is ${actual} levels deep; at most ${limit} are allowed.`,
  aliases: (actual, limit) => `The document has ${actual} aliases; at most ${limit} are allowed.`,
  rootFields: (actual, limit) => `The operation has ${actual} fields; at most ${limit} are allowed.`,
  directives: (actual, limit) => `The document has ${actual} directives; at most ${limit} are allowed.`,
  listItems: (actual, limit) => `A list of the input has ${actual} items; at most ${limit} are allowed.`,
  nodes: (actual, limit) => `The document asks for ${actual} nodes; at most ${limit} are allowed.`,
}

/** The refusal of a document that asks for more than it may: one error for each limit. */
export function tooComplex<Kind extends keyof AllLimits>(
  kinds: readonly Kind[],
  actual: Readonly<Record<Kind, number>>,
  limits: Readonly<Record<Kind, number>>,
) {
  const code: TopLevelCode = 'QUERY_TOO_COMPLEX'
  const errors = kinds.map(
    (kind) =>
      new GraphQLError(sentences[kind](actual[kind], limits[kind]), {
        extensions: { code, limit: limits[kind], actual: actual[kind], http: { status: 400, spec: true } },
      }),
  )
  return errors.length === 1 ? errors[0]! : new AggregateError(errors)
}

/** Refuses a text that has too many tokens or brackets to be parsed. */
export function refuseText(text: string, limits: DocumentLimits): void {
  // No text has more tokens or brackets than characters.
  if (text.length <= Math.min(limits.tokens, maxNesting)) return
  const { tokens, nesting } = scan(text)
  if (tokens > limits.tokens) throw tooComplex(['tokens'], { tokens }, limits)
  if (nesting > maxNesting) throw tooComplex(['nesting'], { nesting }, { ...limits, nesting: maxNesting })
}

/** The kinds of which a document asks for more than it may. */
export const exceededKinds = (cost: DocumentCost, limits: DocumentLimits) =>
  (Object.keys(cost) as (keyof DocumentCost)[]).filter((kind) => cost[kind] > limits[kind])

/** What the plugin reads of Yoga's context. */
interface Watched {
  params?: { operationName?: string; variables?: Record<string, unknown> }
  admission?: Admission
  /** The counting of the nodes, where it has begun already. */
  spending?: Promise<void>
}

/** A request with this header is told what its document cost, in `extensions.cost`. */
export const costHeader = 'x-graphql-cost'

/** Refuses documents above the limits: by their tokens before they are parsed, by everything else before they are validated. */
export function useDocumentLimits(limits: DocumentLimits): Plugin {
  const costs = new WeakMap<object, DocumentCost>()
  return {
    onParse({ params: { source } }) {
      refuseText(typeof source === 'string' ? source : source.body, limits)
    },
    onValidate({ params: { schema, documentAST }, context, addValidationRule }) {
      addValidationRule(idempotentOnMutationsOnly)
      const { operationName, variables } = (context as Watched).params ?? {}
      const { cost } = measure(schema, documentAST, operationName, variables ?? {})
      const exceeded = exceededKinds(cost, limits)
      // Thrown rather than set as the result: results of validation are kept for the next request with other variables.
      if (exceeded.length > 0) throw tooComplex(exceeded, cost, limits)
      costs.set(context, cost)
    },
    async onExecute({ args, setResultAndStopExecution }) {
      const context: Watched = args.contextValue
      try {
        await (context.spending ?? context.admission?.spendNodes(costs.get(context)?.nodes ?? 0))
      } catch (error) {
        if (!(error instanceof RateLimited)) throw error
        const code: TopLevelCode = 'RATE_LIMITED'
        const http = { status: 429, headers: error.headers, spec: false }
        const { message, retryAfterSeconds } = error
        setResultAndStopExecution({
          errors: [new GraphQLError(message, { extensions: { code, retryAfterSeconds, http } })],
        })
      }
    },
    onExecutionResult({ request, result, setResult, context }) {
      if (!request.headers.has(costHeader) || !result || Symbol.asyncIterator in result) return
      const cost = costs.get(context)
      if (!cost) return
      const extensions = { ...result.extensions, cost: { requestedNodes: cost.nodes, maxNodes: limits.nodes } }
      setResult({ ...result, extensions })
    },
  }
}
