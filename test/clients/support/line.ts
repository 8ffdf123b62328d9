import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { url } from './organizations.ts'

/** A line to the gateway that a test can break: what is under way ends, and nothing comes through until it is mended. */
export async function openLine() {
  const sockets = new Set<Socket>()
  let isBroken = false
  const { port: target } = new URL(url)
  const server = createServer((near) => {
    if (isBroken) return near.destroy()
    const far = connect(Number(target), '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const breakOff = () => {
    isBroken = true
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(() => {
    breakOff()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return {
    url: url.replace(`:${target}/`, `:${port}/`),
    breakOff,
    mend() {
      isBroken = false
    },
  }
}
