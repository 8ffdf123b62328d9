import { afterEach, describe, expect, it, vi } from 'vitest'
import { comment, eventStream, eventStreamHeaders } from '../../src/http/event-stream.ts'
import { jsonAnswer } from '../../src/http/message.ts'
import { type Handler, listen, type RunningServer, type ServerOptions } from '../../src/http/server.ts'
import type { Visit } from '../../src/telemetry/visit.ts'
import { serverOptions } from '../support/app.ts'
import { openRaw, TestStream } from '../support/events.ts'

const servers: RunningServer[] = []
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close(0))))

/** Serves the stream at /stream, and JSON elsewhere. */
async function serve(stream: TestStream, given: Partial<ServerOptions> = {}, more: Partial<Handler> = {}) {
  const told: Visit[] = []
  const handler: Handler = {
    handle: async ({ pathname }) =>
      pathname === '/stream' ? { status: 200, headers: eventStreamHeaders, stream } : jsonAnswer(200, { pathname }),
    refuse: (_, { status, message }) => jsonAnswer(status, { message }),
    finished: (visit) => told.push({ ...visit }),
    ...more,
  }
  const server = await listen({ ...serverOptions, handler, ...given })
  servers.push(server)
  const get = (path = '/stream', method = 'GET') => {
    const client = openRaw(server.url)
    client.socket.write(`${method} ${path} HTTP/1.1\r\nhost: gateway\r\n\r\n`)
    return client
  }
  return { server, told, get }
}

describe('an answer that is a stream', () => {
  it('is sent as it comes, and ends as HTTP wants it', async () => {
    const stream = new TestStream()
    const { get } = await serve(stream)
    const { told } = get()

    await vi.waitUntil(() => told.text.includes('\r\n\r\n'))
    stream.push('one')
    await vi.waitUntil(() => told.text.endsWith('3\r\none\r\n'))
    stream.push('two').end()
    await vi.waitUntil(() => told.text.endsWith('3\r\ntwo\r\n0\r\n\r\n'))

    expect(told.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(told.text).toMatch(/^content-type: text\/event-stream; charset=utf-8\r$/im)
    expect(told.text).toMatch(/^cache-control: .*no-cache/im)
    expect(told.text).toMatch(/^x-accel-buffering: no\r$/im)
    expect(told.text).not.toMatch(/^content-(length|encoding):/im)
  })

  it('leaves its connection for the next request', async () => {
    const stream = new TestStream().push('all').end()
    const { get } = await serve(stream)
    const { socket, told } = get()
    await vi.waitUntil(() => told.text.endsWith('0\r\n\r\n'))

    socket.write('GET /next HTTP/1.1\r\nhost: gateway\r\n\r\n')

    await vi.waitUntil(() => told.text.endsWith('{"pathname":"/next"}'))
  })

  it('closes the connection of a client that does not know where it would end', async () => {
    const stream = new TestStream().push('all').end()
    const { server } = await serve(stream)
    const { socket, told, closed } = openRaw(server.url)

    socket.write('GET /stream HTTP/1.0\r\nhost: gateway\r\n\r\n')
    await closed

    expect(told.text).toMatch(/\r\n\r\nall$/)
  })

  it('is returned when its client goes, at once', async () => {
    const stream = new TestStream().push('one')
    const { get } = await serve(stream)
    const { socket, told } = get()
    await vi.waitUntil(() => told.text.endsWith('one\r\n'))

    socket.destroy()

    await vi.waitUntil(() => stream.returned > 0)
  })

  it('is returned when its client went before it was there', async () => {
    const stream = new TestStream()
    const asked = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const { get, told } = await serve(
      stream,
      {},
      {
        async handle() {
          asked.resolve()
          await go.promise
          return { status: 200, headers: {}, stream }
        },
      },
    )
    const { socket } = get()
    await asked.promise
    socket.destroy()
    await vi.waitUntil(() => told.length === 1)
    go.resolve()

    await vi.waitUntil(() => stream.returned > 0)
    expect(stream.pulled).toBe(0)
  })

  it('is only begun for HEAD', async () => {
    const stream = new TestStream().push('one')
    const { get } = await serve(stream)
    const { socket, told } = get('/stream', 'HEAD')
    await vi.waitUntil(() => told.text.endsWith('\r\n\r\n'))
    socket.write('GET /next HTTP/1.1\r\nhost: gateway\r\n\r\n')
    await vi.waitUntil(() => told.text.endsWith('}'))

    expect(told.text).toMatch(/^content-type: text\/event-stream/im)
    expect(told.text).not.toContain('one')
    expect(stream).toMatchObject({ returned: 1, pulled: 0 })
  })

  it('shows that it is alive while nothing comes', async () => {
    const { get } = await serve(new TestStream(), { heartbeatMs: 20 })
    const { told } = get()

    await vi.waitUntil(() => told.text.split('3\r\n:\n\n\r\n').length > 3)
  })

  it('takes nothing more of its source than its client reads, and cuts a client that never does', async () => {
    const chunk = 'x'.repeat(64 * 1024)
    const stream = new TestStream()
    for (let i = 0; i < 2000; i += 1) stream.push(chunk)
    const { get } = await serve(stream, { readTimeoutMs: 1_000 })
    const { socket } = get()
    socket.pause()
    await vi.waitUntil(() => stream.pulled > 1)
    const begun = performance.now()

    await vi.waitUntil(() => stream.returned > 0, 10_000)

    // What the system keeps on its way is not ours.
    expect(stream.pulled).toBeLessThan(1000)
    expect(performance.now() - begun).toBeGreaterThan(900)
  })

  it('goes on when a slow client reads', async () => {
    const chunk = 'x'.repeat(64 * 1024)
    const stream = new TestStream()
    for (let i = 0; i < 400; i += 1) stream.push(chunk)
    stream.end()
    const { get } = await serve(stream, { readTimeoutMs: 20_000 })
    const { socket, told } = get()
    socket.pause()
    await vi.waitUntil(() => stream.pulled > 1)
    const held = stream.pulled
    socket.resume()

    await vi.waitUntil(() => told.text.endsWith('0\r\n\r\n'), 20_000)

    expect(held).toBeLessThan(400)
    expect(told.text.length).toBeGreaterThan(400 * chunk.length)
  })

  it('is no request in progress, and told of when it has begun', async () => {
    const stream = new TestStream()
    const { server, told, get } = await serve(stream, { overload: { requests: 1, eventLoopDelayMs: 60_000 } })
    const clients = [get(), get(), get()]
    await vi.waitUntil(() => told.length === 3)

    const other = await fetch(`${server.url}/other`)

    expect(other.status).toBe(200)
    expect(told.slice(0, 3).map(({ path, status }) => [path, status])).toEqual(Array(3).fill(['/stream', 200]))
    for (const { socket } of clients) socket.destroy()
    await vi.waitUntil(() => stream.returned === 3)
    expect(told.map(({ path }) => path)).toEqual(['/stream', '/stream', '/stream', '/other'])
  })

  it('ends with a last word when the server stops, which waits for it', async () => {
    const stream = new TestStream().push('one ')
    const { server, get } = await serve(stream, {}, { stopping: () => stream.push('bye').end() })
    const { told, closed } = get()
    await vi.waitUntil(() => told.text.includes('one '))

    await Promise.all([server.close(60_000), closed])

    expect(told.text).toMatch(/3\r\nbye\r\n0\r\n\r\n$/)
  })

  it('is cut when it does not end in time', async () => {
    const stream = new TestStream().push('one')
    const { server, get } = await serve(stream)
    const { told, closed } = get()
    await vi.waitUntil(() => told.text.includes('one'))

    await Promise.all([server.close(100), closed])

    await vi.waitUntil(() => stream.returned > 0)
  })

  it('comes and goes ten thousand times without a trace', async () => {
    const streams: TestStream[] = []
    const { get } = await serve(
      new TestStream(),
      {},
      {
        async handle() {
          const stream = new TestStream().push('one')
          streams.push(stream)
          return { status: 200, headers: {}, stream }
        },
      },
    )
    for (let round = 0; round < 100; round += 1) {
      const clients = Array.from({ length: 100 }, () => get())
      await Promise.all(
        clients.map(async ({ socket, told, closed }) => {
          await vi.waitUntil(() => told.text.includes('one'), { interval: 5, timeout: 10_000 })
          socket.destroy()
          await closed
        }),
      )
    }
    await vi.waitUntil(() => streams.every(({ returned }) => returned > 0), 10_000)

    expect(streams).toHaveLength(10_000)
  }, 120_000)
})

describe('a stream of events', () => {
  /** Brings two items, then waits until it is ended. */
  function source(failure?: Error) {
    let ended = () => {}
    const end = new Promise<void>((resolve) => {
      ended = resolve
    })
    let count = 0
    return {
      isReturned: false,
      async next(): Promise<IteratorResult<number, undefined>> {
        count += 1
        if (count <= 2) return { value: count, done: false }
        if (failure) throw failure
        if (count === 3) await end
        return { value: undefined, done: true }
      },
      async return() {
        this.isReturned = true
        ended()
      },
      ended,
    }
  }
  const parts = { first: comment, show: (item: number) => `data: ${item}\n\n`, end: (error: unknown) => `end ${error}` }

  it('begins with what it is to begin with, and ends with why', async () => {
    const texts: unknown[] = []
    for await (const text of eventStream({ ...parts, items: source(new Error('why')) })) texts.push(text)

    expect(texts).toEqual([':\n\n', 'data: 1\n\n', 'data: 2\n\n', 'end Error: why'])
  })

  it('ends its source, also while it waits for it, and says nothing more then', async () => {
    const items = source()
    const stream = eventStream({ ...parts, items })
    for (let i = 0; i < 3; i += 1) await stream.next()
    const waiting = stream.next()

    await stream.return()

    expect(items.isReturned).toBe(true)
    expect(await waiting).toEqual({ value: undefined, done: true })
    expect(await stream.next()).toEqual({ value: undefined, done: true })
  })
})
