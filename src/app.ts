import type { Logger } from 'pino'
import type { Authenticate } from './auth/authenticate.ts'
import { type Admission, createGate, type EntryRefusal, toEntryRefusal } from './auth/gate.ts'
import type { RateLimiter } from './auth/rate-limit.ts'
import type { Database } from './db/client.ts'
import { createGraphQLHandler, graphqlPath, refuseGraphQL } from './graphql/handler.ts'
import type { DocumentLimits } from './graphql/limits.ts'
import { createCors, pageHeaders, securityHeaders, withHeaders } from './http/headers.ts'
import type { Handler } from './http/server.ts'
import { createRestHandler, refuseEntry, refuseUnreadable } from './rest/handler.ts'
import { restPath } from './rest/router.ts'

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
  log: Logger
}

/** The whole service, as functions from request to response; it opens no port. */
export function createApp(options: AppOptions): Handler {
  const { db, authenticate, limiter, graphiql, introspection, limits, corsOrigins, log } = options
  const logUnexpected = (cause: unknown) => log.error(describeError(cause), 'unexpected error')
  const gate = createGate(authenticate, limiter)
  const graphql = createGraphQLHandler({ db, graphiql, introspection, limits, logUnexpected })
  const rest = createRestHandler({ logUnexpected })

  /** Lets the request in, has it served, and lets it out. */
  const serve = async (
    request: Request,
    address: string,
    door: (admission: Admission) => Promise<Response>,
    refuse: (refusal: EntryRefusal) => Response,
  ): Promise<Response> => {
    let admission: Admission
    try {
      admission = await gate(request.headers, address)
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

  const route = async (request: Request, address: string): Promise<Response> => {
    const { pathname } = new URL(request.url)
    if (pathname === graphqlPath) {
      if (graphql.isPage(request)) {
        const page = async () => withHeaders(await graphql.serve(request, undefined), pageHeaders)
        return serveAnybody(address, page, refuseToGraphQL)
      }
      return serve(request, address, (admission) => graphql.serve(request, admission), refuseToGraphQL)
    }
    if (isRest(pathname)) {
      if (rest.isOpen(request)) return serveAnybody(address, () => rest.serve(request, undefined), refuseEntry)
      return serve(request, address, ({ caller }) => rest.serve(request, { db, ...caller }), refuseEntry)
    }
    if (pathname === '/' && graphiql) return new Response(null, { status: 302, headers: { location: graphqlPath } })
    return Response.json({ message: 'Not Found' }, { status: 404 })
  }

  const cors = createCors(corsOrigins)
  return {
    async handle(request, address) {
      const preflight = cors.preflight(request)
      const response = preflight ?? (await route(request, address))
      return withHeaders(response, { ...securityHeaders, ...cors.headersFor(request.headers.get('origin')) })
    },
    refuse: (pathname, { status, message, isBody = false }, origin) =>
      withHeaders(isRest(pathname) ? refuseUnreadable(status, message, isBody) : refuseGraphQL(status, message), {
        ...securityHeaders,
        ...cors.headersFor(origin),
      }),
  }
}

const isRest = (pathname: string) => pathname === restPath || pathname.startsWith(`${restPath}/`)

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
