import type { Logger } from 'pino'
import type { Authenticate } from './auth/authenticate.ts'
import { type Admission, createGate, type EntryRefusal, toEntryRefusal } from './auth/gate.ts'
import type { RateLimiter } from './auth/rate-limit.ts'
import type { Database, RequestScope } from './db/client.ts'
import { DeadlineExceeded } from './db/errors.ts'
import { createGraphQLHandler, graphqlPath, refuseGraphQL, refuseLate } from './graphql/handler.ts'
import type { DocumentLimits } from './graphql/limits.ts'
import { createCors, pageHeaders, securityHeaders, withHeaders } from './http/headers.ts'
import { isHealth } from './http/health.ts'
import { type Incoming, jsonAnswer, type Outgoing } from './http/message.ts'
import type { Handler } from './http/server.ts'
import { toRestError } from './rest/errors.ts'
import { createRestHandler, refuseEntry, refuseUnreadable } from './rest/handler.ts'
import { errorAnswer, restPath } from './rest/router.ts'
import { describeError } from './telemetry/describe-error.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'
import { currentVisit, during, outcomeOf, type Visit } from './telemetry/visit.ts'

export interface AppOptions {
  db: Database
  authenticate: Authenticate
  /** Undefined where callers are not counted. */
  limiter: RateLimiter | undefined
  graphiql: boolean
  introspection: boolean
  limits: DocumentLimits
  isShortWayOpen?: boolean
  /** Origins whose pages may call. */
  corsOrigins: readonly string[]
  /** How long a request may take, in milliseconds, from when it has been read to its answer. */
  deadlines: { requestMs: number }
  log: Logger
  metrics?: Metrics | undefined
  tracing?: Tracing | undefined
}

/** The whole service, as functions from request to answer; it opens no port. */
export function createApp(options: AppOptions): Required<Handler> {
  const { db, authenticate, limiter, graphiql, introspection, limits, isShortWayOpen, corsOrigins, log } = options
  const { metrics, tracing } = options
  const { requestMs } = options.deadlines
  const logUnexpected = (cause: unknown) =>
    log.error({ requestId: currentVisit()?.id, ...describeError(cause) }, 'unexpected error')
  const gate = createGate(authenticate, limiter)
  const graphql = createGraphQLHandler({ graphiql, introspection, limits, isShortWayOpen, logUnexpected })
  const rest = createRestHandler({ logUnexpected })

  /** Lets the request in, has it served, and lets it out. */
  const serve = async (
    request: Incoming,
    visit: Visit,
    door: (admission: Admission) => Promise<Outgoing>,
    refuse: (refusal: EntryRefusal) => Outgoing,
  ): Promise<Outgoing> => {
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

  const refuseToGraphQL = ({ status, message, code, headers }: EntryRefusal) =>
    refuseGraphQL(status, message, code, headers)

  const route = async (request: Incoming, visit: Visit, scope: RequestScope): Promise<Outgoing> => {
    const { pathname, address } = request
    if (pathname === graphqlPath) {
      if (graphql.isPage(request)) {
        const page = async () => withHeaders(await graphql.serve(request), pageHeaders)
        return serveAnybody(address, page, refuseToGraphQL)
      }
      const execute = (admission: Admission) => graphql.serve(request, { admission, db: db.forRequest(scope) })
      return serve(request, visit, execute, refuseToGraphQL)
    }
    if (isRest(pathname)) {
      const found = rest.find(request)
      visit.operation = found.name
      if (found.isOpen) return serveAnybody(address, () => found.serve(undefined), refuseEntry)
      const call = ({ caller }: Admission) => {
        visit.mayChange = request.method !== 'GET' && request.method !== 'HEAD'
        return found.serve({ db: db.forRequest(scope), ...caller })
      }
      return serve(request, visit, call, refuseEntry)
    }
    if (pathname === '/' && graphiql) return { status: 302, headers: { location: graphqlPath } }
    return jsonAnswer(404, { message: 'Not Found' })
  }

  /** Answers in time, whatever becomes of the work: what it has sent to the database may be done all the same. */
  const routeInTime = (request: Incoming, visit: Visit): Promise<Outgoing> => {
    const scope: RequestScope = {
      deadline: performance.now() + requestMs,
      limitMs: requestMs,
      onStatement(name, startedAt, ms, outcome) {
        visit.statements += 1
        visit.trace?.add('statement', name, startedAt, ms, outcome === 'ok')
      },
    }
    return new Promise((resolve, reject) => {
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        const error = new DeadlineExceeded('request', requestMs, visit.mayChange)
        resolve(isRest(visit.path) ? errorAnswer(toRestError(error)!) : refuseLate(error))
      }, requestMs)
      route(request, visit, scope).then(
        (answer) => {
          clearTimeout(timer)
          resolve(answer)
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
        if (!isRest(pathname)) return finish(refuseGraphQL(status, message, code, headers), origin)
        if (status !== 503) return finish(refuseUnreadable(status, message, isBody), origin)
        return finish(refuseEntry({ status, code: 'SERVICE_UNAVAILABLE', message, headers }), origin)
      }),
    finished(visit) {
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
    },
  }
}

/** Callers choose paths and names, and need not be modest. */
const maxLoggedLength = 200

const isRest = (pathname: string) => pathname === restPath || pathname.startsWith(`${restPath}/`)

const doorOf = (pathname: string) => (isRest(pathname) ? 'rest' : pathname === graphqlPath ? 'graphql' : undefined)
