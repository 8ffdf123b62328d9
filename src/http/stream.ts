import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Outgoing, Streamed } from './message.ts'

// Answers that go on for as long as somebody reads them.

/** Keeps streams from looking dead, by one timer for all. */
export function createHeartbeats(everyMs: number) {
  const alive = new Map<ServerResponse, string>()
  const timer = setInterval(() => {
    // Who has not read the last one gets no more.
    for (const [res, heartbeat] of alive) if (res.writableLength === 0) res.write(heartbeat)
  }, everyMs).unref()
  return {
    begin: (res: ServerResponse, heartbeat: string) => alive.set(res, heartbeat),
    end: (res: ServerResponse) => alive.delete(res),
    stop: () => clearInterval(timer),
  }
}

interface Sending {
  heartbeats: Pick<ReturnType<typeof createHeartbeats>, 'begin' | 'end'>
  /** How long a caller may leave unread what it was sent; then its connection is cut. */
  readTimeoutMs: number
}

/** Sends what comes no faster than it is read, after the head, which has been written. Ends the stream with the connection. */
export async function sendStream(
  req: IncomingMessage,
  res: ServerResponse,
  stream: Streamed,
  { heartbeats, readTimeoutMs }: Sending,
): Promise<void> {
  if (req.method === 'HEAD' || res.closed || res.destroyed) {
    await stream.return()
    res.end()
    return
  }
  const end = () => {
    heartbeats.end(res)
    stream.return().catch(() => {})
  }
  res.once('close', end)
  heartbeats.begin(res, stream.heartbeat)
  try {
    for await (const chunk of stream) {
      if (res.closed) break
      if (!res.write(chunk)) await drained(res, readTimeoutMs)
    }
  } finally {
    heartbeats.end(res)
  }
  if (!res.closed) res.end()
}

/** Resolves when all was read that was to be sent, or when nobody will read it. */
function drained(res: ServerResponse, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => res.destroy(), timeoutMs)
    const done = () => {
      clearTimeout(timer)
      res.off('drain', done).off('close', done)
      resolve()
    }
    res.on('drain', done).on('close', done)
    if (res.closed) done()
  })
}

/** Answers on a connection that `node:http` has let go of, and closes it. */
export function refuseUpgrade(socket: Duplex, { status, headers, body = '' }: Outgoing): void {
  const fields = { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}
