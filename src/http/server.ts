import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'

/** Why a request could not be read. */
export interface Refusal {
  status: 400 | 405 | 413 | 415
  message: string
  /** Whether it is the body that cannot be read. */
  isBody?: boolean
}

export interface Handler {
  /** `address` is where the request comes from. */
  handle(request: Request, address: string): Promise<Response>
  /** Answers what could not be read, in the form that callers of the path expect. */
  refuse(pathname: string, refusal: Refusal, origin: string | undefined): Response
}

export interface ServerOptions {
  handler: Handler
  /** Bodies above this are refused. */
  maxBodyBytes: number
  maxConnections: number
  /** The origin of links in answers; undefined takes the Host header for it. */
  publicOrigin?: string | undefined
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

const timeouts = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  /** How often the two are looked at. */
  connectionsCheckingInterval: 1_000,
}
/** How long a caller may take to read an answer. */
const readTimeoutMs = 30_000
/** Requests that a connection may send before it has read the answers to those before. */
const maxPipelined = 10

const clientErrors: Record<string, [status: string, message: string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too long.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request took too long to arrive.'],
}
/** How much of a refused body is read past before the connection is cut. */
const maxReadPastBytes = 64 * 1024 * 1024
const maxReadPastMs = 5_000

/** Serves a handler by HTTP/1.1. Bodies are read whole, bounded, and must be UTF-8. */
export async function listen({
  handler,
  maxBodyBytes,
  maxConnections,
  publicOrigin,
  host,
  port,
  log,
}: ServerOptions): Promise<RunningServer> {
  let closing = false
  const server = createServer(timeouts, (req, res) => {
    if (!takesMore(req, res)) return
    answer(req, res, handler, { maxBodyBytes, publicOrigin }, () => closing).catch((error: NodeJS.ErrnoException) => {
      // A caller that has gone away takes its connection along; anything else is worth knowing.
      if (!req.socket.destroyed)
        log.error({ error: { type: error.name, code: error.code } }, 'a request could not be answered')
      res.destroy()
    })
  })
  server.maxConnections = maxConnections
  // What is not even HTTP gets an answer, too, and in JSON.
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const [status, message] = clientErrors[error.code ?? ''] ?? ['400 Bad Request', 'The request is not valid HTTP.']
    const body = JSON.stringify({ message })
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    )
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

const waiting = new WeakMap<object, number>()

/** Cuts off callers who send requests without reading answers, or who leave an answer unread: both are kept in memory. */
function takesMore({ socket }: IncomingMessage, res: ServerResponse): boolean {
  const before = waiting.get(socket) ?? 0
  if (before >= maxPipelined) {
    socket.destroy()
    return false
  }
  waiting.set(socket, before + 1)
  let timer: NodeJS.Timeout | undefined
  res.once('prefinish', () => {
    timer = setTimeout(() => socket.destroy(), readTimeoutMs)
  })
  res.once('close', () => {
    clearTimeout(timer)
    waiting.set(socket, (waiting.get(socket) ?? 1) - 1)
  })
  return true
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  handler: Handler,
  reading: Reading,
  isClosing: () => boolean,
): Promise<void> {
  const read = await readRequest(req, reading)
  const address = req.socket.remoteAddress ?? ''
  const response =
    read instanceof Request
      ? await handler.handle(read, address)
      : handler.refuse((req.url ?? '').split('?', 1)[0]!, read, req.headers.origin)
  res.statusCode = response.status
  res.setHeaders(response.headers)
  const body = Buffer.from(await response.arrayBuffer())
  if (isClosing() || !req.complete) res.setHeader('connection', 'close')
  if (!req.complete) {
    // A caller that looks for the answer only after all of its body loses it when the connection is closed meanwhile. So
    // the answer goes out at once, and the connection closes when what is left of the body has been read past.
    res.setHeader('content-length', body.length)
    res.write(body)
    await readPast(req)
  }
  res.end(res.headersSent ? undefined : body)
}

/** Reads a body to its end, or for as long and as far as is fair to ask. */
function readPast(req: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, maxReadPastMs)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    let bytes = 0
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxReadPastBytes) done()
    })
    req.once('close', done)
  })
}

/** Where the caller believes to be, for links in answers. */
const hostHeader = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i

type Reading = Pick<ServerOptions, 'maxBodyBytes' | 'publicOrigin'>

async function readRequest(req: IncomingMessage, { maxBodyBytes, publicOrigin }: Reading): Promise<Request | Refusal> {
  const { method = 'GET', url: target = '' } = req
  if ((req.headersDistinct.host?.length ?? 0) > 1) return { status: 400, message: 'There are several Host headers.' }
  const host = req.headers.host ?? 'localhost'
  if (!hostHeader.test(host)) return { status: 400, message: 'The Host header is not a host with an optional port.' }
  const url = (publicOrigin ?? `http://${host}`) + target
  if (!target.startsWith('/') || !URL.canParse(url))
    return { status: 400, message: 'The request target must be a path.' }
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    return { status: 415, message: `The content encoding ${encoding} is not taken; send the body as it is.` }
  }
  const body = method === 'GET' || method === 'HEAD' ? undefined : await readBody(req, maxBodyBytes)
  if (typeof body === 'object') return body
  const headers = new Headers()
  for (const [name, value] of Object.entries(req.headersDistinct)) if (value) headers.set(name, value.join(', '))
  try {
    return new Request(url, { method, headers, body: body || undefined })
  } catch {
    // TRACE, which the Request of the platform refuses.
    return { status: 405, message: `The method ${method} is not allowed.` }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

async function readBody(req: IncomingMessage, maxBodyBytes: number): Promise<string | Refusal> {
  const announced = Number(req.headers['content-length'] ?? 0)
  if (announced > maxBodyBytes) return tooLarge(announced, maxBodyBytes)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    size += chunk.length
    if (size > maxBodyBytes) return tooLarge(size, maxBodyBytes)
    chunks.push(chunk)
  }
  try {
    return utf8.decode(Buffer.concat(chunks))
  } catch {
    return { status: 400, message: 'The body is not valid UTF-8.', isBody: true }
  }
}

const tooLarge = (bytes: number, maxBodyBytes: number): Refusal => ({
  status: 413,
  message: `The body has at least ${bytes} bytes; at most ${maxBodyBytes} are allowed.`,
})
