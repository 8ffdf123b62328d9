import type { Socket } from 'node:net'
import type { Listener } from '../../http/listener.ts'
import type { ServerOptions } from '../../http/server.ts'

/** Connections for a server that come from another process. */
export interface Source {
  take(socket: Socket): void
  readonly open: NonNullable<ServerOptions['openListener']>
}

export function createSource(maxConnections: number): Source {
  let bring: ((socket: Socket) => void) | undefined
  let open = 0
  return {
    take(socket) {
      if (!bring || open >= maxConnections) return void socket.destroy()
      open += 1
      socket.once('close', () => {
        open -= 1
      })
      bring(socket)
    },
    async open(server): Promise<Listener> {
      // A server of http minds its timeouts from when it listens.
      server.emit('listening')
      bring = (socket) => server.emit('connection', socket)
      // Whoever brings them has ended before.
      return { url: '', stop: async () => {} }
    },
  }
}
