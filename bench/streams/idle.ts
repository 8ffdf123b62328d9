// How much memory idle streams take: the resident set of a gateway before and after so many were opened.
// node bench/streams/idle.ts [COUNT]

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const count = Number(process.argv[2] ?? 5000)
/** Opened and closed before: what serving takes at all is not theirs. */
const warmUp = 1000
const program = fileURLToPath(new URL('../../bin/gateway.js', import.meta.url))
const organization = 1
const subscription = `subscription { contactsChanged(organizationId: ${organization}) { __typename ... on ContactsChangeDetails { cursor } } }`
const atOnce = 50

/** Opens a stream, and tells when it has begun. */
type Open = (port: number) => Promise<Socket>

function open(port: number, request: string, isBegun: (text: string) => boolean, next?: Buffer): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    const onData = (data: Buffer) => {
      text += data.toString('latin1')
      if (/^HTTP\/1\.1 [45]/.test(text)) return reject(new Error(text))
      if (next && text.includes('\r\n\r\n')) {
        socket.write(next)
        next = undefined
      }
      if (!isBegun(text)) return
      socket.off('data', onData).resume()
      resolve(socket)
    }
    socket.on('data', onData).once('error', reject)
    socket.write(request)
  })
}

/** A message as a masked frame. */
function frame(message: object): Buffer {
  const body = Buffer.from(JSON.stringify(message))
  const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body])
}

const body = JSON.stringify({ query: subscription })
const ways: Record<string, Open> = {
  'GraphQL by server-sent events': (port) =>
    open(
      port,
      `POST /graphql HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      (text) => text.includes('\n:\n'),
    ),
  'GraphQL by WebSocket': (port) =>
    open(
      port,
      'GET /graphql HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n',
      (text) => text.includes('connection_ack'),
      frame({ type: 'connection_init' }),
    ).then((socket) => {
      socket.write(frame({ id: '1', type: 'subscribe', payload: { query: subscription } }))
      return socket
    }),
  'REST by server-sent events': (port) =>
    open(port, `GET /v1/organizations/${organization}/contacts/events HTTP/1.1\r\nhost: a\r\n\r\n`, (text) =>
      text.includes('event: ready'),
    ),
  'idle connections, to compare': (port) =>
    open(port, 'GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n', (text) => text.includes('}')),
}

const residentMb = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

async function openMany(many: number, port: number, way: Open): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < many) {
    const wanted = Math.min(atOnce, many - sockets.length)
    sockets.push(...(await Promise.all(Array.from({ length: wanted }, () => way(port)))))
  }
  return sockets
}

for (const [name, way] of Object.entries(ways)) {
  const gateway = spawn(process.execPath, [program, 'serve'], {
    env: { PATH: process.env.PATH, PORT: '0', DATABASE_URL: 'pglite:memory', LOG_LEVEL: 'error', RATE_LIMIT: 'off' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  const port = await new Promise<number>((resolve) => {
    gateway.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text
      const match = /ready: http:\/\/127\.0\.0\.1:(\d+)/.exec(printed)
      if (match) resolve(Number(match[1]))
    })
  })
  for (let i = 0; i < warmUp; i += atOnce) {
    for (const socket of await openMany(atOnce, port, way)) socket.destroy()
  }
  await pause(3000)
  const before = residentMb(gateway.pid!)
  const sockets = await openMany(count, port, way)
  await pause(3000)
  const after = residentMb(gateway.pid!)
  const each = ((after - before) * 1024) / count
  console.log(
    `${name}: ${count} take ${Math.round(after - before)} MB (${each.toFixed(1)} KB each; ${Math.round(before)} MB before)`,
  )
  for (const socket of sockets) socket.destroy()
  gateway.kill('SIGTERM')
  await new Promise((resolve) => gateway.once('close', resolve))
}
