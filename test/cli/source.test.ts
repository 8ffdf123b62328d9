import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, it, onTestFinished, vi } from 'vitest'
import { createSource } from '../../src/cli/workers/source.ts'
import { type Handler, listen } from '../../src/http/server.ts'
import { serverOptions } from '../support/app.ts'

const handler: Handler = {
  handle: async () => ({ status: 200, headers: {}, body: 'answered' }),
  refuse: (_, { status }) => ({ status, headers: {} }),
}

/** A server whose connections come from elsewhere, and who brings them. */
async function start(maxConnections: number) {
  const source = createSource(maxConnections)
  const server = await listen({ ...serverOptions, handler, openListener: source.open })
  const accepting = createServer(source.take)
  await new Promise<void>((resolve) => accepting.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void accepting.close())
  const { port } = accepting.address() as AddressInfo
  const open = (text: string) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write(text)
    onTestFinished(() => void socket.destroy())
    const told = { text: '' }
    socket.on('data', (data) => {
      told.text += data.toString('latin1')
    })
    const ended = new Promise<string>((resolve) => {
      socket.on('error', () => {})
      for (const end of ['end', 'close']) socket.once(end, () => resolve(told.text))
    })
    return { socket, told, ended }
  }
  return { server, open }
}

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

it('connections from another process are answered, also where the caller says no more', async () => {
  const { open } = await start(2)
  const half = open(get)
  half.socket.end()
  const broken = open('GET / HT')
  broken.socket.end()

  expect(await half.ended).toMatch(/^HTTP\/1\.1 200 .*answered$/s)
  expect(await broken.ended).toMatch(/^HTTP\/1\.1 400 /)
})

it('connections from another process are refused beyond as many as may be open', async () => {
  const { open } = await start(2)
  const first = [open(get), open(get)]
  await vi.waitUntil(() => first.every(({ told }) => told.text.endsWith('answered')))

  expect(await open(get).ended).toBe('')

  first[0]!.socket.destroy()
  await vi.waitUntil(async () => {
    const next = open(get)
    await Promise.race([next.ended, vi.waitUntil(() => next.told.text)])
    return next.told.text.endsWith('answered')
  })
})

it('connections from another process are ended when a head does not come to its end', async () => {
  const { open } = await start(1)

  expect(await open('GET / HT').ended).toMatch(/^HTTP\/1\.1 408 /)
})

it('connections from another process are served to their end by a server that stops', async () => {
  const { server, open } = await start(1)
  const kept = open(get)
  await vi.waitUntil(() => kept.told.text.endsWith('answered'))

  const closed = server.close(60_000)
  kept.socket.write(get)
  await Promise.all([closed, kept.ended])

  expect(kept.told.text.match(/^connection: \S+/gim)).toEqual(['Connection: keep-alive', 'connection: close'])
  expect(kept.told.text.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
})
