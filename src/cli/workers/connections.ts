import type { Worker } from 'node:cluster'
import { createServer, type Socket } from 'node:net'
import { type Listener, listenOn } from '../../http/listener.ts'
import type { ToWorker } from './messages.ts'

export interface Connections {
  /** Begins to accept; returns the origin. Connections wait until there is a worker. */
  open(host: string, port: number): Promise<string>
  /** It takes connections from now on; one at a time, so that one that is stuck keeps none waiting. */
  join(worker: Worker): void
  /** It has the one that it was sent. */
  taken(worker: Worker): void
  /** What it has not taken goes to another. */
  leave(worker: Worker): void
  /** Accepts no more; resolves when workers have taken all. */
  stop(): Promise<void>
}

/** How long connections may wait for a worker when no more are accepted. */
const lastWaitMs = 500

/** Accepts connections, and hands them to workers in turn. */
export function createConnections(maxWaiting: number): Connections {
  /** In the order of their turns. */
  const free = new Set<Worker>()
  const waiting: Socket[] = []
  const sent = new Map<Worker, Socket>()
  let listener: Listener | undefined
  let whenNoneIsLeft = () => {}

  const hand = () => {
    for (const worker of free) {
      const socket = waiting.shift()
      if (!socket) break
      free.delete(worker)
      sent.set(worker, socket)
      // When it fails, the worker is about to leave.
      worker.send({ kind: 'connection' } satisfies ToWorker, socket, { keepOpen: true }, () => {})
    }
    if (waiting.length === 0 && sent.size === 0) whenNoneIsLeft()
  }

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    socket.on('error', () => {})
    waiting.push(socket)
    hand()
  })
  server.maxConnections = maxWaiting
  return {
    async open(host, port) {
      listener = await listenOn(server, host, port)
      return listener.url
    },
    join(worker) {
      free.add(worker)
      hand()
    },
    taken(worker) {
      // The worker has it open by itself.
      sent.get(worker)?.destroy()
      if (sent.delete(worker)) free.add(worker)
      hand()
    },
    leave(worker) {
      free.delete(worker)
      const socket = sent.get(worker)
      sent.delete(worker)
      if (socket) waiting.unshift(socket)
      hand()
    },
    async stop() {
      await listener?.stop()
      if (waiting.length === 0 && sent.size === 0) return
      await new Promise<void>((resolve) => {
        whenNoneIsLeft = resolve
        setTimeout(resolve, lastWaitMs)
      })
      for (const socket of [...waiting.splice(0), ...sent.values()]) socket.destroy()
    },
  }
}
