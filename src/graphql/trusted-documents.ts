import { createHash } from 'node:crypto'
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  NoSchemaIntrospectionCustomRule,
  parse,
  specifiedRules,
  validate,
} from 'graphql'
import { idempotentOnMutationsOnly } from './idempotent.ts'
import { type DocumentLimits, exceededKinds, measure, refuseText, tooComplex } from './limits.ts'

/** A document that was checked before anybody asks for it. */
export interface TrustedDocument {
  readonly text: string
  readonly document: DocumentNode
}

/** By their ids. */
export type TrustedDocuments = ReadonlyMap<string, TrustedDocument>

/** A document as a file lists it. */
export interface ListedDocument {
  readonly file: string
  readonly id: string
  readonly text: string
}

const prefix = 'sha256:'

/** The id without the prefix by which the proposal for GraphQL over HTTP marks those that are hashes. */
export const plainId = (id: string) => (id.startsWith(prefix) ? id.slice(prefix.length) : id)

export const sha256Of = (text: string) => createHash('sha256').update(text).digest('hex')

/** A file that is itself a document goes by the SHA-256 of its text, as it stands. */
export const listFile = (file: string, text: string): ListedDocument => ({ file, id: sha256Of(text), text })

/**
 * What a manifest lists: `{ id: document }`, as graphql-codegen and Relay write it, or the operations of Apollo's. Adds to
 * `faults` what is neither.
 */
export function listManifest(file: string, json: string, faults: string[]): ListedDocument[] {
  const entries = entriesOf(json)
  if (!entries) {
    faults.push(`${file} is no manifest: neither {"id": "document", …} nor Apollo's with its operations.`)
    return []
  }
  return entries.flatMap(({ id, text }) => {
    if (typeof id === 'string' && id !== '' && typeof text === 'string') return [{ file, id, text }]
    faults.push(`${file}, ${nameOf(id)}: an id and a document must be texts.`)
    return []
  })
}

const apolloFormat = 'apollo-persisted-query-manifest'

function entriesOf(json: string): { id: unknown; text: unknown }[] | undefined {
  let manifest: unknown
  try {
    manifest = JSON.parse(json)
  } catch {
    return undefined
  }
  if (typeof manifest !== 'object' || manifest === null || Array.isArray(manifest)) return undefined
  const { format, operations } = manifest as Record<string, unknown>
  if (format !== apolloFormat) return Object.entries(manifest).map(([id, text]) => ({ id, text }))
  if (!Array.isArray(operations)) return undefined
  return operations.map((operation) => ({ id: operation?.id, text: operation?.body }))
}

export interface CheckOptions {
  schema: GraphQLSchema
  limits: DocumentLimits
  introspection: boolean
}

/** The documents by their ids. Adds to `faults` why any of them could never be executed. */
export function checkDocuments(
  listed: readonly ListedDocument[],
  options: CheckOptions,
  faults: string[],
): TrustedDocuments {
  const documents = new Map<string, TrustedDocument>()
  for (const { file, id: given, text } of listed) {
    const id = plainId(given)
    const found = documents.get(id)
    if (found?.text === text) continue
    const told = (messages: readonly string[]) =>
      faults.push(...messages.map((one) => `${file}, ${nameOf(id)}: ${one}`))
    if (found) {
      told(['The id stands for another document as well.'])
      continue
    }
    try {
      const document = read(text, options.limits)
      const messages = faultsOf(document, options)
      if (messages.length > 0) told(messages)
      else documents.set(id, { text, document })
    } catch (error) {
      told(messagesOf(error))
    }
  }
  return documents
}

const nameOf = (id: unknown) => (typeof id === 'string' ? `id ${id.slice(0, 80)}` : 'an entry')

function read(text: string, limits: DocumentLimits): DocumentNode {
  refuseText(text, limits)
  return parse(text)
}

function faultsOf(document: DocumentNode, { schema, limits, introspection }: CheckOptions): readonly string[] {
  if (!document.definitions.some(({ kind }) => kind === Kind.OPERATION_DEFINITION)) return ['It has no operation.']
  const rules = [...specifiedRules, idempotentOnMutationsOnly]
  if (!introspection) rules.push(NoSchemaIntrospectionCustomRule)
  const errors = validate(schema, document, rules)
  if (errors.length > 0) return errors.map(withPlace)
  const { cost, isVariable } = measure(schema, document, undefined, {})
  // How many nodes it asks for may be for the variables to say.
  const exceeded = exceededKinds(cost, limits).filter((kind) => kind !== 'nodes' || !isVariable)
  return exceeded.length > 0 ? messagesOf(tooComplex(exceeded, cost, limits)) : []
}

const messagesOf = (error: unknown): string[] => {
  if (error instanceof AggregateError) return error.errors.flatMap(messagesOf)
  if (error instanceof GraphQLError) return [withPlace(error)]
  throw error
}

function withPlace({ message, locations }: GraphQLError): string {
  const place = locations?.[0]
  return place ? `${message} (${place.line}:${place.column})` : message
}
