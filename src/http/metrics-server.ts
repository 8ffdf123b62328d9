import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { originOf } from './listener.ts'

export interface MetricsServerOptions {
  host: string
  /** 0 takes any free port. */
  port: number
  contentType: string
  render(): Promise<string>
}

const path = '/metrics'

/** Serves metrics on a port of their own, which stays inside the network: nobody authenticates there. */
export async function listenForMetrics({ host, port, contentType, render }: MetricsServerOptions) {
  const server = createServer(async (req, res) => {
    const isRead = req.method === 'GET' || req.method === 'HEAD'
    if (req.url?.split('?', 1)[0] !== path) res.writeHead(404).end()
    else if (!isRead) res.writeHead(405, { allow: 'GET, HEAD' }).end()
    else {
      try {
        const text = await render()
        res.writeHead(200, { 'content-type': contentType }).end(text)
      } catch {
        res.writeHead(500).end()
      }
    }
  })
  server.maxConnections = 100
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    url: originOf(server.address() as AddressInfo) + path,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
