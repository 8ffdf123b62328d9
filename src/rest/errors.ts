import { DatabaseUnavailable, DeadlineExceeded } from '../db/errors.ts'
import {
  ConflictError,
  type DomainError,
  ForbiddenError,
  type Issue,
  KeyReusedError,
  NotFoundError,
  ValidationError,
} from '../domain/errors.ts'
import { tagOf } from './tags.ts'

/** An answer that a handler gives by throwing it. */
export class RestError extends Error {
  readonly status: number
  readonly body: object
  readonly headers: Record<string, string>
  constructor(status: number, body: { message: string; errors?: [field: string, message: string][] }, headers = {}) {
    super(body.message)
    this.name = 'RestError'
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** What `message` says where there is no more to say than the status. */
export const reasons = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  412: 'Precondition Failed',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  422: 'Validation Failed',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
} as const

export type ErrorStatus = keyof typeof reasons

export const plainError = (status: ErrorStatus, headers = {}) =>
  new RestError(status, { message: reasons[status] }, headers)

export const invalidJson = () => new RestError(400, { message: 'Invalid JSON string posted' })

/** The status of each domain error. `docs/rest.md` has the same table, with what GraphQL answers. */
export const statusOfError: readonly [kind: abstract new (...args: never[]) => DomainError, status: ErrorStatus][] = [
  [ValidationError, 422],
  [NotFoundError, 404],
  [ConflictError, 412],
  [KeyReusedError, 422],
]

const retryAfterSeconds = 1

/** The answer to an error; undefined where it is a bug that callers are not to see. */
export function toRestError(error: unknown): RestError | undefined {
  if (error instanceof RestError) return error
  if (error instanceof ForbiddenError) return plainError(403)
  const retryAfter = { 'retry-after': String(retryAfterSeconds) }
  if (error instanceof DatabaseUnavailable) return plainError(503, retryAfter)
  if (error instanceof DeadlineExceeded) return plainError(504, retryAfter)
  const status = statusOfError.find(([kind]) => error instanceof kind)?.[1]
  if (error instanceof ValidationError) {
    return new RestError(422, { message: reasons[422], errors: distinct(error.issues.map(toPair)) })
  }
  if (error instanceof KeyReusedError) {
    return new RestError(422, { message: reasons[422], errors: [toPair({ path: [], message: error.message })] })
  }
  // With the tag that would have been right, so that nobody has to read it first.
  if (error instanceof ConflictError) return plainError(412, { etag: tagOf(error.currentVersion) })
  return status && plainError(status)
}

/** What a fault is about that is about no field alone. */
const wholeBody = 'base'

/** A field of the body with a message: `['label', "Label can't be blank"]`. The value of a channel is under its name. */
function toPair({ path, message }: Pick<Issue, 'path' | 'message'>): [field: string, message: string] {
  const last = path.at(-1) === 'value' ? path.at(-2) : path.at(-1)
  const field = last === undefined || last === 'contact' ? wholeBody : last
  return [field, message.replace(/\.$/, '')]
}

/** Two channels of a body share its label: what is wrong with it is told once. */
function distinct(pairs: [field: string, message: string][]): [field: string, message: string][] {
  return [...new Map(pairs.map((pair) => [pair.join('\0'), pair])).values()]
}
