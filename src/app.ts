import type { Logger } from 'pino'
import type { Database } from './db/client.ts'
import { createGraphQLHandler, graphqlPath, refuseGraphQL } from './graphql/handler.ts'
import type { Handler } from './http/server.ts'
import { createRestHandler, refuseRest } from './rest/handler.ts'
import { restPath } from './rest/router.ts'

export interface AppOptions {
  db: Database
  /** The account whose data is served, until callers authenticate. */
  account: number
  graphiql: boolean
  log: Logger
}

/** The whole service, as functions from request to response; it opens no port. */
export function createApp({ db, account, graphiql, log }: AppOptions): Handler {
  const context = { db, account }
  const logUnexpected = (cause: unknown) => log.error(describe(cause), 'unexpected error')
  const graphql = createGraphQLHandler({ context, graphiql, logUnexpected })
  const rest = createRestHandler({ context, logUnexpected })
  return {
    async handle(request) {
      const { pathname } = new URL(request.url)
      if (pathname === graphqlPath) return graphql(request)
      if (isRest(pathname)) return rest(request)
      if (pathname === '/' && graphiql) return new Response(null, { status: 302, headers: { location: graphqlPath } })
      return Response.json({ message: 'Not Found' }, { status: 404 })
    },
    refuse: (pathname, { status, message }) =>
      isRest(pathname) ? refuseRest(status, message) : refuseGraphQL(status, message),
  }
}

const isRest = (pathname: string) => pathname === restPath || pathname.startsWith(`${restPath}/`)

/** What may be logged of an error: a driver's message can hold values of the statement, so only its code is told. */
function describe(cause: unknown) {
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
