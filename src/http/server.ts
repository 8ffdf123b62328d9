import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
  type ServerOptions as ServerSettings,
} from 'node:http'
import type { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { beginVisit, noteOutcome, type Visit } from '../telemetry/visit.ts'
import { createHealth, isHealth } from './health.ts'
import { type Listener, listenOn } from './listener.ts'
import { createIncoming, type Incoming, type Outgoing, type Parts } from './message.ts'
import { createOverload, type Overload, type OverloadLimits, type Shed } from './overload.ts'
import { createHeartbeats, refuseUpgrade, sendStream } from './stream.ts'

/** Why a request could not be read; or, with 503, why it was not even looked at. */
export interface Refusal {
  status: 400 | 405 | 413 | 415 | 503
  message: string
  /** Whether it is the body that cannot be read. */
  isBody?: boolean
}

export interface Handler {
  handle(request: Incoming, visit: Visit): Promise<Outgoing>
  /** Answers what could not be read, in the form that callers of the path expect. */
  refuse(pathname: string, refusal: Refusal, origin: string | undefined, visit: Visit): Outgoing
  /** Told when an answer has been sent, or a stream has begun, or its connection has gone. */
  finished?(visit: Visit): void
  /** Whether connections for this path may change to WebSocket; `upgrade` takes them then. */
  isUpgradable?(pathname: string): boolean
  upgrade?(upgrade: Upgrade): void
  /** The server stops: streams are to end, each with a word. */
  stopping?(): void
}

/** A connection that asks to speak WebSocket from now on. */
export interface Upgrade {
  /** The request that asks for it, for what it says in its headers. */
  readonly request: Incoming
  /** As `node:http` hands it over. */
  readonly raw: { readonly req: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  /** Where requests that come on it are counted like all others. */
  readonly overload: Pick<Overload, 'enter' | 'leave'>
  /** Goes on by HTTP, to say no; then the connection closes. */
  refuse(answer: Outgoing): void
}

export interface ServerOptions {
  handler: Handler
  /** Whether the database answers, for those who ask whether we are ready. */
  isReachable: () => Promise<boolean>
  overload: OverloadLimits
  /** Bodies above this are refused. */
  maxBodyBytes: number
  maxConnections: number
  /** The origin of links in answers; undefined takes the Host header for it. */
  publicOrigin?: string | undefined
  host: string
  /** 0 takes any free port. */
  port: number
  /** Where connections come from instead. */
  openListener?: ((server: NetServer) => Promise<Listener>) | undefined
  /** How often streams show that they are alive. */
  heartbeatMs?: number
  /** How long a caller may take to read what it was sent, which is kept in memory until then. */
  readTimeoutMs?: number
  log: Logger
}

export interface RunningServer {
  /** With the port that was taken, e.g. `http://127.0.0.1:4000`. */
  readonly url: string
  /**
   * Takes no more connections, but serves what still comes on those that are open, each once more; then ends them, and cuts
   * what is left after `graceMs`.
   */
  close(graceMs: number): Promise<void>
}

const options = {
  // Fields that come several times are told as one, where the platform would keep the first alone.
  joinDuplicateHeaders: true,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  /** How often the two are looked at. */
  connectionsCheckingInterval: 1_000,
}
const defaultReadTimeoutMs = 30_000
/** Whatever is in between cuts connections on which nothing happens, many after a minute, some after 30 seconds. */
const defaultHeartbeatMs = 15_000
/** Requests that a connection may send before it has read the answers to those before. */
const maxPipelined = 10

const clientErrors: Record<string, [status: number, text: string, message: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'The headers are too long.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'The request took too long to arrive.'],
}
const notHttp = [400, 'Bad Request', 'The request is not valid HTTP.'] as const
/** How much of a refused body is read past before the connection is cut. */
const maxReadPastBytes = 64 * 1024 * 1024
const maxReadPastMs = 5_000

/**
 * While the server stops, a connection on which nothing happens for so long is closed. Not at once: a request may be on
 * its way, and whoever sent it would not know whether it was served.
 */
const idleMs = 500
const idleCheckMs = 100

/** What is known of a connection. */
interface Connection {
  /** The requests whose answers have not been sent, in their order, each with what is to be done when it has. */
  readonly open: Map<Visit, () => void>
  /** Since when there are none. */
  idleSince: number
  /** How much had been read by then: what came since is the beginning of another. */
  idleBytes: number
  /** Whether it speaks something else than HTTP by now. */
  isUpgraded: boolean
}

/** Serves a handler by HTTP/1.1. Bodies are read whole, bounded, and must be UTF-8. */
export async function listen({
  handler,
  isReachable,
  overload: limits,
  maxBodyBytes,
  maxConnections,
  publicOrigin,
  host,
  port,
  openListener = (server) => listenOn(server, host, port),
  heartbeatMs = defaultHeartbeatMs,
  readTimeoutMs = defaultReadTimeoutMs,
  log,
}: ServerOptions): Promise<RunningServer> {
  let isStopping = false
  let isListening = true
  let whenEmpty = () => {}
  const connections = new Map<Socket, Connection>()
  const overload = createOverload(limits)
  const health = createHealth(isReachable)
  const heartbeats = createHeartbeats(heartbeatMs)

  const respond = async (req: IncomingMessage, visit: Visit, shed: Shed | undefined): Promise<Outgoing> => {
    const { method, path } = visit
    const refuse = (refusal: Refusal) => handler.refuse(path, refusal, req.headers.origin, visit)
    if (isHealth(path)) return health(method, path, isStopping)
    if (shed) return refuse({ status: 503, message: shed.message })
    const read = await readRequest(req, { maxBodyBytes, publicOrigin })
    return 'pathname' in read ? handler.handle(read, visit) : refuse(read)
  }

  const isUpgradable = ({ url = '', headers, method }: IncomingMessage) =>
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    handler.isUpgradable?.(url.split('?', 1)[0]!) === true

  const server = createServer({ ...options, shouldUpgradeCallback: isUpgradable } as ServerSettings, (req, res) => {
    const { socket } = req
    const connection = connections.get(socket)
    // Who sends requests without reading answers has them kept in memory.
    if (!connection || connection.open.size >= maxPipelined) return void socket.destroy()
    const { open } = connection
    const visit = visitOf(req)
    // Probes are to hear how things are, above all when there is too much to do.
    const isProbe = isHealth(visit.path)
    const shed = isProbe ? undefined : overload.enter()
    visit.shed = shed?.reason

    let timer: NodeJS.Timeout | undefined
    res.once('prefinish', () => {
      timer = setTimeout(() => socket.destroy(), readTimeoutMs)
    })
    let isTold = false
    const tell = () => {
      if (isTold) return
      isTold = true
      if (!isProbe && !shed) overload.leave()
      if (res.headersSent) visit.status = res.statusCode
      handler.finished?.(visit)
    }
    const end = () => {
      if (!open.delete(visit)) return
      clearTimeout(timer)
      if (open.size === 0) {
        connection.idleSince = performance.now()
        connection.idleBytes = socket.bytesRead
      }
      tell()
    }
    open.set(visit, end)
    res.once('close', end)

    // The answer to the last request says that no more are taken; those before it must not. And whoever is told so connects
    // anew at once, which must fail by then.
    const isLast = () => !isListening && [...open.keys()].at(-1) === visit
    // The parser reads past a body that is not wanted, where it is told how long it is.
    const isRead = () => req.complete || (shed !== undefined && isShort(req, maxBodyBytes))
    const sendBody = (answer: Outgoing) => send(req, res, visit.id, answer, { isRead, isLast })
    const sendWhole = async (answer: Outgoing) => {
      if (!answer.stream) return sendBody(answer)
      // What is not over is kept apart from what is being worked on.
      beginStream(req, res, visit.id, answer)
      tell()
      await sendStream(req, res, answer.stream, { heartbeats, readTimeoutMs })
    }
    respond(req, visit, shed)
      .then(sendWhole)
      .catch((error: NodeJS.ErrnoException) => {
        // A caller that has gone away takes its connection along; anything else is worth knowing.
        if (!socket.destroyed) {
          noteOutcome(visit, 'error')
          const { id: requestId } = visit
          log.error({ requestId, error: { type: error.name, code: error.code } }, 'a request could not be answered')
        }
        res.destroy()
      })
  })
  server.maxConnections = maxConnections
  server.on('connection', (socket) => {
    const open = new Map<Visit, () => void>()
    const connection = { open, idleSince: performance.now(), idleBytes: 0, isUpgraded: false }
    connections.set(socket, connection)
    socket.once('close', () => {
      connections.delete(socket)
      // Answers that wait for the one before them are told of nothing.
      for (const end of connection.open.values()) end()
      if (connections.size === 0) whenEmpty()
    })
  })
  // What is not even HTTP gets an answer, too, and in JSON.
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const [status, text, message] = clientErrors[error.code ?? ''] ?? notHttp
    // A request whose body does not arrive is known already.
    const begun = connections.get(socket)?.open.keys().next().value
    const visit = begun ?? beginVisit({ method: '', path: '' })
    visit.status = status
    const body = JSON.stringify({ message })
    socket.end(
      `HTTP/1.1 ${status} ${text}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nX-Request-Id: ${visit.id}\r\nConnection: close\r\n\r\n${body}`,
    )
    if (!begun) handler.finished?.(visit)
  })
  server.on('upgrade', (req: IncomingMessage, socket: Socket, rest: Buffer) => {
    socket.on('error', () => socket.destroy())
    const refuse = (answer: Outgoing) => refuseUpgrade(socket, answer)
    // Node before 24.9 asks nobody whether it is wanted.
    if (!isUpgradable(req)) return refuse({ status: 426, headers: { upgrade: 'websocket' } })
    const visit = visitOf(req)
    const refuseBy = (refusal: Refusal) => refuse(handler.refuse(visit.path, refusal, req.headers.origin, visit))
    const shed = overload.enter()
    if (shed || isStopping) return refuseBy({ status: 503, message: shed?.message ?? 'The server stops.' })
    overload.leave()
    const head = readHead(req, publicOrigin)
    if ('status' in head) return refuseBy(head)
    const connection = connections.get(socket)
    if (connection) connection.isUpgraded = true
    const request = createIncoming({ ...head, body: '' })
    handler.upgrade!({ request, raw: { req, socket, head: rest }, overload, refuse })
  })
  const listener = await openListener(server)

  const closeIdle = () => {
    const before = performance.now() - idleMs
    for (const [socket, { open, idleSince, idleBytes, isUpgraded }] of connections) {
      if (isUpgraded) continue
      if (open.size === 0 && idleSince <= before && socket.bytesRead === idleBytes) socket.destroy()
    }
  }

  return {
    url: listener.url,
    async close(graceMs) {
      isStopping = true
      await listener.stop()
      isListening = false
      handler.stopping?.()
      const now = performance.now()
      for (const connection of connections.values()) connection.idleSince = now
      const checks = setInterval(closeIdle, idleCheckMs)
      const cut = setTimeout(() => {
        for (const socket of connections.keys()) socket.destroy()
      }, graceMs)
      await new Promise<void>((resolve) => {
        whenEmpty = resolve
        if (connections.size === 0) resolve()
      })
      clearInterval(checks)
      clearTimeout(cut)
      heartbeats.stop()
      overload.stop()
    },
  }
}

function visitOf({ method = '', url = '', headers }: IncomingMessage): Visit {
  return beginVisit({
    method,
    path: url.split('?', 1)[0]!,
    requestId: single(headers['x-request-id']),
    traceparent: single(headers.traceparent),
    tracestate: single(headers.tracestate),
    client: single(headers['apollographql-client-name'] ?? headers['x-graphql-client-name']),
  })
}

const single = (header: string | string[] | undefined) => (Array.isArray(header) ? header.join() : header)

/** By HTTP, answers of these never have one. */
const bodiless: ReadonlySet<number> = new Set([204, 304])

async function send(
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
  { status, headers, body = '' }: Outgoing,
  { isRead, isLast }: { isRead(): boolean; isLast(): boolean },
): Promise<void> {
  const fields = ['x-request-id', requestId]
  for (const name in headers) fields.push(name, headers[name]!)
  if (!bodiless.has(status)) fields.push('content-length', String(Buffer.byteLength(body)))
  if (isRead()) {
    if (isLast()) fields.push('connection', 'close')
    res.writeHead(status, fields).end(body)
    return
  }
  fields.push('connection', 'close')
  res.writeHead(status, fields)
  // A caller that looks for the answer only after all of its body loses it when the connection is closed meanwhile. So
  // the answer goes out at once, and the connection closes when what is left of the body has been read past.
  res.write(body)
  await readPast(req)
  res.end()
}

/** How long it will be, nobody knows. */
function beginStream(
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
  { status, headers }: Outgoing,
): void {
  const fields = ['x-request-id', requestId]
  for (const name in headers) fields.push(name, headers[name]!)
  // What is left of the request would be taken for the next one.
  if (!req.complete) fields.push('connection', 'close')
  res.writeHead(status, fields).flushHeaders()
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

function readRequest(
  req: IncomingMessage,
  { maxBodyBytes, publicOrigin }: Reading,
): Incoming | Refusal | Promise<Incoming | Refusal> {
  const head = readHead(req, publicOrigin)
  if ('status' in head) return head
  const withBody = (body: string) => createIncoming({ ...head, body })
  if (head.method === 'GET' || head.method === 'HEAD') return withBody('')
  return readBody(req, maxBodyBytes).then((body) => (typeof body === 'string' ? withBody(body) : body))
}

function readHead(req: IncomingMessage, publicOrigin: string | undefined): Omit<Parts, 'body'> | Refusal {
  const { method = 'GET', url: target = '', headers: fields } = req
  const host = fields.host ?? 'localhost'
  if (host.includes(', ')) return { status: 400, message: 'There are several Host headers.' }
  if (!hostHeader.test(host)) return { status: 400, message: 'The Host header is not a host with an optional port.' }
  const origin = publicOrigin ?? `http://${host}`
  if (!target.startsWith('/') || !URL.canParse(origin + target))
    return { status: 400, message: 'The request target must be a path.' }
  // It would show to scripts what they are not to see, the headers of the request.
  if (method === 'TRACE') return { status: 405, message: `The method ${method} is not allowed.` }
  const encoding = fields['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    return { status: 415, message: `The content encoding ${encoding} is not taken; send the body as it is.` }
  }
  const address = req.socket.remoteAddress ?? ''
  return { method, origin, target, fields, address }
}

const isShort = ({ headers }: IncomingMessage, maxBytes: number) =>
  headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= maxBytes

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Rejects where the caller goes away. What is left of a body that is too large stays unread. */
function readBody(req: IncomingMessage, maxBodyBytes: number): Promise<string | Refusal> {
  const announced = Number(req.headers['content-length'] ?? 0)
  if (announced > maxBodyBytes) return Promise.resolve(tooLarge(announced, maxBodyBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const take = (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > maxBodyBytes) done(tooLarge(size, maxBodyBytes))
    }
    const end = () => done(decode(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)))
    const fail = (error: Error) => reject(error)
    const done = (read: string | Refusal) => {
      req.off('data', take).off('end', end).off('error', fail)
      resolve(read)
    }
    req.on('data', take).on('end', end).on('error', fail)
  })
}

function decode(bytes: Buffer): string | Refusal {
  try {
    return utf8.decode(bytes)
  } catch {
    return { status: 400, message: 'The body is not valid UTF-8.', isBody: true }
  }
}

const tooLarge = (bytes: number, maxBodyBytes: number): Refusal => ({
  status: 413,
  message: `The body has at least ${bytes} bytes; at most ${maxBodyBytes} are allowed.`,
})
