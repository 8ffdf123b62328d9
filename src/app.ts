import type { Logger } from 'pino'
import type { Authenticate } from './auth/authenticate.ts'
import { type Admission, createGate, type EntryRefusal, toEntryRefusal } from './auth/gate.ts'
import type { RateLimiter } from './auth/rate-limit.ts'
import { createStreams } from './auth/streams.ts'
import type { Database, RequestScope } from './db/client.ts'
import { DeadlineExceeded } from './db/errors.ts'
import { createGraphQLHandler, type Executed, graphqlPath, refuseGraphQL, refuseLate } from './graphql/handler.ts'
import type { DocumentLimits } from './graphql/limits.ts'
import { createSchemaDocument, schemaPath } from './graphql/schema-document.ts'
import type { TrustedDocuments } from './graphql/trusted-documents.ts'
import type { WebSockets } from './graphql/websocket.ts'
import { createCors, pageHeaders, securityHeaders, withHeaders } from './http/headers.ts'
import { isHealth } from './http/health.ts'
import { type Incoming, jsonAnswer, type Outgoing } from './http/message.ts'
import type { Handler, Upgrade } from './http/server.ts'
import type { Feed } from './live/feed.ts'
import { toRestError } from './rest/errors.ts'
import { createRestHandler, refuseEntry, refuseUnreadable } from './rest/handler.ts'
import { errorAnswer, restPath } from './rest/router.ts'
import { describeError } from './telemetry/describe-error.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'
import { beginVisit, currentVisit, during, outcomeOf, type Visit } from './telemetry/visit.ts'

export interface AppOptions {
  db: Database
  authenticate: Authenticate
  /** Undefined where callers are not counted. */
  limiter: RateLimiter | undefined
  graphiql: boolean
  introspection: boolean
  /** Whether it serves as a subgraph of Federation 2. */
  federation: boolean
  limits: DocumentLimits
  /** What may be asked for by id; nothing without it. */
  trustedDocuments?: TrustedDocuments | undefined
  /** Whether nothing else may be asked for. */
  persistedOnly: boolean
  /** Whether callers may ask by the hash for what they have sent before. */
  persistedAutomatic: boolean
  isShortWayOpen?: boolean
  /** Origins whose pages may call. */
  corsOrigins: readonly string[]
  /** How long a request may take, in milliseconds, from when it has been read to its answer. */
  deadlines: { requestMs: number }
  /** Where streams have their changes from. */
  feed: Feed
  /** Streams at the same time, at most. */
  maxStreams: number
  /** How often it is asked again whether the callers of streams still may have them, in milliseconds. */
  recheckMs?: number
  /** Processes that share the connections of callers. */
  workers: number
  /** Of a message by WebSocket. */
  maxMessageBytes: number
  log: Logger
  metrics?: Metrics | undefined
  tracing?: Tracing | undefined
}

/** The whole service, as functions from request to answer; it opens no port. */
export function createApp(options: AppOptions): Required<Handler> {
  const { db, authenticate, limiter, graphiql, introspection, federation, limits, isShortWayOpen, corsOrigins, log } =
    options
  const { tracing, feed, recheckMs } = options
  const { requestMs } = options.deadlines
  const logUnexpected = (cause: unknown) =>
    log.error({ requestId: currentVisit()?.id, ...describeError(cause) }, 'unexpected error')
  const gate = createGate(authenticate, limiter)
  const streams = createStreams({ authenticate, max: options.maxStreams, recheckMs })
  options.metrics?.watchStreams(streams.count)
  const persisted = {
    trusted: options.trustedDocuments ?? new Map(),
    only: options.persistedOnly,
    automatic: options.persistedAutomatic,
  }
  const graphql = createGraphQLHandler({
    graphiql,
    introspection,
    federation,
    limits,
    persisted,
    isShortWayOpen,
    db,
    feed,
    requestMs,
    isOnlyProcess: options.workers === 1,
    logUnexpected,
  })
  const schemaDocument = createSchemaDocument({ introspection, federation })
  const rest = createRestHandler({ feed, logUnexpected })

  /** Lets the request in, has it served, and lets it out. */
  const serve = async <Answer extends Outgoing>(
    request: Incoming,
    visit: Visit,
    door: (admission: Admission) => Promise<Answer>,
    refuse: (refusal: EntryRefusal) => Answer,
  ): Promise<Answer> => {
    let admission: Admission
    try {
      admission = await gate(request.headers, request.address)
      visit.account = admission.caller.account
    } catch (error) {
      const refusal = toEntryRefusal(error)
      if (refusal.status >= 500) logUnexpected(error)
      return refuse(refusal)
    }
    try {
      return withHeaders(await door(admission), admission.headers)
    } finally {
      admission.leave()
    }
  }

  /** Serves what everybody may see; callers are counted by their address. */
  const serveAnybody = async (
    address: string,
    door: () => Promise<Outgoing>,
    refuse: (refusal: EntryRefusal) => Outgoing,
  ): Promise<Outgoing> => {
    let entered: Awaited<ReturnType<RateLimiter['enter']>> | undefined
    try {
      entered = await limiter?.enter(`address ${address}`)
    } catch (error) {
      return refuse(toEntryRefusal(error))
    }
    try {
      return await door()
    } finally {
      entered?.leave()
    }
  }

  const enteredBy = ({ headers }: Incoming, admission: Admission, scope: RequestScope) => ({
    admission,
    db: db.forRequest(scope),
    openStream: () => streams.open(admission, headers),
  })

  const refuseToGraphQL = ({ status, message, code, headers }: EntryRefusal) =>
    refuseGraphQL(status, message, code, headers)

  const route = async (request: Incoming, visit: Visit, scope: RequestScope): Promise<Outgoing> => {
    const { pathname, address } = request
    if (pathname === graphqlPath) {
      if (graphql.isPage(request)) {
        const page = async () => withHeaders(await graphql.serve(request), pageHeaders)
        return serveAnybody(address, page, refuseToGraphQL)
      }
      const execute = (admission: Admission) => graphql.serve(request, enteredBy(request, admission, scope))
      return serve(request, visit, execute, refuseToGraphQL)
    }
    if (isRest(pathname)) {
      const found = rest.find(request)
      visit.operation = found.name
      if (found.isOpen) return serveAnybody(address, () => found.serve(undefined), refuseEntry)
      const call = (admission: Admission) => {
        visit.mayChange = request.method !== 'GET' && request.method !== 'HEAD'
        const { db, openStream } = enteredBy(request, admission, scope)
        return found.serve({ ctx: { db, ...admission.caller }, openStream })
      }
      return serve(request, visit, call, refuseEntry)
    }
    if (pathname === schemaPath) return serve(request, visit, async () => schemaDocument(request), refuseEntry)
    if (pathname === '/' && graphiql) return { status: 302, headers: { location: graphqlPath } }
    return jsonAnswer(404, { message: 'Not Found' })
  }

  /** Answers in time, whatever becomes of the work: what it has sent to the database may be done all the same. */
  const inTime = <Answer extends Executed>(
    visit: Visit,
    work: (scope: RequestScope) => Promise<Answer>,
    refuse: (error: DeadlineExceeded) => Answer,
  ): Promise<Answer> => {
    const scope = scopeOf(visit, requestMs)
    return new Promise((resolve, reject) => {
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        const error = new DeadlineExceeded('request', requestMs, visit.mayChange)
        resolve(refuse(error))
      }, requestMs)
      work(scope).then(
        (answer) => {
          clearTimeout(timer)
          resolve(answer)
          // Nobody will read it.
          if (isLate) void (answer.stream ?? answer.results)?.return()
        },
        (error) => {
          clearTimeout(timer)
          // Nobody waits for it any more.
          if (isLate) logUnexpected(error)
          reject(error)
        },
      )
    })
  }

  const routeInTime = (request: Incoming, visit: Visit): Promise<Outgoing> =>
    inTime(
      visit,
      (scope) => route(request, visit, scope),
      (error) => (tellsErrorsAsRest(visit.path) ? errorAnswer(toRestError(error)!) : refuseLate(error)),
    )

  const finished = (visit: Visit) => tell(visit, options)

  /** Serves an operation that came by WebSocket like a request: counted, let in, in time, and told of. */
  const operate = async (request: Incoming, { overload }: Upgrade): Promise<Executed> => {
    const visit = beginVisit({ method: 'WS', path: graphqlPath, client: clientOf(request) })
    const shed = overload.enter()
    visit.shed = shed?.reason
    visit.trace = tracing?.begin(visit)
    const execute = (scope: RequestScope) =>
      serve<Executed>(
        request,
        visit,
        (admission) => graphql.execute(request, enteredBy(request, admission, scope)),
        refuseToGraphQL,
      )
    try {
      const executed = shed
        ? refuseGraphQL(503, shed.message, 'SERVICE_UNAVAILABLE')
        : await during(visit, () => inTime(visit, execute, refuseLate))
      visit.status = executed.status
      return executed
    } finally {
      if (!shed) overload.leave()
      finished(visit)
    }
  }

  /** Lets a connection in that will bring operations; or tells why not. */
  const enter = async ({ headers, address }: Incoming): Promise<EntryRefusal | undefined> => {
    try {
      const admission = await gate(headers, address)
      admission.leave()
      return undefined
    } catch (error) {
      const refusal = toEntryRefusal(error)
      if (refusal.status >= 500) logUnexpected(error)
      return refusal
    }
  }

  /** Loaded when the first connection asks for it. */
  let webSockets: Promise<WebSockets> | undefined
  const openWebSockets = async () => {
    const { createWebSockets } = await import('./graphql/websocket.ts')
    return createWebSockets({ enter, execute: operate, maxMessageBytes: options.maxMessageBytes })
  }

  const cors = createCors(corsOrigins)
  const finish = (answer: Outgoing, origin: string | null | undefined) =>
    withHeaders(answer, { ...securityHeaders, ...cors.headersFor(origin) })

  return {
    handle(request, visit) {
      visit.trace = tracing?.begin(visit)
      return during(visit, async () =>
        finish(cors.preflight(request) ?? (await routeInTime(request, visit)), request.headers.get('origin')),
      )
    },
    refuse: (pathname, { status, message, isBody = false }, origin, visit) =>
      during(visit, () => {
        const code = status === 503 ? 'SERVICE_UNAVAILABLE' : 'BAD_USER_INPUT'
        const headers: Record<string, string> = status === 503 ? { 'retry-after': '1' } : {}
        if (!tellsErrorsAsRest(pathname)) return finish(refuseGraphQL(status, message, code, headers), origin)
        if (status !== 503) return finish(refuseUnreadable(status, message, isBody), origin)
        return finish(refuseEntry({ status, code: 'SERVICE_UNAVAILABLE', message, headers }), origin)
      }),
    finished,
    isUpgradable: (pathname) => pathname === graphqlPath,
    upgrade(upgrade) {
      // Browsers let any page connect, and tell which page it is.
      if (!cors.isOwn(upgrade.request)) {
        const message = 'Pages of this origin may not connect: see CORS_ORIGINS.'
        return upgrade.refuse(finish(refuseGraphQL(403, message, 'FORBIDDEN'), undefined))
      }
      webSockets ??= openWebSockets()
      webSockets.then((opened) => opened.accept(upgrade)).catch(logUnexpected)
    },
    stopping() {
      streams.stop()
      void webSockets?.then((opened) => opened.close())
    },
  }
}

const clientOf = ({ headers }: Incoming) =>
  headers.get('apollographql-client-name') ?? headers.get('x-graphql-client-name')

/** A function of its own, so that what keeps the scope keeps nothing else of the request. */
const scopeOf = (visit: Visit, limitMs: number): RequestScope => ({
  deadline: performance.now() + limitMs,
  limitMs,
  onStatement(name, startedAt, ms, outcome) {
    visit.statements += 1
    visit.trace?.add('statement', name, startedAt, ms, outcome === 'ok')
  },
})

/** Tells the log, the metrics and the traces of a request that has ended. */
function tell(visit: Visit, { log, metrics, tracing }: AppOptions): void {
  const ms = performance.now() - visit.startedAt
  const { id: requestId, method, path, operation, status, statements, account } = visit
  visit.door = doorOf(path)
  const outcome = outcomeOf(visit)
  const isProbe = isHealth(path)
  log[isProbe ? 'debug' : 'info'](
    {
      requestId,
      method,
      path: path.slice(0, maxLoggedLength),
      door: visit.door,
      operation: operation?.slice(0, maxLoggedLength),
      status,
      outcome,
      ms: Math.round(ms * 10) / 10,
      statements,
      account,
    },
    'request',
  )
  if (isProbe) return
  metrics?.onRequest(visit, ms, outcome)
  const trace = visit.trace ?? tracing?.begin(visit)
  trace?.end(visit, ms, outcome)
}

/** Callers choose paths and names, and need not be modest. */
const maxLoggedLength = 200

const isRest = (pathname: string) => pathname === restPath || pathname.startsWith(`${restPath}/`)

const tellsErrorsAsRest = (pathname: string) => isRest(pathname) || pathname === schemaPath

const doorOf = (pathname: string) => (isRest(pathname) ? 'rest' : pathname === graphqlPath ? 'graphql' : undefined)
