import type { Incoming, Outgoing } from './message.ts'

/** On every answer. What is served is data for one caller, to be kept by nobody else and shown in no frame. */
export const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'private, no-cache',
  vary: 'authorization, x-xurrent-account, x-4me-account, accept, origin',
}

/** GraphiQL brings all that it runs within the page, and talks to nobody but us. */
export const pageHeaders = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src 'unsafe-inline'",
    'font-src data:',
    "img-src 'self' data:",
    'worker-src blob: data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
}

/** The answer with these headers; those that it has itself stay. */
export function withHeaders<Answer extends Outgoing>(
  answer: Answer,
  headers: Readonly<Record<string, string>>,
): Answer {
  return { ...answer, headers: { ...headers, ...answer.headers } }
}

const exposedHeaders =
  'ETag, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Pagination-Per-Page, X-Pagination-Total-Entries, X-Request-Id'
const allowedHeaders =
  'apollographql-client-name, apollographql-client-version, authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, traceparent, tracestate, x-graphql-client-name, x-graphql-client-version, x-graphql-cost, x-graphql-event-stream-token, x-request-id, x-xurrent-account, x-4me-account'
const preflightSeconds = '600'

/** Lets pages of these origins call; of no others. Credentials are tokens that pages send themselves, never cookies. */
export function createCors(origins: readonly string[]) {
  return {
    /** The answer to a browser that asks before it calls; undefined for every other request. */
    preflight({ method, headers }: Incoming): Outgoing | undefined {
      if (method !== 'OPTIONS' || headers.get('access-control-request-method') === null) return undefined
      if (!origins.includes(headers.get('origin') ?? '')) return undefined
      return {
        status: 204,
        headers: {
          'access-control-allow-methods': 'GET, HEAD, POST, PATCH, PUT, DELETE',
          'access-control-allow-headers': allowedHeaders,
          'access-control-max-age': preflightSeconds,
        },
      }
    },
    /** Whether a request comes from no page, from one of ours, or from one that may call. */
    isOwn({ headers, url }: Incoming): boolean {
      const origin = headers.get('origin')
      if (origin === null || origins.includes(origin) || origin === url.origin) return true
      // A proxy may speak TLS where we do not.
      return URL.parse(origin)?.host === headers.get('host')
    },
    headersFor(origin: string | null | undefined): Record<string, string> {
      return origin && origins.includes(origin)
        ? { 'access-control-allow-origin': origin, 'access-control-expose-headers': exposedHeaders }
        : {}
    },
  }
}
