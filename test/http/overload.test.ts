import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { Database } from '../../src/db/client.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { createOverload } from '../../src/http/overload.ts'
import { listen, type RunningServer, type ServerOptions } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { exchange } from '../support/gateway.ts'

/** A database whose statements wait until they are let go. */
function heldDatabase() {
  const waiting: (() => void)[] = []
  const db = {
    engine: 'postgres',
    run: () => new Promise((resolve) => waiting.push(() => resolve([[]]))),
    forRequest: () => db,
  } as unknown as Database
  const letGo = () => {
    for (const go of waiting.splice(0)) go()
  }
  return { db, waiting, letGo }
}

let server: RunningServer | undefined
afterEach(async () => {
  vi.restoreAllMocks()
  await server?.close(0)
  server = undefined
})

const authenticate = vi.fn(async () => ({ account: 1, permissions: allPermissions, key: undefined }))

async function start(overload: Partial<ServerOptions['overload']>, db: Database) {
  const logged: string[] = []
  const log = pino({ base: undefined }, { write: (line: string) => logged.push(line) })
  const handler = createApp(appOptionsFor({ db, account: 1, permissions: allPermissions }, { authenticate, log }))
  server = await listen({ ...serverOptions, handler, log, overload: { ...serverOptions.overload, ...overload } })
  return { url: server.url, lines: () => logged.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request') }
}

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: unknown
}

/** Sends a request on a connection of its own, or of the agent. */
function send(url: string, options: { method?: string; body?: string; agent?: Agent | false } = {}) {
  const { method = 'GET', body, agent = false } = options
  let cut = () => {}
  const answered = new Promise<Answer>((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const sent = request(url, { method, agent, headers }, async (response) =>
      resolve({ status: response.statusCode!, headers: response.headers, body: await readJson(response) }),
    )
    sent.on('error', reject)
    cut = () => sent.destroy()
    sent.end(body)
  })
  // Some are cut, and some are never answered.
  answered.catch(() => {})
  return { answered, cut }
}

const graphql = (url: string, options = {}) =>
  send(`${url}/graphql`, { method: 'POST', body: '{"query":"{ organization(id: 1) { name } }"}', ...options })

describe('beyond the requests that may be in progress', () => {
  const limit = 3

  async function full() {
    const { db, waiting, letGo } = heldDatabase()
    const { url, lines } = await start({ requests: limit }, db)
    const inProgress = Array.from({ length: limit }, () => graphql(url))
    await vi.waitUntil(() => waiting.length === limit)
    authenticate.mockClear()
    return { url, lines, waiting, letGo, inProgress }
  }

  it('further ones are turned away at once in the form of their door, and those in progress are served', async () => {
    const { url, letGo, inProgress } = await full()

    const viaGraphQL = await graphql(url).answered
    const viaRest = await send(`${url}/v1/organizations`).answered
    letGo()
    const served = await Promise.all(inProgress.map(({ answered }) => answered))

    expect(viaGraphQL).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    expect(viaGraphQL.body).toEqual({
      errors: [
        {
          message: '4 requests are in progress; at most 3 are allowed. Nothing was done: try again later.',
          extensions: { code: 'SERVICE_UNAVAILABLE', requestId: viaGraphQL.headers['x-request-id'] },
        },
      ],
    })
    expect(viaRest).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1', 'x-frame-options': 'DENY', 'x-request-id': expect.any(String) },
      body: { message: 'Service Unavailable' },
    })
    expect(served.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(authenticate).not.toHaveBeenCalled()
  })

  it('they are counted out when they are answered, so that as many are served as before', async () => {
    const { url, waiting, letGo, inProgress } = await full()
    expect((await graphql(url).answered).status).toBe(503)
    letGo()
    await Promise.all(inProgress.map(({ answered }) => answered))

    const next = Array.from({ length: limit }, () => graphql(url))
    await vi.waitUntil(() => waiting.length === limit)
    const above = await graphql(url).answered
    letGo()

    expect(above.status).toBe(503)
    expect((await Promise.all(next.map(({ answered }) => answered))).map(({ status }) => status)).toEqual(
      Array(limit).fill(200),
    )
  })

  it('one whose connection has gone makes place for another', async () => {
    const { url, waiting, letGo, inProgress } = await full()

    inProgress[0]!.cut()
    await expect(inProgress[0]!.answered).rejects.toThrow()

    await vi.waitFor(async () => {
      const next = graphql(url)
      await vi.waitUntil(() => waiting.length === limit + 1, { timeout: 200 })
      letGo()
      expect((await next.answered).status).toBe(200)
    })
  })

  it('those that wait behind each other on one connection are all counted out when it goes', async () => {
    const { db, waiting, letGo } = heldDatabase()
    const { url } = await start({ requests: limit }, db)
    const { connect } = await import('node:net')
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write('GET /v1/organizations/1 HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(limit))
    await vi.waitUntil(() => waiting.length === limit)
    expect((await graphql(url).answered).status).toBe(503)

    socket.destroy()
    await vi.waitUntil(async () => (await send(`${url}/nowhere`).answered).status === 404)

    const next = Array.from({ length: limit }, () => graphql(url))
    await vi.waitUntil(() => waiting.length === limit * 2)
    letGo()
    expect((await Promise.all(next.map(({ answered }) => answered))).map(({ status }) => status)).toEqual(
      Array(limit).fill(200),
    )
  })

  it('nobody waits for a body that will not be looked at', async () => {
    const { url } = await full()

    // The body never comes.
    const head = 'POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 200000\r\n\r\n'
    const { connect } = await import('node:net')
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(head)
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))

    expect(answer.toString()).toMatch(/^HTTP\/1\.1 503 /)
    socket.destroy()
  })

  it('a connection is kept for the next try', async () => {
    const { url, letGo, inProgress } = await full()
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })

    const refused = await graphql(url, { agent }).answered
    letGo()
    await Promise.all(inProgress.map(({ answered }) => answered))
    const again = await send(`${url}/nowhere`, { agent }).answered
    agent.destroy()

    expect(refused).toMatchObject({ status: 503, headers: { connection: 'keep-alive' } })
    expect(again.status).toBe(404)
  })

  it('probes are answered, and cost no place', async () => {
    const { url } = await full()

    const probes = await Promise.all(
      Array.from({ length: limit * 2 }, (_, i) => send(`${url}/health/${i % 2 ? 'live' : 'ready'}`).answered),
    )

    expect(probes.map(({ status }) => status)).toEqual(Array(limit * 2).fill(200))
  })

  it('each is told in the log by one line', async () => {
    const { url, lines, letGo, inProgress } = await full()
    const { headers } = await graphql(url).answered
    letGo()
    await Promise.all(inProgress.map(({ answered }) => answered))
    await vi.waitUntil(() => lines().length === limit + 1)

    expect(lines()[0]).toMatchObject({
      level: 30,
      requestId: headers['x-request-id'],
      door: 'graphql',
      status: 503,
      outcome: 'shed',
      statements: 0,
    })
  })
})

describe('while the event loop is late', () => {
  /** Keeps the loop from turning. */
  const block = (ms: number) => {
    const until = performance.now() + ms
    while (performance.now() < until);
  }

  it('requests are turned away with how late it is, and served again afterwards', async () => {
    const overload = createOverload({ requests: 10, eventLoopDelayMs: 50 })
    await new Promise((resolve) => setTimeout(resolve, 100))
    const before = overload.enter()

    block(200)
    const meanwhile = overload.enter()
    await vi.waitUntil(() => overload.enter() === undefined)
    overload.stop()

    expect(before).toBeUndefined()
    expect(meanwhile).toEqual({
      reason: 'event_loop',
      message: expect.stringMatching(
        /^The gateway is (1[5-9]\d|[2-9]\d\d) ms late with its work; at most 50 are allowed\. Nothing was done: try again later\.$/,
      ),
    })
  })

  it('they hear so by HTTP, and probes do not', async () => {
    const { db } = heldDatabase()
    const { url } = await start({ eventLoopDelayMs: 50 }, db)
    const blocking = setInterval(() => block(120), 1)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const get = (path: string) => exchange({ url }, [`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`])
    const answers = [get('/v1/organizations'), get('/health/live')]

    const [request, probe] = await Promise.all(answers).finally(() => clearInterval(blocking))

    expect(request).toMatchObject({ status: 503, json: { message: 'Service Unavailable' } })
    expect(probe).toMatchObject({ status: 200, json: { status: 'live' } })
  })
})
