import { DatabaseUnavailable } from '../db/errors.ts'
import { AuthError, type Authenticate, type Caller, type HeaderFields, KeysUnavailable } from './authenticate.ts'
import { RateLimited, type RateLimiter } from './rate-limit.ts'
import { TooManyStreams } from './streams.ts'

/** A request that may be served. */
export interface Admission {
  readonly caller: Caller
  /** For the response: what is left of the limits. */
  readonly headers: Record<string, string>
  /** Counts the nodes that a document asks for; throws a RateLimited when there are too many. */
  spendNodes(nodes: number): Promise<void>
  /** Counts a stream in; what it returns counts it out. Throws a RateLimited when there are too many. */
  openStream(): () => void
  /** To be called when the response is made. */
  leave(): void
}

/** Lets a request in, or throws what `toEntryRefusal` puts into words. */
export type Gate = (headers: HeaderFields, address: string) => Promise<Admission>

const noLimit = { headers: {}, leave: () => {}, spendNodes: async () => {}, openStream: () => () => {} }

/** Authenticates requests and counts them, by caller; those without a valid token by the address that they come from. */
export function createGate(authenticate: Authenticate, limiter: RateLimiter | undefined): Gate {
  return async (headers, address) => {
    const byAddress = `address ${address}`
    let caller: Caller
    try {
      caller = await authenticate(headers)
    } catch (error) {
      // Whoever tries out tokens is counted, too.
      if (error instanceof AuthError) (await limiter?.enter(byAddress))?.leave()
      throw error
    }
    if (!limiter) return { caller, ...noLimit }
    const key = caller.key ?? byAddress
    const { headers: limits, leave } = await limiter.enter(key)
    return {
      caller,
      headers: limits,
      leave,
      spendNodes: (nodes) => limiter.spendNodes(key, nodes),
      openStream: () => limiter.openStream(key),
    }
  }
}

export interface EntryRefusal {
  status: 400 | 401 | 403 | 429 | 500 | 503
  code:
    | 'BAD_USER_INPUT'
    | 'UNAUTHENTICATED'
    | 'FORBIDDEN'
    | 'RATE_LIMITED'
    | 'SERVICE_UNAVAILABLE'
    | 'INTERNAL_SERVER_ERROR'
  message: string
  headers: Record<string, string>
}

/** Why a request was not let in, for the door to put into its own form. What is not known here is a bug: 500. */
export function toEntryRefusal(error: unknown): EntryRefusal {
  if (error instanceof AuthError) {
    const { status, message, challenge } = error
    const codes = { 400: 'BAD_USER_INPUT', 401: 'UNAUTHENTICATED', 403: 'FORBIDDEN' } as const
    return { status, code: codes[status], message, headers: status === 401 ? { 'www-authenticate': challenge } : {} }
  }
  if (error instanceof RateLimited) {
    return { status: 429, code: 'RATE_LIMITED', message: error.message, headers: error.headers }
  }
  if (error instanceof TooManyStreams) {
    return { status: 503, code: 'SERVICE_UNAVAILABLE', message: error.message, headers: { 'retry-after': '10' } }
  }
  if (error instanceof DatabaseUnavailable || error instanceof KeysUnavailable) {
    const message = 'Callers cannot be authenticated at the moment. Try again later.'
    return { status: 503, code: 'SERVICE_UNAVAILABLE', message, headers: { 'retry-after': '1' } }
  }
  return { status: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Unexpected error.', headers: {} }
}
