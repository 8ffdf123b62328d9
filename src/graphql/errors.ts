import { GraphQLError } from 'graphql'
import { DatabaseUnavailable, DeadlineExceeded } from '../db/errors.ts'
import { ForbiddenError, type Issue } from '../domain/errors.ts'

/** What `extensions.code` of a top-level error can be. */
const topLevelCodes = [
  'BAD_USER_INPUT',
  'NOT_FOUND',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'QUERY_TOO_COMPLEX',
  // As Apollo has named them: its clients send the query after the first two.
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
  'PERSISTED_QUERY_NOT_IN_LIST',
  'PERSISTED_QUERY_ID_REQUIRED',
  'RATE_LIMITED',
  // Of streams.
  'CURSOR_EXPIRED',
  'SLOW_CONSUMER',
  'SHUTTING_DOWN',
  'SERVICE_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
] as const
export type TopLevelCode = (typeof topLevelCodes)[number]

/** The arguments of a field are wrong: all issues in one error. */
export function badUserInput(issues: readonly Issue[]): GraphQLError {
  const code: TopLevelCode = 'BAD_USER_INPUT'
  return new GraphQLError(issues.map(({ message }) => message).join(' '), { extensions: { code, issues } })
}

/**
 * What the outside may see of an error. Faults of a document or its variables keep their message and get a code;
 * whatever was not meant to be seen is replaced, and told to `logUnexpected` with its cause. Within the payload of a
 * mutation, callers are told that the change itself is done.
 */
export function maskError(
  error: unknown,
  logUnexpected: (cause: unknown) => void,
  isOfMutation: boolean,
): GraphQLError {
  const origin = originOf(error)
  if (origin instanceof GraphQLError) {
    const shown = error as GraphQLError
    return codes.has(shown.extensions.code) ? shown : replace(error, shown.message, 'BAD_USER_INPUT')
  }
  if (origin instanceof ForbiddenError) return replace(error, origin.message, 'FORBIDDEN')
  logUnexpected(origin)
  const isDone = isOfMutation && error instanceof GraphQLError && (error.path?.length ?? 0) > 1
  if (origin instanceof DatabaseUnavailable) {
    const message = `The database is not available. ${adviceAfter(origin, isDone)}`
    return replace(error, message, 'SERVICE_UNAVAILABLE')
  }
  if (origin instanceof DeadlineExceeded) {
    const message = `The ${origin.of} took longer than ${origin.limitMs} ms. ${adviceAfter(origin, isDone)}`
    return replace(error, message, 'TIMEOUT')
  }
  return replace(error, 'Unexpected error.', 'INTERNAL_SERVER_ERROR')
}

function adviceAfter({ mayHaveRun }: { mayHaveRun: boolean }, isDone: boolean): string {
  if (isDone) return 'The change itself is done; only its answer could not be read.'
  return mayHaveRun
    ? 'What was asked for may have been done all the same: look before you try again, or send changes with @idempotent.'
    : 'Try again later.'
}

/** Errors with another code, or none, come from graphql or Yoga, which find the request or its document wrong. */
const codes: ReadonlySet<unknown> = new Set(topLevelCodes)

/** What was thrown first: graphql wraps it, sometimes twice, to say where. */
function originOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? originOf(error.originalError) : error
}

/** An error at the same place with another message and code. */
function replace(error: unknown, message: string, code: TopLevelCode): GraphQLError {
  if (!(error instanceof GraphQLError)) return new GraphQLError(message, { extensions: { code } })
  const { nodes, source, positions, path } = error
  const { originalError: _, http, ...extensions } = error.extensions as { http?: object } & Record<string, unknown>
  // With `spec`, Yoga answers 200 to clients that accept application/json. What is no GraphQL request is a 4xx to all.
  const status = extensions.code === 'BAD_REQUEST' ? { ...http, spec: false } : http
  return new GraphQLError(message, {
    nodes,
    source,
    positions,
    path,
    extensions: { ...extensions, ...(status && { http: status }), code },
  })
}
