import { connect } from 'node:net'
import type { ExecutionResult } from 'graphql'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { EntryRefusal } from '../../src/auth/gate.ts'
import type { Executed } from '../../src/graphql/handler.ts'
import type { ResultStream } from '../../src/graphql/result-stream.ts'
import { createWebSockets, type WebSocketsOptions } from '../../src/graphql/websocket.ts'
import { type Incoming, jsonAnswer } from '../../src/http/message.ts'
import { listen } from '../../src/http/server.ts'
import { serverOptions } from '../support/app.ts'
import { openRaw } from '../support/events.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Results that are there, and others until they are returned. */
function resultsOf(first: ExecutionResult[]) {
  const { promise, resolve } = Promise.withResolvers<void>()
  let place = 0
  let returned = false
  const results = {
    async next() {
      if (!returned && place < first.length) return { value: first[place++]!, done: false }
      await promise
      return { value: undefined, done: true }
    },
    async return() {
      returned = true
      resolve()
      return { value: undefined, done: true as const }
    },
    throw: async () => ({ value: undefined, done: true as const }),
    [Symbol.asyncIterator]() {
      return this
    },
  }
  return {
    results: results as unknown as ResultStream,
    isReturned: () => returned,
    pulled: () => place,
  }
}

async function serve(given: Partial<WebSocketsOptions> = {}) {
  const asked: Incoming[] = []
  const sockets = createWebSockets({
    enter: async () => undefined,
    async execute(request): Promise<Executed> {
      asked.push(request)
      return jsonAnswer(200, { data: { body: request.body } })
    },
    maxMessageBytes: 4096,
    ...given,
  })
  const server = await listen({
    ...serverOptions,
    handler: {
      handle: async ({ pathname }) => jsonAnswer(200, { pathname }),
      refuse: (_, { status, message }) => jsonAnswer(status, { message }),
      isUpgradable: (pathname) => pathname === '/graphql',
      upgrade: (upgrade) => sockets.accept(upgrade),
      stopping: () => sockets.close(),
    },
  })
  closing.push(() => server.close(0))
  const open = (options: { protocol?: string | string[]; path?: string; headers?: Record<string, string> } = {}) => {
    const { protocol = 'graphql-transport-ws', path = '/graphql', headers = {} } = options
    const socket = new WebSocket(server.url.replace('http', 'ws') + path, protocol, { headers })
    closing.unshift(() => socket.terminate())
    const messages: unknown[] = []
    socket.on('message', (data) => messages.push(JSON.parse(String(data))))
    socket.on('error', () => {})
    const closed = new Promise<[code: number, reason: string]>((resolve) =>
      socket.once('close', (code, reason) => resolve([code, String(reason)])),
    )
    const opened = new Promise((resolve) => socket.once('open', resolve))
    const send = (...all: (object | string | Buffer)[]) => {
      for (const one of all) socket.send(typeof one === 'string' || Buffer.isBuffer(one) ? one : JSON.stringify(one))
    }
    return { socket, messages, closed, opened, send }
  }
  const begin = async (payload?: object) => {
    const client = open()
    await client.opened
    client.send({ type: 'connection_init', payload })
    await vi.waitUntil(() => client.messages.length === 1)
    client.messages.length = 0
    return client
  }
  return { server, asked, open, begin }
}

const subscribe = (id: string, query = '{ __typename }') => ({ id, type: 'subscribe', payload: { query } })

describe('a WebSocket', () => {
  it('serves each operation as a request by POST, with what says who calls', async () => {
    const { open, asked } = await serve()
    const { opened, send, messages } = open({ headers: { authorization: 'Bearer header', 'x-other': '1' } })
    await opened

    send({
      type: 'connection_init',
      payload: { Authorization: 'Bearer params', 'X-Xurrent-Account': 'acme', host: 'x' },
    })
    await vi.waitUntil(() => messages.length === 1)
    send(subscribe('1'))
    await vi.waitUntil(() => messages.length === 3)

    const [request] = asked
    expect(request).toMatchObject({ method: 'POST', pathname: '/graphql', body: '{"query":"{ __typename }"}' })
    expect(Object.fromEntries(request!.headers.entries())).toEqual({
      'content-type': 'application/json',
      accept: 'application/graphql-response+json',
      authorization: 'Bearer params',
      'x-xurrent-account': 'acme',
    })
    expect(messages).toEqual([
      { type: 'connection_ack' },
      { id: '1', type: 'next', payload: { data: { body: '{"query":"{ __typename }"}' } } },
      { id: '1', type: 'complete' },
    ])
  })

  it('takes who calls from the headers of the upgrade as well', async () => {
    const { open, asked } = await serve()
    const { opened, send, messages } = open({ headers: { authorization: 'Bearer header' } })
    await opened
    send({ type: 'connection_init' })
    await vi.waitUntil(() => messages.length === 1)
    send(subscribe('1'))
    await vi.waitUntil(() => messages.length === 3)

    expect(asked[0]!.headers.get('authorization')).toBe('Bearer header')
  })

  it('tells what was not executed as an error, as it would be told by HTTP', async () => {
    const errors = [{ message: 'No.', locations: [{ line: 1, column: 2 }], extensions: { code: 'BAD_USER_INPUT' } }]
    const { begin } = await serve({ execute: async () => jsonAnswer(400, { errors }) })
    const { send, messages } = await begin()

    send(subscribe('1'))
    await vi.waitUntil(() => messages.length > 0)

    expect(messages).toEqual([{ id: '1', type: 'error', payload: errors }])
  })

  it('tells what was executed with errors as a result', async () => {
    const result = { data: null, errors: [{ message: 'No.', path: ['a'], extensions: { code: 'FORBIDDEN' } }] }
    const { begin } = await serve({ execute: async () => jsonAnswer(200, result) })
    const { send, messages } = await begin()

    send(subscribe('1'))
    await vi.waitUntil(() => messages.length === 2)

    expect(messages).toEqual([
      { id: '1', type: 'next', payload: result },
      { id: '1', type: 'complete' },
    ])
  })

  it.each<[string, (client: Awaited<ReturnType<Awaited<ReturnType<typeof serve>>['begin']>>) => void]>([
    ['completed', ({ send }) => send({ id: '1', type: 'complete' })],
    ['closed', ({ socket }) => socket.close()],
    ['cut', ({ socket }) => socket.terminate()],
  ])('lets go of a stream that is %s by its client', async (_, end) => {
    const { results, isReturned } = resultsOf([{ data: { a: 1 } }])
    const { begin } = await serve({ execute: async () => ({ status: 200, headers: {}, results }) })
    const client = await begin()
    client.send(subscribe('1'))
    await vi.waitUntil(() => client.messages.length === 1)

    end(client)

    await vi.waitUntil(isReturned)
  })

  it('lets go of a stream that was completed before it began', async () => {
    const { results, isReturned, pulled } = resultsOf([{ data: { a: 1 } }])
    const go = Promise.withResolvers<void>()
    const execute = vi.fn(async () => {
      await go.promise
      return { status: 200, headers: {}, results }
    })
    const { begin } = await serve({ execute })
    const { send, messages } = await begin()
    send(subscribe('1'))
    await vi.waitUntil(() => execute.mock.calls.length === 1)
    send({ id: '1', type: 'complete' }, { type: 'ping' })
    await vi.waitUntil(() => messages.length === 1)

    go.resolve()

    await vi.waitUntil(isReturned)
    expect(pulled()).toBe(0)
  })

  it('pulls no more results than its client reads, and cuts a client that does not answer', async () => {
    const text = 'x'.repeat(64 * 1024)
    const { results, isReturned, pulled } = resultsOf(Array.from({ length: 2000 }, () => ({ data: { text } })))
    const { begin } = await serve({ execute: async () => ({ status: 200, headers: {}, results }), pingMs: 300 })
    const { send, socket } = await begin()
    socket.pause()

    send(subscribe('1'))

    await vi.waitUntil(isReturned, 10_000)
    expect(pulled()).toBeLessThan(1000)
  })

  it('cuts a client that sends and does not read', async () => {
    const { begin } = await serve()
    const { socket } = await begin()
    socket.pause()
    const raw = (socket as unknown as { _socket: ReturnType<typeof connect> })._socket
    const gone = new Promise((resolve) => raw.once('close', resolve))

    const payload = { text: 'x'.repeat(4000) }
    const message = JSON.stringify({ type: 'ping', payload })
    const flood = setInterval(() => {
      for (let i = 0; i < 500; i += 1) socket.send(message, () => {})
    }, 1)
    await gone
    clearInterval(flood)
  }, 60_000)

  it('cuts a client that has gone without a word, and keeps one that is silent', async () => {
    const { begin } = await serve({ pingMs: 50 })
    const there = await begin()
    const gone = await begin()
    // It answers no ping.
    gone.socket.pause()
    let pings = 0
    there.socket.on('ping', () => {
      pings += 1
    })

    await vi.waitUntil(() => pings > 5)
    gone.socket.resume()

    expect((await gone.closed)[0]).toBe(1006)
    expect(there.socket.readyState).toBe(WebSocket.OPEN)
  })

  it.each<[string, number, (client: ReturnType<Awaited<ReturnType<typeof serve>>['open']>) => void]>([
    ['what is no message', 4400, ({ send }) => send('hello')],
    ['a message of no type', 4400, ({ send }) => send({ id: '1' })],
    [
      'a subscription without a query',
      4400,
      ({ send }) => send({ type: 'connection_init' }, { id: '1', type: 'subscribe', payload: {} }),
    ],
    ['bytes', 4400, ({ send }) => send(Buffer.from('{"type":"connection_init"}'))],
    ['an operation before it was let in', 4401, ({ send }) => send(subscribe('1'))],
    ['a second beginning', 4429, ({ send }) => send({ type: 'connection_init' }, { type: 'connection_init' })],
    ['a message that is too long', 1009, ({ send }) => send({ type: 'ping', payload: { a: 'x'.repeat(5000) } })],
  ])('closes on %s with %i', async (_, code, act) => {
    const { open } = await serve()
    const client = open()
    await client.opened

    act(client)

    expect((await client.closed)[0]).toBe(code)
  })

  it('closes on the id of an operation that goes on', async () => {
    const { results, isReturned } = resultsOf([])
    const { begin } = await serve({ execute: async () => ({ status: 200, headers: {}, results }) })
    const { send, closed } = await begin()

    send(subscribe('1'), subscribe('1'))

    expect((await closed)[0]).toBe(4409)
    await vi.waitUntil(isReturned)
  })

  it('closes on a client that does not begin', async () => {
    const { open } = await serve({ initMs: 50 })

    expect((await open().closed)[0]).toBe(4408)
  })

  it('closes on a client of another protocol', async () => {
    const { open } = await serve()

    expect((await open({ protocol: ['graphql-ws', 'other'] }).closed)[0]).not.toBe(1000)
    expect((await open({ protocol: [] }).closed)[0]).toBe(4406)
  })

  it.each<[EntryRefusal['status'], number]>([
    [400, 4400],
    [401, 4401],
    [403, 4403],
    [429, 1013],
    [503, 1013],
  ])('closes on who would be refused with %i, with %i', async (status, code) => {
    const refusal = { status, message: 'No.', code: 'FORBIDDEN', headers: {} } as const
    const { open } = await serve({ enter: async () => refusal })
    const { opened, send, closed, messages } = open()
    await opened

    send({ type: 'connection_init' })

    expect(await closed).toEqual([code, 'No.'])
    expect(messages).toEqual([])
  })

  it('refuses the hundred-and-first operation, and goes on with the others', async () => {
    const streams: ReturnType<typeof resultsOf>[] = []
    const execute = async () => {
      const stream = resultsOf([{ data: { a: 1 } }])
      streams.push(stream)
      return { status: 200, headers: {}, results: stream.results }
    }
    const { begin } = await serve({ execute })
    const { send, messages, closed, socket } = await begin()

    send(...Array.from({ length: 101 }, (_, i) => subscribe(String(i))))
    await vi.waitUntil(() => messages.length === 101)

    expect(messages.filter((one) => (one as { type: string }).type === 'error')).toEqual([
      {
        id: '100',
        type: 'error',
        payload: [
          {
            message: 'The connection has 100 operations; no more are allowed.',
            extensions: { code: 'RATE_LIMITED' },
          },
        ],
      },
    ])
    socket.close()
    await closed
    await vi.waitUntil(() => streams.length === 100 && streams.every(({ isReturned }) => isReturned()))
  })

  it('closes when something goes wrong by accident', async () => {
    const { begin } = await serve({ execute: () => Promise.reject(new Error('secret')) })
    const { send, closed } = await begin()

    send(subscribe('1'))

    expect(await closed).toEqual([4500, 'Internal server error'])
  })

  it('is closed when the server stops', async () => {
    const { begin, server } = await serve()
    const { closed } = await begin()

    const stopped = server.close(60_000)

    expect(await closed).toEqual([1001, 'The gateway is stopping.'])
    await stopped
  })

  it('that is half open does not keep the server from stopping', async () => {
    const { begin, server } = await serve()
    const { socket } = await begin()
    socket.pause()

    await server.close(300)
  })
})

describe('a request to upgrade', () => {
  const ask = async (head: string) => {
    const { server } = await serve()
    const { socket, told, closed } = openRaw(server.url)
    socket.write(`${head}\r\nhost: gateway\r\n\r\n`)
    await vi.waitUntil(() => told.text.includes('\r\n\r\n'))
    socket.end()
    await closed
    return told.text
  }
  const key = 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13'

  it.each([
    ['at another path', `GET /other HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}`],
    [
      'to HTTP/2',
      'GET /graphql HTTP/1.1\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk',
    ],
    ['by another method', `OPTIONS /graphql HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}`],
  ])('%s is a request like any other', async (_, head) => {
    expect(await ask(head)).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it.each([
    ['without a key', 'GET /graphql HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket', 400],
    [
      'of another version',
      'GET /graphql HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 3',
      400,
    ],
    [
      'from a host that is none',
      `GET /graphql HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}\r\nhost: a b`,
      400,
    ],
  ])('%s is refused', async (_, head, status) => {
    expect(await ask(head)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })

  it('that breaks off leaves nothing behind', async () => {
    const { server, begin } = await serve()
    for (let i = 0; i < 50; i += 1) {
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(`GET /graphql HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}\r\n\r\n`)
      if (i % 2 === 0) socket.resetAndDestroy()
      else socket.end('\x81')
    }

    const { send, messages } = await begin()
    send(subscribe('1'))

    await vi.waitUntil(() => messages.length === 2)
  })
})
