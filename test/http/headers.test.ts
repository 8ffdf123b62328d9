import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AppOptions, createApp } from '../../src/app.ts'
import { missingToken } from '../../src/auth/authenticate.ts'
import { RateLimited } from '../../src/auth/rate-limit.ts'
import type { Database } from '../../src/db/client.ts'
import { DatabaseUnavailable } from '../../src/db/errors.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'

const listed = 'https://app.example'
const unlisted = 'https://evil.example'

/** A database without a row; the name of an account decides what comes of a request. */
const run: Database['run'] = async (_, parameters) =>
  ((parameters as { keys?: number[] }).keys ?? []).map(() => []) as never
const db = { engine: 'postgres', run, forRequest: () => db } as unknown as Database

const authenticate: AppOptions['authenticate'] = async (headers) => {
  const outcome = headers.get('x-xurrent-account')
  if (outcome === 'unknown') throw missingToken()
  if (outcome === 'too many') throw new RateLimited('Too many', 7)
  if (outcome === 'down') throw new DatabaseUnavailable(new Error('down'))
  return { account: 1, permissions: outcome === 'forbidden' ? new Set() : allPermissions, key: undefined }
}

const start = (given: Partial<AppOptions>) => {
  const ctx = { db, account: 1, permissions: allPermissions }
  return listen({ handler: createApp(appOptionsFor(ctx, { authenticate, ...given })), ...serverOptions })
}

let closed: RunningServer
let open: RunningServer
beforeAll(async () => {
  closed = await start({})
  open = await start({ corsOrigins: [listed, 'http://localhost:3000'] })
})
afterAll(() => Promise.all([closed?.close(0), open?.close(0)]))

const send = (server: RunningServer, path: string, init: RequestInit = {}) =>
  fetch(server.url + path, { redirect: 'manual', ...init })

const json = (body: string, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body,
})
const as = (outcome: string, headers: Record<string, string> = {}): RequestInit => ({
  headers: { 'x-xurrent-account': outcome, ...headers },
})

/** One of every kind of answer. */
const answers: [status: number, what: string, path: string, init?: RequestInit][] = [
  [200, 'GraphQL', '/graphql', json('{"query":"{ __typename }"}')],
  [
    200,
    'GraphQL with errors',
    '/graphql',
    json('{"query":"{ organizations { nodes { id } } }"}', { 'x-xurrent-account': 'forbidden' }),
  ],
  [400, 'a document that is none', '/graphql', json('{"query":"{"}', { accept: 'application/graphql-response+json' })],
  [401, 'GraphQL without a token', '/graphql', json('{"query":"{ __typename }"}', { 'x-xurrent-account': 'unknown' })],
  [405, 'GraphQL by another method', '/graphql', { method: 'PATCH' }],
  [413, 'GraphQL with too large a body', '/graphql', json(' '.repeat(300_000))],
  [415, 'GraphQL in a form', '/graphql', { method: 'POST', body: new URLSearchParams({ query: '{ __typename }' }) }],
  [429, 'too much GraphQL', '/graphql', json('{"query":"{ __typename }"}', { 'x-xurrent-account': 'too many' })],
  [503, 'GraphQL without a database', '/graphql', json('{"query":"{ __typename }"}', { 'x-xurrent-account': 'down' })],
  [200, 'the page of GraphiQL', '/graphql', { headers: { accept: 'text/html' } }],
  [302, 'the way to the page', '/'],
  [404, 'nothing', '/nowhere'],
  [200, 'REST', '/v1/organizations'],
  [304, 'REST that the caller has', '/v1/organizations', { headers: { 'if-none-match': '*' } }],
  [304, 'a document that the caller has', '/v1/openapi.json', { headers: { 'if-none-match': '*' } }],
  [204, 'the methods of REST', '/v1/organizations', { method: 'OPTIONS' }],
  [400, 'REST with a body that is no JSON', '/v1/organizations/1/contacts', json('{')],
  [
    400,
    'REST with a body that is no UTF-8',
    '/v1/organizations/1/contacts',
    { ...json(''), body: new Uint8Array([0xff]) },
  ],
  [401, 'REST without a token', '/v1/organizations', as('unknown')],
  [403, 'REST without a permission', '/v1/organizations', as('forbidden')],
  [404, 'REST that finds nothing', '/v1/organizations/1'],
  [404, 'REST that is not there', '/v1/nothing'],
  [405, 'REST by another method', '/v1/organizations', { method: 'DELETE' }],
  [406, 'REST in another type', '/v1/organizations', { headers: { accept: 'application/xml' } }],
  [413, 'REST with too large a body', '/v1/organizations/1/contacts', json(' '.repeat(300_000))],
  [415, 'REST in a form', '/v1/organizations/1/contacts', { method: 'POST', body: new URLSearchParams({ a: 'b' }) }],
  [429, 'too much REST', '/v1/organizations', as('too many')],
  [503, 'REST without a database', '/v1/organizations', as('down')],
  [200, 'the page of REST', '/v1/docs'],
  [200, 'the head of REST', '/v1/organizations', { method: 'HEAD' }],
]

/** No page has any business with these. */
const probes: typeof answers = [
  [200, 'a probe', '/health/ready'],
  [405, 'a probe by another method', '/health/live', { method: 'POST' }],
]

describe('the security headers and the id of the request', () => {
  it.each([...answers, ...probes])('are on %i, %s', async (status, _, path, init) => {
    const response = await send(closed, path, init)

    expect(response.status).toBe(status)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cache-control': 'private, no-cache',
      vary: 'authorization, x-xurrent-account, x-4me-account, accept, origin',
    })
    expect(response.headers.get('x-request-id')).toMatch(/^[\da-f-]{36}$/)
    expect(response.headers.has('server')).toBe(false)
    expect(response.headers.has('x-powered-by')).toBe(false)
  })

  it('come with a challenge on 401 and with a time on 429 and 503', async () => {
    const [unknown, tooMany, down] = await Promise.all(
      ['unknown', 'too many', 'down'].map((outcome) => send(closed, '/v1/organizations', as(outcome))),
    )

    expect(unknown!.headers.get('www-authenticate')).toBe('Bearer realm="contacts"')
    expect(tooMany!.headers.get('retry-after')).toBe('7')
    expect(down!.headers.get('retry-after')).toBe('1')
  })
})

const corsOf = (response: Response) =>
  Object.fromEntries([...response.headers].filter(([name]) => name.startsWith('access-control-')))

const preflight = (origin: string): RequestInit => ({
  method: 'OPTIONS',
  headers: {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  },
})

describe('pages of other origins', () => {
  it.each(answers)('are not let in by default: %i, %s', async (_status, _what, path, init) => {
    const response = await send(closed, path, { ...init, headers: { ...init?.headers, origin: listed } })

    expect(corsOf(response)).toEqual({})
  })

  it.each(['/graphql', '/v1/organizations', '/nowhere'])(
    'are not told by default that they may call %s',
    async (path) => {
      const response = await send(closed, path, preflight(listed))

      expect(response.ok && response.headers.has('access-control-allow-origin')).toBe(false)
      expect(corsOf(response)).toEqual({})
    },
  )

  it.each(answers)(
    'are let in where they are listed, and may read the answer: %i, %s',
    async (status, _, path, init) => {
      const response = await send(open, path, { ...init, headers: { ...init?.headers, origin: listed } })

      expect(response.status).toBe(status)
      expect(corsOf(response)).toEqual({
        'access-control-allow-origin': listed,
        'access-control-expose-headers':
          'ETag, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Pagination-Per-Page, X-Pagination-Total-Entries, X-Request-Id',
      })
      expect(response.headers.get('vary')).toMatch(/\borigin\b/)
    },
  )

  it.each(['/graphql', '/v1/organizations/1/contacts', '/v1/organizations/1/contacts/2'])(
    'that are listed are told, without a token, what they may send to %s',
    async (path) => {
      const request = preflight(listed)
      const response = await send(open, path, { ...request, headers: { ...request.headers, ...as('unknown').headers } })

      expect(response.status).toBe(204)
      expect(await response.text()).toBe('')
      expect(corsOf(response)).toEqual({
        'access-control-allow-origin': listed,
        'access-control-allow-methods': 'GET, HEAD, POST, PATCH, PUT, DELETE',
        'access-control-allow-headers':
          'apollographql-client-name, apollographql-client-version, authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, traceparent, tracestate, x-graphql-client-name, x-graphql-client-version, x-graphql-cost, x-graphql-event-stream-token, x-request-id, x-xurrent-account, x-4me-account',
        'access-control-expose-headers': expect.any(String),
        'access-control-max-age': '600',
      })
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    },
  )

  it('that are listed second are let in, too, by their own name', async () => {
    const response = await send(open, '/v1/organizations', { headers: { origin: 'http://localhost:3000' } })

    expect(response.headers.get('access-control-allow-origin')).toBe('http://localhost:3000')
  })

  it.each([
    unlisted,
    'null',
    '*',
    'http://app.example',
    `${listed}:8443`,
    `${listed}.evil.example`,
    'https://app.example.',
    'https://xapp.example',
    'https://APP.example',
    `${listed}/`,
    `${listed}, ${unlisted}`,
  ])('that are not listed are not let in: %s', async (origin) => {
    const responses = [
      await send(open, '/graphql', json('{"query":"{ __typename }"}', { origin })),
      await send(open, '/graphql', preflight(origin)),
      await send(open, '/v1/organizations', preflight(origin)),
    ]

    expect(responses.map(corsOf)).toEqual([{}, {}, {}])
  })

  it('never send cookies', async () => {
    const response = await send(open, '/graphql', preflight(listed))

    expect(response.headers.has('access-control-allow-credentials')).toBe(false)
    expect(response.headers.has('set-cookie')).toBe(false)
  })
})

describe('the content security policy', () => {
  const policyOf = async (path: string) => {
    const response = await send(closed, path, { headers: { accept: 'text/html' } })
    const policy = response.headers.get('content-security-policy') ?? ''
    return Object.fromEntries(
      policy.split('; ').map((directive): [string, string[]] => {
        const [name, ...values] = directive.split(' ')
        return [name!, values]
      }),
    )
  }

  it('lets GraphiQL run what the page brings, and talk to nobody but us', async () => {
    expect(await policyOf('/graphql')).toEqual({
      'default-src': ["'none'"],
      'script-src': ["'unsafe-inline'", "'unsafe-eval'", 'blob:'],
      'style-src': ["'unsafe-inline'"],
      'font-src': ['data:'],
      'img-src': ["'self'", 'data:'],
      'worker-src': ['blob:', 'data:'],
      'connect-src': ["'self'"],
      'base-uri': ["'none'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    })
  })

  it('lets the page of REST run nothing and load nothing', async () => {
    expect(await policyOf('/v1/docs')).toEqual({
      'default-src': ["'none'"],
      'style-src': ["'unsafe-inline'"],
      'base-uri': ["'none'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    })
  })

  it('is what the page of GraphiQL keeps to: it names no other machine to load from', async () => {
    const response = await send(closed, '/graphql', { headers: { accept: 'text/html' } })

    const page = await response.text()

    expect(page).not.toMatch(/<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?\/\//i)
  })
})
