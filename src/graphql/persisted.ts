import { GraphQLError } from 'graphql'
import type { Plugin } from 'graphql-yoga'
import type { Admission } from '../auth/gate.ts'
import type { TopLevelCode } from './errors.ts'
import { plainId, sha256Of, type TrustedDocuments } from './trusted-documents.ts'

export interface PersistedOptions {
  /** What the operator has listed. */
  trusted: TrustedDocuments
  /** Whether nothing else is executed. */
  only: boolean
  /** Whether callers may send the hash of a document that they have sent before. */
  automatic: boolean
}

/** The parameters of a request that say which document it is about; anything, as it was sent. */
export interface Naming {
  readonly query?: unknown
  readonly documentId?: unknown
  /** What Relay's documentation has fetch functions send. */
  readonly doc_id?: unknown
  /** With Apollo's `persistedQuery`. */
  readonly extensions?: unknown
}

export interface PersistedDocuments {
  /**
   * The document that a request is about: that which it names, or else what it has for a query. Throws where it names none
   * that is known, or may not be executed.
   */
  textOf(naming: Naming, account: number | undefined): unknown
  /** Remembers the document of a request for its hash, where it was sent with it. `textOf` has found them fit each other. */
  register(naming: Naming, account: number | undefined): void
}

/** Finds documents by the ids that requests have for them. */
export function createPersistedDocuments({ trusted, only, automatic }: PersistedOptions): PersistedDocuments {
  const registered = automatic && !only ? createRegistered() : undefined

  const textOfListed = ({ query }: Naming, name: DocumentName | undefined) => {
    if (!name || hasText(query)) throw refuse('PERSISTED_QUERY_ID_REQUIRED', sentences.idRequired)
    const found = trusted.get(name.id)
    if (!found) throw refuse('PERSISTED_QUERY_NOT_IN_LIST', sentences.notInList)
    return found.text
  }
  const textOfNamed = ({ id, isHash }: DocumentName, account: number | undefined) => {
    const found = trusted.get(id)?.text ?? (isHash ? registered?.get(id, account) : undefined)
    if (found !== undefined) return found
    if (!isHash) throw refuse('PERSISTED_QUERY_NOT_FOUND', sentences.unknownId)
    // Apollo's link stops asking after this one, and sends the query with a hash that is not found.
    if (!registered && trusted.size === 0) throw refuse('PERSISTED_QUERY_NOT_SUPPORTED', 'PersistedQueryNotSupported')
    throw refuse('PERSISTED_QUERY_NOT_FOUND', 'PersistedQueryNotFound')
  }

  return {
    textOf(naming, account) {
      const name = readName(naming)
      if (only) return textOfListed(naming, name)
      const { query } = naming
      if (!name) return query
      if (!hasText(query)) return textOfNamed(name, account)
      if (!name.isHash) throw refuse('BAD_USER_INPUT', sentences.both)
      const isOf =
        registered?.get(name.id, account) === query || (typeof query === 'string' && sha256Of(query) === name.id)
      if (!isOf) throw refuse('BAD_USER_INPUT', sentences.mismatch)
      return query
    },
    register(naming, account) {
      if (!registered || !isGiven(naming.extensions)) return
      const name = readName(naming)
      if (name?.isHash && typeof naming.query === 'string' && !trusted.has(name.id)) {
        registered.set(name.id, naming.query, account)
      }
    },
  }
}

const sentences = {
  idRequired: 'Only trusted documents are executed: send the documentId of one, and no query.',
  notInList: 'Only trusted documents are executed, and none of them has this id.',
  unknownId: 'There is no document with this documentId.',
  both: 'Send either a query or the documentId of one, not both.',
  several: 'Name the document once: by documentId, or by extensions.persistedQuery.',
  noId: 'The documentId must be a text.',
  noHash: 'extensions.persistedQuery must have version 1, and a sha256Hash that is a text.',
  mismatch: 'The sha256Hash is not that of the query.',
}

function refuse(code: TopLevelCode, message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code, http: { status: 400, spec: true } } })
}

interface DocumentName {
  readonly id: string
  /** Whether it came as the hash of a document that may be sent with it. */
  readonly isHash: boolean
}

const isGiven = (value: unknown) => value !== undefined && value !== null

/** By WebSocket a query must be sent, if only an empty one. */
const hasText = (query: unknown) => isGiven(query) && query !== ''

function readName({ documentId, doc_id: relayId, extensions }: Naming): DocumentName | undefined {
  const persistedQuery = (extensions as { persistedQuery?: unknown } | null | undefined)?.persistedQuery
  const [id, another] = [documentId, relayId, persistedQuery].filter(isGiven)
  if (!isGiven(id)) return undefined
  if (isGiven(another)) throw refuse('BAD_USER_INPUT', sentences.several)
  if (id === persistedQuery) return { id: plainId(hashOf(persistedQuery)), isHash: true }
  if (typeof id !== 'string') throw refuse('BAD_USER_INPUT', sentences.noId)
  return { id: plainId(id), isHash: false }
}

function hashOf(persistedQuery: unknown): string {
  const { version, sha256Hash } = persistedQuery as Record<string, unknown>
  if (version === 1 && typeof sha256Hash === 'string') return sha256Hash
  throw refuse('BAD_USER_INPUT', sentences.noHash)
}

/** So many documents are remembered for their hashes, those that were asked for last, and so much of them. */
export const maxRegistered = 1000
export const maxRegisteredBytes = 8 * 1024 * 1024
export const maxRegisteredLength = 64 * 1024

interface Registered {
  readonly text: string
  readonly accounts: Set<number | undefined>
}

/**
 * Documents by their hashes. To an account only those are known that were sent for it: that others have sent one, perhaps
 * with values in it, is nobody's business.
 */
function createRegistered() {
  /** The one that was asked for last at the end. */
  const documents = new Map<string, Registered>()
  let bytes = 0
  const drop = (hash: string, document: Registered) => {
    documents.delete(hash)
    bytes -= bytesOf(hash, document)
  }
  const put = (hash: string, document: Registered) => {
    documents.set(hash, document)
    bytes += bytesOf(hash, document)
  }
  return {
    get(hash: string, account: number | undefined): string | undefined {
      const found = documents.get(hash)
      if (!found?.accounts.has(account)) return undefined
      documents.delete(hash)
      documents.set(hash, found)
      return found.text
    },
    set(hash: string, text: string, account: number | undefined): void {
      if (text.length > maxRegisteredLength) return
      const found = documents.get(hash)
      if (found?.accounts.has(account)) return
      if (found) drop(hash, found)
      const document = found ?? { text, accounts: new Set() }
      document.accounts.add(account)
      put(hash, document)
      while (documents.size > maxRegistered || bytes > maxRegisteredBytes) drop(...documents.entries().next().value!)
    },
  }
}

/** About what an entry takes: characters may take two bytes. */
const bytesOf = (hash: string, { text, accounts }: Registered) =>
  2 * (hash.length + text.length) + 50 * accounts.size + 300

/** Executes the documents that requests name, as if they had been sent. */
export function usePersistedDocuments(persisted: PersistedDocuments): Plugin<{ admission?: Admission }> {
  return {
    onParams({ params, request, context, setParams }) {
      const naming: Naming = request.method === 'GET' ? { ...params, ...idsOf(request.url) } : params
      const query = persisted.textOf(naming, accountOf(context))
      if (query === params.query) return
      const { documentId: _, doc_id: __, ...others } = params as Naming
      setParams({ ...others, query } as typeof params)
    },
    onValidate({ context }) {
      return ({ valid }) => {
        if (valid) persisted.register(context.params, accountOf(context))
      }
    },
  }
}

const accountOf = ({ admission }: { admission?: Admission }) => admission?.caller.account

function idsOf(url: string): Pick<Naming, 'documentId' | 'doc_id'> {
  const { searchParams } = new URL(url)
  return { documentId: searchParams.get('documentId'), doc_id: searchParams.get('doc_id') }
}
