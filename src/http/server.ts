import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'

export interface ServerOptions {
  handle: (request: Request) => Promise<Response>
  host: string
  /** 0 takes any free port. */
  port: number
  log: Logger
}

export interface RunningServer {
  /** With the port that was taken, e.g. `http://127.0.0.1:4000`. */
  readonly url: string
  /** Takes no more connections, lets requests in progress end, and cuts what is left after `graceMs`. */
  close(graceMs: number): Promise<void>
}

const maxBodyBytes = 256 * 1024
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000

/** Serves a handler by HTTP/1.1. Bodies are read whole, bounded, and must be UTF-8. */
export async function listen({ handle, host, port, log }: ServerOptions): Promise<RunningServer> {
  let closing = false
  const server = createServer({ headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs }, (req, res) => {
    answer(req, res, handle, () => closing).catch((error: NodeJS.ErrnoException) => {
      // A caller that has gone away takes its connection along; anything else is worth knowing.
      if (!req.destroyed)
        log.error({ error: { type: error.name, code: error.code } }, 'a request could not be answered')
      res.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    close(graceMs) {
      closing = true
      return new Promise((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), graceMs)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
      })
    },
  }
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  handle: ServerOptions['handle'],
  isClosing: () => boolean,
): Promise<void> {
  const read = await readRequest(req)
  const response = read instanceof Refusal ? refuse(read) : await handle(read)
  res.statusCode = response.status
  res.setHeaders(response.headers)
  // What is left of a refused body is read past, so that the caller gets to see the answer.
  if (!req.complete) req.resume()
  if (isClosing() || !req.complete) res.setHeader('connection', 'close')
  res.end(Buffer.from(await response.arrayBuffer()))
}

/** A request that is answered before any handler sees it. */
class Refusal {
  readonly status: number
  readonly message: string
  constructor(status: number, message: string) {
    this.status = status
    this.message = message
  }
}

function refuse({ status, message }: Refusal): Response {
  return Response.json({ errors: [{ message, extensions: { code: 'BAD_USER_INPUT' } }] }, { status })
}

/** The origin of request targets does not matter here: nothing is told apart by it. */
const origin = 'http://gateway'

async function readRequest(req: IncomingMessage): Promise<Request | Refusal> {
  const { method = 'GET', url: target = '' } = req
  if (!target.startsWith('/') || !URL.canParse(origin + target))
    return new Refusal(400, 'The request target must be a path.')
  const body = method === 'GET' || method === 'HEAD' ? undefined : await readBody(req)
  if (body instanceof Refusal) return body
  const headers = new Headers()
  for (const [name, value] of Object.entries(req.headersDistinct)) {
    if (value && !name.startsWith(':')) headers.set(name, value.join(', '))
  }
  try {
    return new Request(origin + target, { method, headers, body: body || undefined })
  } catch {
    // TRACE and CONNECT, which the Request of the platform refuses.
    return new Refusal(405, `The method ${method} is not allowed.`)
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

async function readBody(req: IncomingMessage): Promise<string | Refusal> {
  const announced = Number(req.headers['content-length'] ?? 0)
  if (announced > maxBodyBytes) return tooLarge(announced)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    size += chunk.length
    if (size > maxBodyBytes) return tooLarge(size)
    chunks.push(chunk)
  }
  try {
    return utf8.decode(Buffer.concat(chunks))
  } catch {
    return new Refusal(400, 'The body is not valid UTF-8.')
  }
}

const tooLarge = (bytes: number) =>
  new Refusal(413, `The body has ${bytes} bytes or more; at most ${maxBodyBytes} are allowed.`)
