import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { Cleanup } from './cleanup.ts'
import { readMessages } from './messages.ts'
import { type LinkProxy, startProxy } from './proxy.ts'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** A message of PostgreSQL's protocol; the first one of a client has no type. */
function message(type: string, body = ''): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(4 + body.length)
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body)])
}

const startup = message('', 'user')
const ready = message('Z', 'I')
const bind = (text: string) => Buffer.concat([message('B', text), message('S')])

/** Answers as PostgreSQL does, as far as the proxy can tell, through a proxy; remembers what it was asked. */
async function aLink(): Promise<{ proxy: LinkProxy; asked: () => string }> {
  let asked = ''
  const server = createServer((socket) => {
    let rest: Buffer = Buffer.alloc(0)
    let isStart = true
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      const read = readMessages(Buffer.concat([rest, chunk]), isStart)
      rest = read.rest
      for (const { type, body } of read.messages) {
        asked += body
        if (isStart || type === 'Sync') socket.write(ready)
        isStart = false
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup.add(() => server.close())
  const proxy = await startProxy(server.address() as { port: number })
  cleanup.add(() => proxy.close())
  return { proxy, asked: () => asked }
}

interface Caller {
  socket: Socket
  /** Resolves when so many bytes came, with their number, or when the connection is over. */
  receive(bytes: number): Promise<number>
  ended: Promise<string>
}

function call({ port }: LinkProxy): Caller {
  const socket = connect(port, '127.0.0.1')
  cleanup.add(() => socket.destroy())
  let received = 0
  socket.on('data', (chunk) => {
    received += chunk.length
  })
  const ended = new Promise<string>((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code!))
    socket.once('close', () => resolve('closed'))
  })
  return {
    socket,
    ended,
    async receive(bytes) {
      const end = performance.now() + 2000
      while (received < bytes && !socket.destroyed && performance.now() < end) await pause(5)
      return received
    },
  }
}

it('passes everything on', async () => {
  const { proxy } = await aLink()
  const { socket, receive } = call(proxy)
  socket.write(startup)
  socket.write(bind('a'))

  expect(await receive(2 * ready.length)).toBe(2 * ready.length)
})

it('passes nothing on while it stalls, and all of it afterwards', async () => {
  const { proxy, asked } = await aLink()
  const { socket, receive } = call(proxy)
  socket.write(startup)
  await receive(ready.length)

  await proxy.set({ kind: 'stall' })
  socket.write(bind('late'))
  const late = call(proxy)
  late.socket.write(startup)
  await pause(100)
  expect(asked()).toBe('user')

  await proxy.set({ kind: 'pass' })
  expect(await receive(2 * ready.length)).toBe(2 * ready.length)
  expect(await late.receive(ready.length)).toBe(ready.length)
})

it('refuses, and listens on the same port again', async () => {
  const { proxy } = await aLink()
  const before = call(proxy)
  before.socket.write(startup)
  await before.receive(ready.length)

  await proxy.set({ kind: 'refuse' })
  expect(await before.ended).toBe('closed')
  expect(await call(proxy).ended).toBe('ECONNREFUSED')

  await proxy.set({ kind: 'pass' })
  const after = call(proxy)
  after.socket.write(startup)
  expect(await after.receive(ready.length)).toBe(ready.length)
})

it.each([
  ['accept-and-close', 'closed'],
  ['reset', 'ECONNRESET'],
] as const)('%s ends connections that are there, and new ones', async (kind, end) => {
  const { proxy } = await aLink()
  const before = call(proxy)
  before.socket.write(startup)
  await before.receive(ready.length)

  await proxy.set({ kind })

  expect(await before.ended).toBe(end)
  expect(await call(proxy).ended).toBe(end)
})

it('cuts after so many bytes', async () => {
  const { proxy } = await aLink()
  await proxy.set({ kind: 'cut', bytes: ready.length + 2 })
  const { socket, receive, ended } = call(proxy)
  socket.write(startup)
  await receive(ready.length)
  socket.write(bind('a'))
  await ended

  expect(await receive(ready.length + 2)).toBe(ready.length + 2)
})

it('swallows the answer to what holds the text, after it was given', async () => {
  const { proxy, asked } = await aLink()
  await proxy.set({ kind: 'swallow-answer', containing: 'marked', times: 1 })
  const { socket, receive, ended } = call(proxy)
  socket.write(startup)
  socket.write(bind('plain'))
  await receive(2 * ready.length)

  const [head, tail] = [bind('marked').subarray(0, 8), bind('marked').subarray(8)]
  socket.write(head)
  await pause(20)
  socket.write(tail)
  await ended

  expect(await receive(2 * ready.length)).toBe(2 * ready.length)
  expect(asked()).toContain('marked')
  expect(proxy.swallowed).toBe(1)

  const next = call(proxy)
  next.socket.write(Buffer.concat([startup, bind('marked')]))
  expect(await next.receive(2 * ready.length)).toBe(2 * ready.length)
})
