import {
  type DocumentNode,
  type ExecutionResult,
  execute,
  type GraphQLSchema,
  getOperationAST,
  type OperationDefinitionNode,
  OperationTypeNode,
} from 'graphql'
import type { GraphQLContext } from './builder.ts'
import { type CompiledQuery, compileQuery } from './compile.ts'
import { type DocumentCost, type DocumentLimits, exceededKinds, longestList, measure } from './limits.ts'

export type Variables = Record<string, unknown>

/** What came of an operation: the JSON text of its answer, or what is left for the long way to go on with. */
export type Outcome = { text: string } | { text: undefined; result?: ExecutionResult }

/** An operation that was executed before without an error: it needs no parsing and no validation any more. */
export interface KnownOperation {
  readonly name: string | undefined
  readonly isMutation: boolean
  /** How many nodes it asks for; undefined where these variables make it ask for more than it may of anything. */
  nodesFor(variables: Variables): number | undefined
  run(context: GraphQLContext, variables: Variables): Promise<Outcome>
}

export interface KnownOperations {
  /** Remembers an operation that was executed without an error. `operationName` is empty where none was given. */
  learn(text: string, operationName: string, document: DocumentNode): void
  find(text: string, operationName: string): KnownOperation | undefined
}

/** So many documents are kept, those that were asked for last; longer ones are rare, and take too much place. */
export const maxKeptDocuments = 200
export const maxKeptLength = 4096

/** Compiling is given up for what has been left to the interpreter so much more often than it was answered. */
const maxLeftMore = 10

export function createKnownOperations(schema: GraphQLSchema, limits: DocumentLimits): KnownOperations {
  /** By their texts, the one that was asked for last at the end. */
  const documents = new Map<string, Map<string, KnownOperation>>()

  return {
    learn(text, operationName, document) {
      if (text.length > maxKeptLength) return
      const operations = documents.get(text) ?? new Map<string, KnownOperation>()
      const operation = getOperationAST(document, operationName || undefined)
      if (!operation || operation.operation === OperationTypeNode.SUBSCRIPTION || operations.has(operationName)) return
      operations.set(operationName, toKnown(schema, limits, document, operation))
      documents.set(text, operations)
      if (documents.size > maxKeptDocuments) documents.delete(documents.keys().next().value!)
    },
    find(text, operationName) {
      const operations = documents.get(text)
      if (!operations) return undefined
      documents.delete(text)
      documents.set(text, operations)
      return operations.get(operationName)
    },
  }
}

function toKnown(
  schema: GraphQLSchema,
  limits: DocumentLimits,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): KnownOperation {
  const operationName = operation.name?.value
  const isMutation = operation.operation === OperationTypeNode.MUTATION
  const first = measure(schema, document, operationName, {})
  const costOf = (variables: Variables): DocumentCost =>
    first.isVariable
      ? measure(schema, document, operationName, variables).cost
      : { ...first.cost, listItems: Math.max(first.cost.listItems, longestList(variables)) }

  /** Compiled when it is asked for again: most of a flood of documents never are. */
  let compiled: CompiledQuery | undefined
  let isTried = false
  let leftMore = 0
  const runCompiled = async (context: GraphQLContext, variables: Variables): Promise<Outcome> => {
    if (!isTried) {
      isTried = true
      compiled = compileQuery(schema, document, operation)
    }
    const data = await compiled?.run(context, variables)
    if (data !== undefined) {
      leftMore -= leftMore > 0 ? 1 : 0
      return { text: `{"data":${data}}` }
    }
    leftMore += 1
    if (leftMore >= maxLeftMore) compiled = undefined
    return { text: undefined }
  }

  /** A mutation cannot be begun again by the long way, so what it comes to is handed over. */
  const runMutation = async (contextValue: GraphQLContext, variableValues: Variables): Promise<Outcome> => {
    const result = await execute({ schema, document, operationName, contextValue, variableValues })
    return result.errors ? { text: undefined, result } : { text: JSON.stringify(result) }
  }

  return {
    name: operationName,
    isMutation,
    nodesFor(variables) {
      const cost = costOf(variables)
      return exceededKinds(cost, limits).length > 0 ? undefined : cost.nodes
    },
    run: isMutation ? runMutation : runCompiled,
  }
}
