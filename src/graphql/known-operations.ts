import {
  type DefinitionNode,
  type DocumentNode,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
} from 'graphql'
import type { GraphQLContext } from './builder.ts'
import { type CompiledOperation, compileOperation } from './compile.ts'
import { type DocumentCost, type DocumentLimits, exceededKinds, longestList, measure } from './limits.ts'

export type Variables = Record<string, unknown>

/** An operation that was executed before without an error, or found valid: it needs no parsing and no validation any more. */
export interface KnownOperation {
  readonly name: string | undefined
  readonly isMutation: boolean
  /** How many nodes it asks for; undefined where these variables make it ask for more than it may of anything. */
  nodesFor(variables: Variables): number | undefined
  /** The JSON text of its answer; undefined where it is to be executed by the long way, on the same context. */
  run(context: GraphQLContext, variables: Variables): Promise<string | undefined>
}

export interface KnownOperations {
  /** Remembers an operation that was executed without an error. `operationName` is empty where none was given. */
  learn(text: string, operationName: string, document: DocumentNode): void
  /** Keeps the operations of a document that was found valid, whatever else is asked for. */
  keep(text: string, document: DocumentNode): void
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
  let last: string | undefined
  const kept = new Map<string, Map<string, KnownOperation>>()

  return {
    learn(text, operationName, document) {
      if (text.length > maxKeptLength || kept.has(text)) return
      const operations = documents.get(text) ?? new Map<string, KnownOperation>()
      const operation = getOperationAST(document, operationName || undefined)
      if (!operation || !isPlainOperation(operation) || operations.has(operationName)) return
      operations.set(operationName, toKnown(schema, limits, document, operation))
      documents.set(text, operations)
      last = text
      if (documents.size > maxKeptDocuments) documents.delete(documents.keys().next().value!)
    },
    keep(text, document) {
      const operations = new Map<string, KnownOperation>()
      const only = getOperationAST(document)
      for (const one of document.definitions.filter(isPlainOperation)) {
        const operation = toKnown(schema, limits, document, one)
        if (one.name) operations.set(one.name.value, operation)
        if (one === only) operations.set('', operation)
      }
      kept.set(text, operations)
    },
    find(text, operationName) {
      const operations = documents.get(text)
      if (!operations) return kept.get(text)?.get(operationName)
      if (text !== last) {
        documents.delete(text)
        documents.set(text, operations)
        last = text
      }
      return operations.get(operationName)
    },
  }
}

/** Subscriptions are streams, which have a way of their own. */
const isPlainOperation = (definition: DefinitionNode): definition is OperationDefinitionNode =>
  definition.kind === Kind.OPERATION_DEFINITION && definition.operation !== OperationTypeNode.SUBSCRIPTION

function toKnown(
  schema: GraphQLSchema,
  limits: DocumentLimits,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): KnownOperation {
  const operationName = operation.name?.value
  const first = measure(schema, document, operationName, {})
  const costOf = (variables: Variables): DocumentCost =>
    first.isVariable
      ? measure(schema, document, operationName, variables).cost
      : { ...first.cost, listItems: Math.max(first.cost.listItems, longestList(variables)) }

  /** Compiled when it is asked for again: most of a flood of documents never are. */
  let compiled: CompiledOperation | undefined
  let isTried = false
  let leftMore = 0

  return {
    name: operationName,
    isMutation: operation.operation === OperationTypeNode.MUTATION,
    nodesFor(variables) {
      const cost = costOf(variables)
      return exceededKinds(cost, limits).length > 0 ? undefined : cost.nodes
    },
    async run(context, variables) {
      if (!isTried) {
        isTried = true
        compiled = compileOperation(schema, document, operation)
      }
      const data = await compiled?.run(context, variables)
      if (data === undefined) {
        leftMore += 1
        if (leftMore >= maxLeftMore) compiled = undefined
        return undefined
      }
      leftMore = Math.max(0, leftMore - 1)
      return `{"data":${data}}`
    },
  }
}
