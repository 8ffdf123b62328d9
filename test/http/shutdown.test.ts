import { connect, type Socket } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { type Handler, listen, type RunningServer } from '../../src/http/server.ts'
import { serverOptions } from '../support/app.ts'
import { beginRequest, keptConnection } from '../support/gateway.ts'

/** Answers when it is told to, with as many bytes as the path says. */
async function start() {
  const waiting: (() => void)[] = []
  const letGo = () => {
    for (const go of waiting.splice(0)) go()
  }
  const handler: Handler = {
    async handle({ pathname }) {
      if (pathname.startsWith('/held')) await new Promise<void>((resolve) => waiting.push(resolve))
      return { status: 200, headers: {}, body: 'x'.repeat(Number(pathname.split('/').at(-1)) || 1) }
    },
    refuse: (_, { status }) => ({ status, headers: {} }),
  }
  return { server: await listen({ ...serverOptions, handler }), waiting, letGo }
}

/** A connection as it is, with all that came on it. */
function open(server: RunningServer) {
  const socket: Socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  const told = { text: '' }
  socket.on('data', (data) => {
    told.text += data.toString('latin1')
  })
  socket.on('error', () => {})
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const get = (path: string) => socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`)
  const answers = () => told.text.match(/HTTP\/1\.1 \d+/g) ?? []
  return { socket, told, get, answers, ended }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('a server that stops', () => {
  it('takes no more connections', async () => {
    const { server, waiting, letGo } = await start()
    const first = open(server)
    first.get('/held')
    await vi.waitUntil(() => waiting.length === 1)

    const closed = server.close(60_000)
    await pause(300)

    await expect(fetch(server.url)).rejects.toThrow()
    letGo()
    await Promise.all([closed, first.ended])
    expect(first.answers()).toEqual(['HTTP/1.1 200'])
  })

  it('serves what comes on a connection that is open, and says that it was the last', async () => {
    const { server } = await start()
    const kept = open(server)
    kept.get('/1')
    await vi.waitUntil(() => kept.answers().length === 1)
    const before = kept.told.text

    const closed = server.close(60_000)
    await pause(300)
    kept.get('/2')
    await Promise.all([closed, kept.ended])

    expect(before).toMatch(/^connection: keep-alive\r$/im)
    expect(kept.told.text.slice(before.length)).toMatch(/^connection: close\r$/im)
    expect(kept.answers()).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200'])
  })

  it('serves all that were sent behind each other, and says with the last that it was', async () => {
    const { server, waiting, letGo } = await start()
    const client = open(server)
    for (const path of ['/held/1', '/held/2', '/held/3']) client.get(path)
    await vi.waitUntil(() => waiting.length === 3)

    const closed = server.close(60_000)
    await pause(300)
    letGo()
    await Promise.all([closed, client.ended])

    expect(client.told.text.match(/^connection: .*$/gim)?.map((line) => line.trim().toLowerCase())).toEqual([
      'connection: keep-alive',
      'connection: keep-alive',
      'connection: close',
    ])
    expect(client.told.text).toMatch(/xxx$/)
  })

  it('ends connections on which nothing comes, soon but not at once', async () => {
    const { server } = await start()
    const [unused, kept] = [open(server), await keptConnection(server.url)]
    const begun = performance.now()

    await server.close(60_000)
    await kept.closed

    expect(performance.now() - begun).toBeGreaterThan(450)
    expect(performance.now() - begun).toBeLessThan(5_000)
    await unused.ended
  })

  it.each<[string, (server: RunningServer) => Promise<unknown>]>([
    ['whose request never ends', (server) => beginRequest(server.url, '{ __typename }')],
    [
      'who sends half of a head',
      async (server) => {
        open(server).socket.write('GET / HTT')
        await pause(100)
      },
    ],
    [
      'who never reads a long answer',
      async (server) => {
        const { socket, get } = open(server)
        get(`/${64 * 1024 * 1024}`)
        await new Promise((resolve) => socket.once('data', resolve))
        socket.removeAllListeners('data').pause()
      },
    ],
  ])('cuts a client %s, when its time is up', async (_, hang) => {
    const { server } = await start()
    const hung = Promise.resolve(hang(server))
    hung.catch(() => {})
    await hung
    const begun = performance.now()

    await server.close(1_500)

    expect(performance.now() - begun).toBeGreaterThan(1_400)
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  it('lets a slow reader have the whole of an answer', async () => {
    const { server } = await start()
    const bytes = 32 * 1024 * 1024
    const { socket, get } = open(server)
    socket.removeAllListeners('data')
    let read = 0
    get(`/${bytes}`)
    socket.on('data', (data) => {
      read += data.length
      socket.pause()
      setTimeout(() => socket.resume(), 2)
    })
    await vi.waitUntil(() => read > 0)

    await server.close(60_000)

    await vi.waitUntil(() => read > bytes)
  })

  it('tells probes on open connections that it stops', async () => {
    const { server, waiting, letGo } = await start()
    const [probe, other] = [open(server), open(server)]
    other.get('/held')
    probe.get('/health/ready')
    await vi.waitUntil(() => waiting.length === 1 && probe.answers().length === 1)

    const closed = server.close(60_000)
    probe.get('/health/ready')
    await vi.waitUntil(() => probe.answers().length === 2)
    letGo()
    await Promise.all([closed, probe.ended])

    expect(probe.answers()).toEqual(['HTTP/1.1 200', 'HTTP/1.1 503'])
    expect(probe.told.text).toMatch(/\{"status":"stopping","database":"up"\}$/)
  })
})
