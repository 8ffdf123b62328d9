import { type AddressInfo, Server as NetServer } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** What brings connections to a server. */
export interface Listener {
  /** With the port that was taken, e.g. `http://127.0.0.1:4000`. */
  readonly url: string
  /** Brings no more of them; those that were on their way have come by then. */
  stop(): Promise<void>
}

const quietTurns = 3
const quietTurnMs = 0.5
const maxQuietWaitMs = 500

/** Port 0 takes any free port. */
export async function listenOn(server: NetServer, host: string, port: number): Promise<Listener> {
  let accepted = 0
  server.on('connection', () => {
    accepted += 1
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    url: originOf(server.address() as AddressInfo),
    async stop() {
      takeFewer(server)
      await quietTurn(() => accepted)
      // The one of http would cut connections at once that have just become idle, and with them what is on its way.
      NetServer.prototype.close.call(server)
    },
  }
}

/** E.g. `http://127.0.0.1:4000`. */
export function originOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

/**
 * Lets the system take next to no connections on our behalf: who comes now is kept waiting, to be refused when listening has
 * ended. Node has no words for it; where it does not work, a few more connections may be reset.
 */
function takeFewer(server: NetServer): void {
  const { _handle: handle } = server as { _handle?: { listen?: (backlog: number) => number } }
  handle?.listen?.(0)
}

/**
 * Connections that the system has taken are reset when listening ends. They come in one by one with the turns of the loop,
 * so when short turns have brought none it is time to end it.
 */
async function quietTurn(accepted: () => number): Promise<void> {
  const until = performance.now() + maxQuietWaitMs
  // What is left of this turn brings none.
  await setImmediate()
  for (let quiet = 0; quiet < quietTurns && performance.now() < until; ) {
    const [begun, before] = [performance.now(), accepted()]
    await setImmediate()
    quiet = accepted() === before && performance.now() - begun < quietTurnMs ? quiet + 1 : 0
  }
}
