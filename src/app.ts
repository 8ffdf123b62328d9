import type { Logger } from 'pino'
import type { Database } from './db/client.ts'
import { createGraphQLHandler, type FetchHandler, graphqlPath } from './graphql/handler.ts'

export interface AppOptions {
  db: Database
  /** The account whose data is served, until callers authenticate. */
  account: number
  graphiql: boolean
  log: Logger
}

/** The whole service as a function from request to response; it opens no port. */
export function createApp({ db, account, graphiql, log }: AppOptions): FetchHandler {
  const graphql = createGraphQLHandler({
    context: { db, account },
    graphiql,
    logUnexpected: (cause) => log.error(describe(cause), 'unexpected error'),
  })
  return async (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === graphqlPath) return graphql(request)
    if (pathname === '/' && graphiql) return new Response(null, { status: 302, headers: { location: graphqlPath } })
    return Response.json({ message: 'Not Found' }, { status: 404 })
  }
}

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
