import {
  type DocumentNode,
  defaultFieldResolver,
  GraphQLError,
  type GraphQLFieldResolver,
  type GraphQLObjectType,
  type GraphQLSchema,
  getOperationAST,
  NoSchemaIntrospectionCustomRule,
} from 'graphql'
import { _createLRUCache, createYoga, type Plugin, type YogaInitialContext } from 'graphql-yoga'
import type { Admission } from '../auth/gate.ts'
import type { Database } from '../db/client.ts'
import type { DeadlineExceeded } from '../db/errors.ts'
import { isMatch, weakTagOf } from '../http/etag.ts'
import { type Incoming, jsonAnswer, type Outgoing } from '../http/message.ts'
import { currentVisit, noteOutcome, type Outcome, type Visit } from '../telemetry/visit.ts'
import type { GraphQLContext } from './builder.ts'
import { maskError, type TopLevelCode } from './errors.ts'
import {
  createKnownOperations,
  type KnownOperation,
  maxKeptDocuments,
  maxKeptLength,
  type Variables,
} from './known-operations.ts'
import { costHeader, type DocumentLimits, useDocumentLimits } from './limits.ts'
import { createLoaders } from './loaders.ts'
import { createSchema } from './schema.ts'

export const graphqlPath = '/graphql'

/** What GraphiQL opens with, and what the start prints: nested organizations with their contacts. */
export const firstQuery = `query FirstLook {
  organizations(first: 10, filter: { root: true }) {
    nodes {
      name
      contacts {
        totalCount
        nodes {
          __typename
          ... on ContactDetails { databaseId label value href }
          ... on TelephoneContact { numbers }
        }
      }
      children(first: 10) {
        nodes {
          name
          contacts { nodes { ... on ContactDetails { label value } } }
        }
      }
    }
  }
}
`

export interface GraphQLHandlerOptions {
  graphiql: boolean
  introspection: boolean
  limits: DocumentLimits
  /** Whether operations that are known already take the short way; off only to compare. */
  isShortWayOpen?: boolean
  /** Told what was thrown by accident; the caller sees none of it. */
  logUnexpected: (cause: unknown) => void
}

export interface GraphQLHandler {
  /** Whether the request is for the page of GraphiQL, which everybody may see. */
  isPage(request: Incoming): boolean
  /** Answers a request that was let in; any other gets only the page. */
  serve(request: Incoming, entered?: Entered): Promise<Outgoing>
}

interface Entered {
  readonly admission: Admission
  readonly db: Database
}

/** What the short way has done for a request before it left it to Yoga. */
interface Begun {
  readonly context: GraphQLContext
  /** The counting of its nodes. */
  readonly spending: Promise<void>
}

/** Serves GraphQL over HTTP at `graphqlPath`: JSON by POST, queries by GET, and GraphiQL for browsers. */
export function createGraphQLHandler(options: GraphQLHandlerOptions): GraphQLHandler {
  const { graphiql, introspection, limits, isShortWayOpen = true, logUnexpected } = options
  const schema = watched(createSchema())
  const known = createKnownOperations(schema, limits)
  /** The content type that Yoga chooses for what callers accept. */
  const contentTypes = new Map<string, string>()
  const mask = (error: unknown) => {
    const visit = currentVisit()
    const shown = withRequestId(maskError(error, logUnexpected, visit?.mayChange ?? false))
    if (visit) noteOutcome(visit, outcomes[shown.extensions.code as TopLevelCode])
    return introspection ? shown : withoutSuggestion(shown)
  }
  /** The page, which is the same for everybody. */
  let rendered: Promise<string> | undefined
  const yoga = createYoga<Partial<Entered & Begun>, GraphQLContext>({
    schema,
    graphqlEndpoint: graphqlPath,
    context: (given) => given.context ?? contextFor(given as Entered),
    graphiql: graphiql && { title: 'Contacts gateway', defaultQuery: firstQuery },
    // The page is large and self-contained: it is loaded when first asked for, and asks no other machine for anything.
    renderGraphiQL: (page) => {
      rendered ??= import('@graphql-yoga/render-graphiql').then(({ renderGraphiQL }) => renderGraphiQL(page))
      return rendered
    },
    maskedErrors: { maskError: mask },
    plugins: [
      jsonOnly,
      naming,
      useDocumentLimits(limits),
      learning(known.learn),
      ...(introspection ? [] : [withoutIntrospection]),
      maskingAll(mask),
    ],
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    parserAndValidationCache: { documentCache: keepingShort(), errorCache: keepingShort() },
    // The server bounds the body before it comes here.
    maxRequestBodySize: false,
  })
  /** Answers by the short way, or tells with what the long way is to go on. */
  const run = async (
    operation: KnownOperation,
    variables: Variables,
    nodes: number,
    contentType: string,
    { admission, db }: Entered,
  ): Promise<Outgoing | Begun> => {
    const visit = currentVisit()
    if (visit) tell(visit, operation.name, operation.isMutation)
    const context = contextFor({ admission, db })
    const spending = admission.spendNodes(nodes)
    try {
      await spending
    } catch {
      return { context, spending }
    }
    const body = await operation.run(context, variables)
    return body === undefined ? { context, spending } : { status: 200, headers: { 'content-type': contentType }, body }
  }

  const beginShort = (request: Incoming, entered: Entered): Promise<Outgoing | Begun> | undefined => {
    const contentType = contentTypes.get(request.headers.get('accept') ?? '')
    if (!contentType || !isPlainPost(request)) return undefined
    const params = readParams(request.body)
    const operation = params && known.find(params.query, params.operationName)
    const nodes = operation?.nodesFor(params!.variables)
    return nodes === undefined ? undefined : run(operation!, params!.variables, nodes, contentType, entered)
  }

  const serveLong = async (request: Incoming, given: Partial<Entered & Begun>): Promise<Outgoing> => {
    const response = await yoga.fetch(toRequest(request), given)
    const { status } = response
    const headers = headersOf(response)
    const body = await response.text()
    const type = headers['content-type'] ?? ''
    if (status !== 200 || !jsonTypes.test(type)) return { status, headers, body }
    if (request.method === 'GET') {
      const etag = weakTagOf(body)
      return isMatch(request.headers.get('if-none-match'), etag)
        ? { status: 304, headers: { etag } }
        : { status, headers: { ...headers, etag }, body }
    }
    if (contentTypes.size < maxContentTypes) contentTypes.set(request.headers.get('accept') ?? '', type)
    return { status, headers, body }
  }

  return {
    isPage: ({ method, headers }) => graphiql && method === 'GET' && !!headers.get('accept')?.includes('text/html'),
    async serve(request, entered) {
      const begun = isShortWayOpen && entered ? await beginShort(request, entered) : undefined
      return begun && 'status' in begun ? begun : serveLong(request, { ...entered, ...begun })
    },
  }
}

function contextFor({ admission, db }: Entered): GraphQLContext {
  const { account, permissions } = admission.caller
  const domain = { db, account, permissions }
  return { domain, loaders: createLoaders(domain), done: new Map() }
}

/** All but the length, which the server tells. */
function headersOf(response: Response): Record<string, string> {
  const { 'content-length': _, ...headers } = Object.fromEntries(
    [...response.headers].map(([name, value]) => [name.toLowerCase(), value] as const),
  )
  return headers
}

const maxContentTypes = 100
const jsonTypes = /^application\/(?:graphql-response\+)?json;/

function toRequest({ method, url, headers, body }: Incoming): Request {
  return new Request(url, { method, headers: [...headers.entries()], body: body || undefined })
}

/** Whether a request holds nothing but a query in JSON, to be read in one way only. */
const isPlainPost = ({ method, hasQuery, headers }: Incoming) =>
  method === 'POST' && !hasQuery && isJsonType(headers.get('content-type')) && headers.get(costHeader) === null

/** The parameters of a request; undefined where something is odd about them, which Yoga puts into words. */
function readParams(body: string): { query: string; operationName: string; variables: Variables } | undefined {
  let given: unknown
  try {
    given = JSON.parse(body)
  } catch {
    return undefined
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined
  const { query, operationName, variables, ...others } = given as Record<string, unknown>
  for (const _ in others) return undefined
  if (typeof query !== 'string' || !isTextOrAbsent(operationName) || !isObjectOrAbsent(variables)) return undefined
  return { query, operationName: operationName ?? '', variables: variables ?? {} }
}

const isTextOrAbsent = (value: unknown): value is string | null | undefined =>
  (value ?? undefined) === undefined || (typeof value === 'string' && value !== '')

const isObjectOrAbsent = (value: unknown): value is Variables | null | undefined =>
  (value ?? undefined) === undefined || (typeof value === 'object' && !Array.isArray(value))

/** What a request has come to that was answered with an error of the code. */
const outcomes: Record<TopLevelCode, Outcome> = {
  BAD_USER_INPUT: 'refused',
  QUERY_TOO_COMPLEX: 'refused',
  UNAUTHENTICATED: 'unauthenticated',
  FORBIDDEN: 'forbidden',
  RATE_LIMITED: 'rate_limited',
  SERVICE_UNAVAILABLE: 'unavailable',
  TIMEOUT: 'timeout',
  INTERNAL_SERVER_ERROR: 'error',
}

/** Tells what a document is about, as soon as it is one. */
const naming: Plugin = {
  onValidate({ params: { documentAST }, context }) {
    const visit = currentVisit()
    if (!visit) return
    const { params } = context as { params?: { operationName?: string } }
    const operation = getOperationAST(documentAST, params?.operationName)
    tell(visit, operation?.name?.value, operation?.operation === 'mutation')
  },
}

function tell(visit: Visit, operation: string | undefined, isMutation: boolean): void {
  visit.operation = operation
  visit.mayChange = isMutation
}

/** Tells of operations that are executed without an error. */
const learning = (learn: (text: string, operationName: string, document: DocumentNode) => void): Plugin => ({
  onExecute({ args: { document, contextValue } }) {
    return {
      onExecuteDone({ result }) {
        const { query, operationName } = (contextValue as YogaInitialContext).params
        if (query && !(Symbol.asyncIterator in result) && !result.errors) learn(query, operationName ?? '', document)
      },
    }
  },
})

type Resolver = GraphQLFieldResolver<unknown, GraphQLContext>

/** The schema, with the fields that an operation begins with telling what became of them. */
function watched(schema: GraphQLSchema): GraphQLSchema {
  for (const { name, field } of fieldsOf(schema.getQueryType())) field.resolve = telling(name, field.resolve)
  for (const { name, field } of fieldsOf(schema.getMutationType())) field.resolve = once(telling(name, field.resolve))
  return schema
}

const fieldsOf = (type: GraphQLObjectType | null | undefined) =>
  Object.entries(type?.getFields() ?? {}).map(([name, field]) => ({ name, field }))

function telling(name: string, resolve: Resolver = defaultFieldResolver): Resolver {
  return async (source, args, context, info) => {
    const visit = currentVisit()
    const startedAt = visit?.trace ? performance.now() : 0
    let isOk = false
    try {
      const result = await resolve(source, args, context, info)
      isOk = true
      if (visit && isErrorResult(result)) noteOutcome(visit, 'refused')
      return result
    } finally {
      visit?.trace?.add('field', name, startedAt, performance.now() - startedAt, isOk)
    }
  }
}

/** Does what a field of a mutation does, unless it was done for the request already. */
function once(resolve: Resolver): Resolver {
  return (source, args, context, info) => {
    const { done } = context
    const { key } = info.path
    if (!done.has(key)) done.set(key, resolve(source, args, context, info))
    return done.get(key)
  }
}

/** Whether it is what a mutation answers instead of success: see results.ts. */
const isErrorResult = (result: unknown) =>
  !!(result as { __typename?: string } | null | undefined)?.__typename?.endsWith('Error')

/** Errors that callers may want to talk about with whoever can read the log. */
const traceable: ReadonlySet<unknown> = new Set<TopLevelCode>([
  'INTERNAL_SERVER_ERROR',
  'SERVICE_UNAVAILABLE',
  'TIMEOUT',
])

const requestIdFor = (code: unknown): { requestId?: string | undefined } =>
  traceable.has(code) ? { requestId: currentVisit()?.id } : {}

function withRequestId(error: GraphQLError): GraphQLError {
  const { message, nodes, source, positions, path, extensions } = error
  if (!traceable.has(extensions.code)) return error
  const all = { ...extensions, ...requestIdFor(extensions.code) }
  return new GraphQLError(message, { nodes, source, positions, path, extensions: all })
}

/** Yoga remembers documents. A parsed one can take a megabyte, so that its default of 1,024 would fill the memory. */
function keepingShort<Value extends object>() {
  const kept = _createLRUCache<Value>({ max: maxKeptDocuments })
  return {
    get: (document: string) => kept.get(document),
    set(document: string, value: Value) {
      if (document.length <= maxKeptLength) kept.set(document, value)
    },
  }
}

const withoutIntrospection: Plugin = {
  onValidate({ addValidationRule }) {
    addValidationRule(NoSchemaIntrospectionCustomRule)
  },
}

/** Names that graphql suggests would tell the schema to those who may not ask for it. */
function withoutSuggestion(error: GraphQLError): GraphQLError {
  const message = error.message.replace(/\s*Did you mean .*$/s, '')
  if (message === error.message) return error
  const { nodes, source, positions, path, extensions } = error
  return new GraphQLError(message, { nodes, source, positions, path, extensions })
}

/** The errors of a document that does not fit the schema do not pass the masking otherwise. */
const maskingAll = (mask: (error: unknown) => GraphQLError): Plugin => ({
  onExecutionResult({ result, setResult }) {
    if (result && 'errors' in result && result.errors) setResult({ ...result, errors: result.errors.map(mask) })
  },
})

/** Browsers send forms to other sites without asking; JSON they do not. So only JSON executes. */
const jsonOnly: Plugin = {
  onRequest({ request, url, endResponse }) {
    if (request.method === 'POST') {
      const type = request.headers.get('content-type')
      if (type === 'application/json') return
      if (!isJsonType(type)) {
        return endResponse(toResponse(refuseGraphQL(415, 'The content type must be application/json.')))
      }
      // Yoga compares letter by letter.
      request.headers.set('content-type', 'application/json')
    } else if (url.search) {
      // Yoga parses these without expecting that they may be no JSON.
      for (const name of ['variables', 'extensions']) {
        if (!isJson(url.searchParams.get(name) || 'null')) {
          return endResponse(toResponse(refuseGraphQL(400, `The parameter ${name} is not JSON.`)))
        }
      }
    }
  },
}

const isJsonType = (type: string | null) =>
  type === 'application/json' || type?.split(';', 1)[0]?.trim().toLowerCase() === 'application/json'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The answer to a request that is not even looked at. */
export function refuseGraphQL(
  status: number,
  message: string,
  code: TopLevelCode = 'BAD_USER_INPUT',
  headers: Record<string, string> = {},
): Outgoing {
  return jsonAnswer(status, { errors: [{ message, extensions: { code, ...requestIdFor(code) } }] }, headers)
}

const toResponse = ({ status, headers, body }: Outgoing) => new Response(body as string, { status, headers })

/** The answer to a request that took too long. */
export function refuseLate(error: DeadlineExceeded): Outgoing {
  const { message } = maskError(error, () => {}, false)
  return refuseGraphQL(504, message, 'TIMEOUT', { 'retry-after': '1' })
}
