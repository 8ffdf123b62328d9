import {
  type DocumentNode,
  defaultFieldResolver,
  type ExecutionArgs,
  type ExecutionResult,
  GraphQLError,
  type GraphQLFieldResolver,
  type GraphQLObjectType,
  type GraphQLSchema,
  getOperationAST,
  NoSchemaIntrospectionCustomRule,
  OperationTypeNode,
} from 'graphql'
import { _createLRUCache, createYoga, type Plugin, type YogaInitialContext } from 'graphql-yoga'
import { type Admission, toEntryRefusal } from '../auth/gate.ts'
import { RateLimited } from '../auth/rate-limit.ts'
import type { OpenStream } from '../auth/streams.ts'
import type { Database } from '../db/client.ts'
import type { DeadlineExceeded } from '../db/errors.ts'
import { isMatch, weakTagOf } from '../http/etag.ts'
import { accepting, type Incoming, jsonAnswer, type Outgoing } from '../http/message.ts'
import type { Feed } from '../live/feed.ts'
import { currentVisit, during, noteOutcome, type Outcome, type Visit } from '../telemetry/visit.ts'
import type { GraphQLContext } from './builder.ts'
import { maskError, type TopLevelCode } from './errors.ts'
import {
  createKnownOperations,
  type KnownOperation,
  maxKeptDocuments,
  maxKeptLength,
  type Variables,
} from './known-operations.ts'
import { costHeader, type DocumentLimits, exceededKinds, measure, useDocumentLimits } from './limits.ts'
import { createLoaders } from './loaders.ts'
import { createPersistedDocuments, type Naming, type PersistedOptions, usePersistedDocuments } from './persisted.ts'
import { answerByEvent, answerByEvents, beginResults, type ResultStream, type Subscription } from './result-stream.ts'
import { createSchema } from './schema.ts'
import { createSingleConnections } from './single-connections.ts'
import { unconditionalSubscriptions } from './subscriptions.ts'

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
  /** Whether gateways of a supergraph find what they ask of a subgraph. */
  federation: boolean
  limits: DocumentLimits
  persisted: PersistedOptions
  /** Whether operations that are known already take the short way; off only to compare. */
  isShortWayOpen?: boolean
  /** Where what is asked for with a change is read. */
  db: Database
  /** Where subscriptions have their changes from. */
  feed: Feed
  /** How long the work for one change may take, in milliseconds. */
  requestMs: number
  /** Whether all requests of a caller come to this process. */
  isOnlyProcess: boolean
  /** Told what was thrown by accident; the caller sees none of it. */
  logUnexpected: (cause: unknown) => void
}

export interface GraphQLHandler {
  /** Whether the request is for the page of GraphiQL, which everybody may see. */
  isPage(request: Incoming): boolean
  /** Answers a request that was let in; any other gets only the page. */
  serve(request: Incoming, entered?: Entered): Promise<Outgoing>
  /** The same for whoever shows the results of subscriptions by itself. */
  execute(request: Incoming, entered: Entered): Promise<Executed>
}

/** An answer; or, to a subscription, its results as they come. Whoever has them is to go through them, or to `return` them. */
export interface Executed extends Outgoing {
  readonly results?: ResultStream | undefined
}

export interface Entered {
  readonly admission: Admission
  readonly db: Database
  /** Throws what `toEntryRefusal` puts into words. */
  openStream(): OpenStream
}

interface Subscribing {
  /** Takes the results of a subscription; undefined where only JSON is wanted. */
  readonly onResults: ((results: ResultStream) => void) | undefined
}

/** What the short way has done for a request before it left it to Yoga. */
interface Begun {
  readonly context: GraphQLContext
  /** The counting of its nodes. */
  readonly spending: Promise<void>
}

/** Serves GraphQL over HTTP at `graphqlPath`: JSON by POST, queries by GET, and GraphiQL for browsers. */
export function createGraphQLHandler(options: GraphQLHandlerOptions): GraphQLHandler {
  const {
    graphiql,
    introspection,
    federation,
    limits,
    persisted: persistedOptions,
    isShortWayOpen = true,
    db,
    feed,
    requestMs,
    isOnlyProcess,
    logUnexpected,
  } = options
  const schema = watched(createSchema({ federation }))
  const known = createKnownOperations(schema, limits)
  const persisted = createPersistedDocuments(persistedOptions)
  /** By their texts. */
  const trusted = new Map<string, DocumentNode>()
  for (const { text, document } of persistedOptions.trusted.values()) {
    trusted.set(text, document)
    known.keep(text, document)
  }
  /** Documents whose subscriptions were begun before, by their texts: they need no parsing and no validation any more. */
  const subscriptions = keepingShort<DocumentNode>()
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
  /** Begins a subscription; what comes of it goes past Yoga, which keeps much more for each of them. */
  const subscribe = async ({ contextValue, ...args }: ExecutionArgs): Promise<ExecutionResult> => {
    const { onResults, ...entered } = contextValue as Entered & Subscribing
    if (!onResults) return { errors: [eventsNotAccepted()] }
    const { schema, document, operationName, variableValues } = args
    const { cost } = measure(schema, document, operationName, variableValues ?? {})
    let stream: OpenStream
    try {
      stream = entered.openStream()
    } catch (error) {
      return { errors: [refusedEntry(error)] }
    }
    const visit = { ...currentVisit()!, trace: undefined }
    // What is named from here on is kept for as long as the stream is: nothing of the request.
    const { admission } = entered
    const subscription: Subscription = {
      args: { schema, document, operationName, variableValues },
      stream,
      async spend() {
        try {
          await admission.spendNodes(cost.nodes)
        } catch (error) {
          throw error instanceof RateLimited ? refusedEntry(error) : error
        }
      },
      contextFor() {
        const scope = { deadline: performance.now() + requestMs, limitMs: requestMs }
        return contextFor({ admission, db: db.forRequest(scope) })
      },
      run: (work) => during(visit, work),
      mask,
    }
    const results = await beginResults(subscription, subscribingContext(entered, feed, stream))
    if (!('next' in results)) return results
    const { query } = (contextValue as Partial<YogaInitialContext>).params ?? {}
    if (query) subscriptions.set(query, document)
    onResults(results)
    return { data: null }
  }

  const yoga = createYoga<Partial<Entered & Begun & Subscribing>, GraphQLContext>({
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
      usePersistedDocuments(persisted),
      naming,
      useDocumentLimits(limits),
      learning(known.learn),
      subscribingBy(subscribe),
      ...(introspection ? [] : [withoutIntrospection]),
      maskingAll(mask),
    ],
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    parserAndValidationCache: { documentCache: keepingShort(trusted), errorCache: keepingShort() },
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
    const { account } = entered.admission.caller
    const text = params && textOf(params.naming, account)
    const operation = text === undefined ? undefined : known.find(text, params!.operationName)
    const nodes = operation?.nodesFor(params!.variables)
    if (nodes === undefined) return undefined
    persisted.register(params!.naming, account)
    return run(operation!, params!.variables, nodes, contentType, entered)
  }

  /** The document that a request is about; undefined where something is odd about that, which Yoga puts into words. */
  const textOf = (naming: Naming, account: number): string | undefined => {
    try {
      const text = persisted.textOf(naming, account)
      return typeof text === 'string' ? text : undefined
    } catch {
      return undefined
    }
  }

  const serveLong = async (request: Incoming, given: Partial<Entered & Begun & Subscribing>): Promise<Outgoing> => {
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

  /** Begins a subscription whose document is known; whatever is odd about it, Yoga puts into words. */
  const subscribeShort = async (request: Incoming, given: Entered & Subscribing): Promise<void> => {
    const params = isPlainPost(request) ? readParams(request.body) : undefined
    const { account } = given.admission.caller
    const text = params && textOf(params.naming, account)
    const document = text === undefined ? undefined : subscriptions.get(text)
    const operation = document && getOperationAST(document, params!.operationName || undefined)
    if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) return
    const { naming, variables: variableValues } = params!
    const operationName = operation.name?.value
    if (exceededKinds(measure(schema, document!, operationName, variableValues).cost, limits).length > 0) return
    const visit = currentVisit()
    if (visit) tell(visit, operationName, false)
    persisted.register(naming, account)
    await subscribe({ schema, document: document!, operationName, variableValues, contextValue: given })
  }

  const execute = async (request: Incoming, entered: Entered | undefined, isStreamed: boolean): Promise<Executed> => {
    const begun = isShortWayOpen && entered ? await beginShort(request, entered) : undefined
    if (begun && 'status' in begun) return begun
    let results: ResultStream | undefined
    const onResults = isStreamed
      ? (given: ResultStream) => {
          results = given
        }
      : undefined
    if (onResults && entered && isShortWayOpen) await subscribeShort(request, { ...entered, onResults })
    if (results) return { status: 200, headers: {}, results }
    const answer = await serveLong(request, { ...entered, ...begun, onResults })
    return results ? { status: 200, headers: {}, results } : answer
  }
  const single = createSingleConnections({ isOnlyProcess, execute: (...asked) => execute(...asked, true) })

  return {
    isPage: ({ method, headers }) => graphiql && method === 'GET' && !!headers.get('accept')?.includes('text/html'),
    async serve(request, entered) {
      const ofConnection = entered && (await single.serve(request, entered))
      if (ofConnection) return ofConnection
      const accept = request.headers.get('accept') ?? ''
      const takesEvents = eventStreams.test(accept)
      // For an answer that is a stream of its own, Yoga keeps and makes much that is not needed here.
      const isOfEvents = takesEvents && !jsonOrAny.test(accept)
      const asked = isOfEvents ? accepting(request, 'application/json') : request
      const { results, ...answer } = await execute(asked, entered, takesEvents)
      if (results) return answerByEvents(results)
      return isOfEvents ? answerByEvent(answer) : answer
    },
    execute: (request, entered) => execute(request, entered, true),
  }
}

const eventStreams = /text\/event-stream/i
const jsonOrAny = /json|\*/i

function contextFor({ admission, db }: Pick<Entered, 'admission' | 'db'>): GraphQLContext {
  const { account, permissions } = admission.caller
  const domain = { db, account, permissions }
  return { domain, loaders: createLoaders(domain), done: new Map() }
}

/** What the source of a subscription is begun with. */
function subscribingContext(entered: Entered, feed: Feed, { signal }: OpenStream): GraphQLContext {
  const context = contextFor(entered)
  return { ...context, subscribe: async (input) => (await feed.subscribe(context.domain, input, signal)).events }
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

/** Whether a request holds nothing but an operation in JSON, to be read in one way only. */
const isPlainPost = ({ method, hasQuery, headers }: Incoming) =>
  method === 'POST' && !hasQuery && isJsonType(headers.get('content-type')) && headers.get(costHeader) === null

/** The parameters of a request; undefined where something is odd about them, which Yoga puts into words. */
function readParams(body: string): { naming: Naming; operationName: string; variables: Variables } | undefined {
  let given: unknown
  try {
    given = JSON.parse(body)
  } catch {
    return undefined
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined
  const { query, documentId, doc_id, extensions, operationName, variables, ...others } = given as Record<
    string,
    unknown
  >
  for (const _ in others) return undefined
  if (!isTextOrAbsent(operationName) || !isObjectOrAbsent(variables) || !isObjectOrAbsent(extensions)) return undefined
  return {
    naming: { query, documentId, doc_id, extensions },
    operationName: operationName ?? '',
    variables: variables ?? {},
  }
}

const isTextOrAbsent = (value: unknown): value is string | null | undefined =>
  (value ?? undefined) === undefined || (typeof value === 'string' && value !== '')

const isObjectOrAbsent = (value: unknown): value is Variables | null | undefined =>
  (value ?? undefined) === undefined || (typeof value === 'object' && !Array.isArray(value))

/** What a request has come to that was answered with an error of the code. */
const outcomes: Record<TopLevelCode, Outcome> = {
  BAD_USER_INPUT: 'refused',
  QUERY_TOO_COMPLEX: 'refused',
  PERSISTED_QUERY_NOT_FOUND: 'refused',
  PERSISTED_QUERY_NOT_SUPPORTED: 'refused',
  PERSISTED_QUERY_NOT_IN_LIST: 'refused',
  PERSISTED_QUERY_ID_REQUIRED: 'refused',
  NOT_FOUND: 'refused',
  UNAUTHENTICATED: 'unauthenticated',
  FORBIDDEN: 'forbidden',
  RATE_LIMITED: 'rate_limited',
  CURSOR_EXPIRED: 'refused',
  SLOW_CONSUMER: 'refused',
  SHUTTING_DOWN: 'unavailable',
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

const subscribingBy = (subscribe: (args: ExecutionArgs) => Promise<ExecutionResult>): Plugin => ({
  onValidate: ({ addValidationRule }) => addValidationRule(unconditionalSubscriptions),
  onSubscribe: ({ setSubscribeFn }) => setSubscribeFn(subscribe),
})

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
function keepingShort<Value extends object>(always?: ReadonlyMap<string, Value>) {
  const kept = _createLRUCache<Value>({ max: maxKeptDocuments })
  return {
    get: (document: string) => always?.get(document) ?? kept.get(document),
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

/** The refusal of a subscription whose results would have to be one answer. */
function eventsNotAccepted(): GraphQLError {
  const code: TopLevelCode = 'BAD_USER_INPUT'
  const message = 'A subscription needs `accept: text/event-stream`, or a WebSocket.'
  return new GraphQLError(message, { extensions: { code, http: { status: 406, spec: false } } })
}

/** Why no stream is let in, as an error of its result. */
function refusedEntry(error: unknown): GraphQLError {
  const { status, code, message, headers } = toEntryRefusal(error)
  const http = { status, headers, spec: false }
  const { retryAfterSeconds } = error as Partial<RateLimited>
  return new GraphQLError(message, {
    extensions: { code, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }), http },
  })
}

const toResponse = ({ status, headers, body }: Outgoing) => new Response(body as string, { status, headers })

/** The answer to a request that took too long. */
export function refuseLate(error: DeadlineExceeded): Outgoing {
  const { message } = maskError(error, () => {}, false)
  return refuseGraphQL(504, message, 'TIMEOUT', { 'retry-after': '1' })
}
