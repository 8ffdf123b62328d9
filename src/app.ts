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
import type { Handler } from './http/server.ts'
import { toRestError } from './rest/errors.ts'
import { createRestHandler, refuseEntry, refuseUnreadable } from './rest/handler.ts'
import { errorResponse, restPath } from './rest/router.ts'
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
  limits: DocumentLimits
  /** Origins whose pages may call. */
  corsOrigins: readonly string[]
  /** How long a request may take, in milliseconds, from when it has been read to its answer. */
  deadlines: { requestMs: number }
  log: Logger
  metrics?: Metrics | undefined
  tracing?: Tracing | undefined
}

/** The whole service, as functions from request to response; it opens no port. */
export function createApp(options: AppOptions): Required<Handler> {
  const { db, authenticate, limiter, graphiql, introspection, limits, corsOrigins, log, metrics, tracing } = options
  const { requestMs } = options.deadlines
  const logUnexpected = (cause: unknown) =>
    log.error({ requestId: currentVisit()?.id, ...describeError(cause) }, 'unexpected error')
  const gate = createGate(authenticate, limiter)
  const graphql = createGraphQLHandler({ graphiql, introspection, limits, logUnexpected })
  const rest = createRestHandler({ logUnexpected })

  /** Lets the request in, has it served, and lets it out. */
  const serve = async (
    request: Request,
    address: string,
    visit: Visit,
    door: (admission: Admission) => Promise<Response>,
    refuse: (refusal: EntryRefusal) => Response,
  ): Promise<Response> => {
    let admission: Admission
    try {
      admission = await gate(request.headers, address)
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
    door: () => Promise<Response>,
    refuse: (refusal: EntryRefusal) => Response,
  ): Promise<Response> => {
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

  const route = async (request: Request, address: string, visit: Visit, scope: RequestScope): Promise<Response> => {
    const { pathname } = new URL(request.url)
    if (pathname === graphqlPath) {
      if (graphql.isPage(request)) {
        const page = async () => withHeaders(await graphql.serve(request), pageHeaders)
        return serveAnybody(address, page, refuseToGraphQL)
      }
      const execute = (admission: Admission) => graphql.serve(request, { admission, db: db.forRequest(scope) })
      return serve(request, address, visit, execute, refuseToGraphQL)
    }
    if (isRest(pathname)) {
      const found = rest.find(request)
      visit.operation = found.name
      if (found.isOpen) return serveAnybody(address, () => found.serve(undefined), refuseEntry)
      const call = ({ caller }: Admission) => {
        visit.mayChange = request.method !== 'GET' && request.method !== 'HEAD'
        return found.serve({ db: db.forRequest(scope), ...caller })
      }
      return serve(request, address, visit, call, refuseEntry)
    }
    if (pathname === '/' && graphiql) return new Response(null, { status: 302, headers: { location: graphqlPath } })
    return Response.json({ message: 'Not Found' }, { status: 404 })
  }

  /** Answers in time, whatever becomes of the work: what it has sent to the database may be done all the same. */
  const routeInTime = async (request: Request, address: string, visit: Visit): Promise<Response> => {
    const scope: RequestScope = {
      deadline: performance.now() + requestMs,
      limitMs: requestMs,
      onStatement(name, startedAt, ms, outcome) {
        visit.statements += 1
        visit.trace?.add('statement', name, startedAt, ms, outcome === 'ok')
      },
    }
    let isLate = false
    const late = Promise.withResolvers<Response>()
    const timer = setTimeout(() => {
      isLate = true
      const error = new DeadlineExceeded('request', requestMs, visit.mayChange)
      late.resolve(isRest(visit.path) ? errorResponse(toRestError(error)!) : refuseLate(error))
    }, requestMs)
    const work = route(request, address, visit, scope)
    // Nobody waits for it any more.
    work.catch((error) => isLate && logUnexpected(error))
    try {
      return await Promise.race([work, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  const cors = createCors(corsOrigins)
  const finish = (response: Response, origin: string | null | undefined) =>
    withHeaders(response, { ...securityHeaders, ...cors.headersFor(origin) })

  return {
    handle: (request, address, given) => {
      const visit = given ?? visitOf(request)
      visit.trace = tracing?.begin(visit)
      return during(visit, async () =>
        finish(cors.preflight(request) ?? (await routeInTime(request, address, visit)), request.headers.get('origin')),
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

/** Of a request that has come by no server. */
function visitOf({ method, url, headers }: Request): Visit {
  return beginVisit({ method, path: new URL(url).pathname, requestId: headers.get('x-request-id') })
}

/** What may be logged of an error: a driver's message can hold values of the statement, so only its code is told. */
export function describeError(cause: unknown) {
  if (!(cause instanceof Error)) return { error: { type: typeof cause } }
  const origin = cause.cause instanceof Error ? cause.cause : cause
  const { code } = origin as NodeJS.ErrnoException
  return { error: { type: cause.name, code, ...(code ? {} : { message: cause.message }), stack: framesOf(cause) } }
}

const framesOf = ({ stack = '' }: Error) =>
  stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n')
