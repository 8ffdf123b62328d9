import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { AppOptions } from '../src/app.ts'
import { missingToken } from '../src/auth/authenticate.ts'
import { createRateLimiter, RateLimited } from '../src/auth/rate-limit.ts'
import type { Database, RequestScope } from '../src/db/client.ts'
import { DatabaseUnavailable, DeadlineExceeded } from '../src/db/errors.ts'
import { allPermissions } from '../src/domain/context.ts'
import { listen, type RunningServer } from '../src/http/server.ts'
import { appOptionsFor, createWebApp, serverOptions } from './support/app.ts'
import { exchange } from './support/gateway.ts'

type Run = (statement: { name: string }, parameters: { keys?: readonly number[] }) => Promise<unknown>

/** A database that answers every statement so, and tells the request of it. */
function databaseThat(run: Run) {
  const scopes: RequestScope[] = []
  const db = {
    engine: 'postgres',
    run,
    forRequest(scope: RequestScope) {
      scopes.push(scope)
      return {
        ...db,
        async run(...given: Parameters<Run>) {
          const [statement] = given
          try {
            return await run(...given)
          } finally {
            scope.onStatement?.(statement.name, performance.now(), 1, 'ok')
          }
        },
      }
    },
  } as unknown as Database
  return { db, scopes }
}
/** A keyed read brings a list for each key. */
const noRows: Run = async (_, { keys = [] }) => keys.map(() => [])
const never: Run = () => new Promise(() => {})

function start(run: Run, given: Partial<AppOptions> = {}) {
  const { db, scopes } = databaseThat(run)
  const logged: string[] = []
  const log = pino({ level: 'debug', base: undefined }, { write: (line: string) => logged.push(line) })
  const app = createWebApp(appOptionsFor({ db, account: 7, permissions: allPermissions }, { log, ...given }))
  return { app, scopes, logged, lines: () => logged.map((line) => JSON.parse(line)) }
}

const post = (path: string, body: string) =>
  new Request(`http://gateway${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
const graphql = (query: string) => post('/graphql', JSON.stringify({ query }))
const query = '{ organizations { totalCount } }'
const mutation = 'mutation { removeContact(input: { id: 1 }) { __typename } }'

describe('a request that takes too long', () => {
  const deadlines = { requestMs: 50 }
  const again = 'Try again later.'
  const perhaps =
    'What was asked for may have been done all the same: look before you try again, or send changes with @idempotent.'

  it.each([
    ['a query', query, again],
    ['a mutation', mutation, perhaps],
  ])('is answered all the same, by GraphQL: %s', async (_, document, advice) => {
    const { app } = start(never, { deadlines })

    const response = await app.handle(graphql(document), '192.0.2.1')

    expect([response.status, response.headers.get('retry-after')]).toEqual([504, '1'])
    expect(await response.json()).toEqual({
      errors: [
        {
          message: `The request took longer than 50 ms. ${advice}`,
          extensions: { code: 'TIMEOUT', requestId: expect.any(String) },
        },
      ],
    })
    expect(response.headers.get('x-frame-options')).toBe('DENY')
  })

  it.each([
    ['reads', () => new Request('http://gateway/v1/organizations')],
    ['writes', () => post('/v1/organizations/1/contacts', '{"label":"general","email":"a@b"}')],
  ])('is answered all the same, by REST, when it %s', async (_, request) => {
    const { app } = start(never, { deadlines })

    const response = await app.handle(request(), '192.0.2.1')

    expect([response.status, response.headers.get('retry-after')]).toEqual([504, '1'])
    expect(await response.json()).toEqual({ message: 'Gateway Timeout' })
  })

  it.each(['/graphql', '/v1/organizations'])('may have spent its time on authentication: %s', async (path) => {
    const { app } = start(noRows, { deadlines, authenticate: () => new Promise(() => {}) })

    const response = await app.handle(new Request(`http://gateway${path}`), '192.0.2.1')

    expect(response.status).toBe(504)
    expect(await response.text()).not.toContain('all the same')
  })

  it('tells its statements when its answer is due, counted from its beginning', async () => {
    const { app, scopes } = start(noRows, {
      deadlines: { requestMs: 5_000 },
      authenticate: async () => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        return { account: 7, permissions: allPermissions, key: undefined }
      },
    })
    const begun = performance.now()

    await app.handle(graphql(query), '192.0.2.1')

    expect(scopes).toHaveLength(1)
    expect(scopes[0]).toMatchObject({ limitMs: 5_000 })
    expect(scopes[0]!.deadline - begun).toBeGreaterThanOrEqual(5_000)
    expect(scopes[0]!.deadline - begun).toBeLessThan(5_090)
  })

  it('does no harm when its work ends afterwards, well or not', async () => {
    const failures = [undefined, new DeadlineExceeded('request', 50), new DatabaseUnavailable(new Error('away'))]
    for (const failure of failures) {
      const held = Promise.withResolvers<unknown>()
      const { app, lines } = start(() => held.promise, { deadlines })
      const responses = await Promise.all([
        app.handle(graphql(query), '192.0.2.1'),
        app.handle(new Request('http://gateway/v1/organizations'), '192.0.2.1'),
      ])

      if (failure) held.reject(failure)
      else held.resolve([])
      await new Promise((resolve) => setTimeout(resolve, 20))

      expect(responses.map(({ status }) => status)).toEqual([504, 504])
      expect(lines().every(({ requestId, msg }) => msg === 'unexpected error' && requestId)).toBe(true)
    }
  })

  it('counts as one of its caller until its work has ended', async () => {
    const held = Promise.withResolvers<unknown>()
    const limiter = createRateLimiter({ requests: 100, nodes: 100, concurrent: 1, streams: 1 }, undefined)
    const { app } = start(() => held.promise, { deadlines, limiter })
    const ask = async () => (await app.handle(new Request('http://gateway/v1/organizations'), '192.0.2.1')).status

    const before = [await ask(), await ask()]
    held.resolve([[]])
    await vi.waitFor(async () => expect(await ask()).toBe(200))

    expect(before).toEqual([504, 429])
  })

  it('leaves others alone', async () => {
    const { app } = start(noRows, { deadlines })

    const response = await app.handle(graphql(query), '192.0.2.1')
    await new Promise((resolve) => setTimeout(resolve, 100))

    expect(response.status).toBe(200)
  })
})

describe('the id of a request', () => {
  const withId = (request: Request, id: string) => {
    request.headers.set('x-request-id', id)
    return request
  }

  it.each([
    ['INTERNAL_SERVER_ERROR', new Error('a bug')],
    ['SERVICE_UNAVAILABLE', new DatabaseUnavailable(new Error('away'))],
    ['TIMEOUT', new DeadlineExceeded('statement', 10)],
  ])('is told with %s, and with what is logged of it', async (code, failure) => {
    const { app, lines } = start(() => Promise.reject(failure))

    const response = await app.handle(withId(graphql(query), 'abc-123'), '192.0.2.1')

    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code, requestId: 'abc-123' } }] })
    expect(lines()).toMatchObject([{ level: 50, requestId: 'abc-123', msg: 'unexpected error' }])
  })

  it('is told with what REST logs', async () => {
    const { app, lines } = start(() => Promise.reject(new Error('a bug')))

    const response = await app.handle(withId(new Request('http://gateway/v1/organizations'), 'abc'), '192.0.2.1')

    expect(response.status).toBe(500)
    expect(lines()).toMatchObject([{ requestId: 'abc', msg: 'unexpected error' }])
  })

  it('is not told with what callers can mend themselves', async () => {
    const { app } = start(noRows)

    const response = await app.handle(graphql('{ nothing }'), '192.0.2.1')

    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] })
    expect(JSON.stringify(await (await app.handle(graphql('{'), '192.0.2.1')).json())).not.toContain('requestId')
  })

  it('is not mixed up between requests at the same time', async () => {
    const { app } = start(async () => {
      await new Promise((resolve) => setTimeout(resolve, 10 * Math.random()))
      throw new Error('a bug')
    })
    const ids = Array.from({ length: 50 }, (_, i) => `request-${i}`)

    const answers = await Promise.all(
      ids.map(async (id) => (await app.handle(withId(graphql(query), id), '192.0.2.1')).json()),
    )

    expect(answers.map(({ errors }) => errors[0].extensions.requestId)).toEqual(ids)
  })
})

describe('each request by HTTP', () => {
  const authenticate: AppOptions['authenticate'] = async (headers) => {
    const outcome = headers.get('x-xurrent-account')
    if (outcome === 'unknown') throw missingToken()
    if (outcome === 'too many') throw new RateLimited('Too many', 7)
    if (outcome === 'down') throw new DatabaseUnavailable(new Error('down'))
    return { account: 7, permissions: outcome === 'forbidden' ? new Set() : allPermissions, key: undefined }
  }
  let server: RunningServer | undefined
  afterEach(() => server?.close(0))

  async function serve(run: Run, given: Partial<AppOptions> = {}) {
    const { app, lines, logged } = start(run, { authenticate, ...given })
    server = await listen({ ...serverOptions, handler: app.handler })
    return { url: server.url, lines, logged }
  }

  const json = (body: object, headers = {}) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer secret', ...headers },
    body: JSON.stringify(body),
  })
  const read = 'query Read { organizations { totalCount } }'
  const failing: Run = () => Promise.reject(new Error('a bug'))

  it.each<[what: string, path: string, init: RequestInit, line: object, run?: Run]>([
    [
      'GraphQL by name',
      '/graphql?token=secret',
      json({ query: read }),
      {
        method: 'POST',
        path: '/graphql',
        door: 'graphql',
        operation: 'Read',
        status: 200,
        outcome: 'error',
        statements: 1,
        account: 7,
      },
      failing,
    ],
    [
      'GraphQL without a name',
      '/graphql',
      json({ query: '{ __typename }' }),
      { door: 'graphql', operation: undefined, status: 200, outcome: 'ok', statements: 0, account: 7 },
    ],
    [
      'one operation of several',
      '/graphql',
      json({ query: 'query A { __typename } query B { __typename }', operationName: 'B' }),
      { operation: 'B', outcome: 'ok' },
    ],
    [
      'a document that is none',
      '/graphql',
      json({ query: '{' }),
      { door: 'graphql', status: 200, outcome: 'refused', statements: 0, account: 7 },
    ],
    [
      'a document that does not fit',
      '/graphql',
      json({ query: 'query Wrong { nothing }' }),
      { operation: 'Wrong', outcome: 'refused' },
    ],
    [
      'a mutation that is refused as data',
      '/graphql',
      json({ query: 'mutation Add { removeContact(input: { id: 1 }) { __typename } }' }),
      { operation: 'Add', status: 200, outcome: 'refused' },
    ],
    [
      'GraphQL without a permission',
      '/graphql',
      json({ query: read }, { 'x-xurrent-account': 'forbidden' }),
      { operation: 'Read', status: 200, outcome: 'forbidden' },
    ],
    [
      'GraphQL without a token',
      '/graphql',
      json({ query: read }, { 'x-xurrent-account': 'unknown' }),
      { door: 'graphql', operation: undefined, status: 401, outcome: 'unauthenticated', account: undefined },
    ],
    [
      'GraphQL without a database',
      '/graphql',
      json({ query: read }),
      { operation: 'Read', outcome: 'unavailable' },
      () => Promise.reject(new DatabaseUnavailable(new Error('away'))),
    ],
    ['GraphQL in a form', '/graphql', { method: 'POST', body: 'a' }, { status: 415, outcome: 'refused' }],
    [
      'REST',
      '/v1/organizations?fields=id',
      { headers: { authorization: 'Bearer secret' } },
      {
        method: 'GET',
        path: '/v1/organizations',
        door: 'rest',
        operation: 'GET /organizations',
        status: 200,
        outcome: 'ok',
        statements: 2,
        account: 7,
      },
    ],
    [
      'the head of REST',
      '/v1/organizations/1.json',
      { method: 'HEAD' },
      { method: 'HEAD', operation: 'GET /organizations/:organization_id', status: 404, outcome: 'refused' },
    ],
    [
      'REST without a token',
      '/v1/organizations/1/contacts',
      { headers: { 'x-xurrent-account': 'unknown' } },
      {
        operation: 'GET /organizations/:organization_id/contacts',
        status: 401,
        outcome: 'unauthenticated',
        statements: 0,
        account: undefined,
      },
    ],
    [
      'too much REST',
      '/v1/organizations',
      { headers: { 'x-xurrent-account': 'too many' } },
      { status: 429, outcome: 'rate_limited' },
    ],
    [
      'REST without a database',
      '/v1/organizations',
      { headers: { 'x-xurrent-account': 'down' } },
      { status: 503, outcome: 'unavailable' },
    ],
    ['REST that fails', '/v1/organizations', {}, { status: 500, outcome: 'error' }, failing],
    [
      'REST that is not there',
      '/v1/nothing',
      {},
      { door: 'rest', operation: undefined, status: 404, outcome: 'refused' },
    ],
    ['too large a body', '/v1/organizations', { method: 'POST', body: ' '.repeat(300_000) }, { status: 413 }],
    ['what takes too long', '/v1/organizations', {}, { status: 504, outcome: 'timeout' }, never],
    ['nothing', '/nowhere', {}, { door: undefined, path: '/nowhere', status: 404, outcome: 'refused' }],
  ])('is told by one line without anything of the caller: %s', async (_what, path, init, line, run = noRows) => {
    const { url, lines, logged } = await serve(run, { deadlines: { requestMs: 300 } })

    const response = await fetch(url + path, init)
    await response.text()

    const requests = () => lines().filter(({ msg }) => msg === 'request')
    await vi.waitUntil(() => requests().length > 0)
    expect(requests()).toEqual([
      expect.objectContaining({
        level: 30,
        requestId: response.headers.get('x-request-id'),
        ms: expect.any(Number),
        ...Object.fromEntries(Object.entries(line).filter(([, value]) => value !== undefined)),
      }),
    ])
    for (const [name, value] of Object.entries(line))
      if (value === undefined) expect(requests()[0]).not.toHaveProperty(name)
    expect(logged.join('')).not.toMatch(/secret|Bearer|fields=/)
  })

  it('is told by one line also when its caller has gone', async () => {
    const { url, lines } = await serve(never)
    const controller = new AbortController()
    const sent = fetch(`${url}/v1/organizations`, { signal: controller.signal }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 50))

    controller.abort()
    await sent

    await vi.waitUntil(() => lines().length === 1)
    expect(lines()[0]).toMatchObject({ path: '/v1/organizations', outcome: 'refused', account: 7 })
    expect(lines()[0]).not.toHaveProperty('status')
  })

  it('has its id in the answer also when it is no HTTP', async () => {
    const { url, lines } = await serve(noRows)

    const { head, status } = await exchange({ url }, ['BREW / HTCPCP/1.0\r\n\r\n'])

    const [, id] = /^x-request-id: (\S+)$/im.exec(head)!
    expect(status).toBe(400)
    expect(lines()).toMatchObject([{ requestId: id, status: 400, outcome: 'refused' }])
  })

  it('may bring its id', async () => {
    const { url, lines } = await serve(noRows)

    const ids = await Promise.all(
      ['mine:1', 'a b'].map(async (id) => {
        const response = await fetch(`${url}/nowhere`, { headers: { 'x-request-id': id } })
        return response.headers.get('x-request-id')
      }),
    )

    expect(ids).toEqual(['mine:1', expect.stringMatching(/^[\da-f-]{36}$/)])
    await vi.waitUntil(() => lines().length === 2)
    expect(lines().map(({ requestId }) => requestId)).toEqual(expect.arrayContaining(ids))
  })

  it('is told only to those who look closely when it is a probe', async () => {
    const { url, lines } = await serve(noRows)

    await (await fetch(`${url}/health/ready`)).text()

    await vi.waitUntil(() => lines().length > 0)
    expect(lines()).toMatchObject([{ level: 20, path: '/health/ready', status: 200 }])
  })
})
