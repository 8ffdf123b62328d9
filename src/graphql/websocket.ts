import { type ExecutionArgs, type ExecutionResult, GraphQLError, type GraphQLSchema, parse } from 'graphql'
import { CloseCode, handleProtocols, makeServer, type ServerOptions as ProtocolOptions } from 'graphql-ws'
import { type WebSocket, WebSocketServer } from 'ws'
import type { EntryRefusal } from '../auth/gate.ts'
import type { Incoming, RequestHeaders } from '../http/message.ts'
import { createIncoming } from '../http/message.ts'
import type { Upgrade } from '../http/server.ts'
import type { TopLevelCode } from './errors.ts'
import { type Executed, graphqlPath } from './handler.ts'

// GraphQL over WebSocket, by the protocol graphql-transport-ws:
// https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. Each operation is served as a request of its own.

export interface WebSocketsOptions {
  /** Asks whether the caller may come in, and counts that as a request. Undefined where it may. */
  enter(request: Incoming): Promise<EntryRefusal | undefined>
  /** Serves an operation as a request is served: let in, counted, limited, told of. */
  execute(request: Incoming, upgrade: Upgrade): Promise<Executed>
  maxMessageBytes: number
  /** How often it is asked whether callers are still there. */
  pingMs?: number
  /** How long a caller may take to begin. */
  initMs?: number
}

export interface WebSockets {
  accept(upgrade: Upgrade): void
  /** Ends all connections, each when its operations have ended. */
  close(): void
}

/** Of one connection, at the same time. */
const maxOperations = 100
/** What may wait to be read by a caller who only sends. */
const maxUnsentBytes = 64 * 1024
const defaultPingMs = 15_000
const defaultInitMs = 5_000
const closeCheckMs = 20

/** What a caller may say in `connectionParams` instead of in the headers of the upgrade, which browsers do not let it set. */
const callerHeaders = [
  ...['authorization', 'x-xurrent-account', 'x-4me-account'],
  ...['apollographql-client-name', 'x-graphql-client-name'],
]

/** Close codes are the protocol's; this one is of the WebSocket itself. */
const tryAgainLater = 1013
const goingAway = 1001

type Fields = Record<string, string>

interface Extra {
  readonly upgrade: Upgrade
  readonly socket: WebSocket
  fields: Fields
  /** Those that go on, by their ids. */
  operations: Readonly<Record<string, unknown>>
}

export function createWebSockets(options: WebSocketsOptions): WebSockets {
  const { maxMessageBytes, pingMs = defaultPingMs } = options
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: maxMessageBytes,
    handleProtocols,
  })
  let isStopping = false
  const protocol = makeServer<Record<string, unknown>, Extra>(protocolBy(options, () => isStopping))
  const connections = new Map<WebSocket, Extra>()
  const silent = new WeakSet<WebSocket>()
  const timer = setInterval(() => {
    for (const socket of sockets.clients) {
      if (silent.has(socket)) socket.terminate()
      silent.add(socket)
      socket.ping()
    }
  }, pingMs).unref()

  const begin = (socket: WebSocket, upgrade: Upgrade) => {
    const extra: Extra = { upgrade, socket, fields: {}, operations: {} }
    connections.set(socket, extra)
    const end = protocol.opened(toProtocol(socket), extra)
    socket.on('pong', () => silent.delete(socket))
    socket.on('ping', (data) => {
      if (!isOverfull(socket)) socket.pong(data)
    })
    // What breaks it closes it.
    socket.on('error', () => {})
    socket.once('close', (code, reason) => {
      connections.delete(socket)
      void end(code, String(reason))
    })
  }

  const closeIdle = () => {
    for (const [socket, { operations }] of connections) {
      if (Object.keys(operations).length === 0) socket.close(goingAway, 'The gateway is stopping.')
    }
    if (connections.size > 0) setTimeout(closeIdle, closeCheckMs).unref()
  }

  return {
    accept(upgrade) {
      const { req, socket, head } = upgrade.raw
      sockets.handleUpgrade(req, socket, head, (opened) => begin(opened, upgrade))
    },
    close() {
      clearInterval(timer)
      isStopping = true
      closeIdle()
    },
  }
}

/** Ends the connection of a caller who sends and does not read. */
function isOverfull(socket: WebSocket): boolean {
  if (socket.bufferedAmount <= maxUnsentBytes) return false
  socket.terminate()
  return true
}

type ProtocolSocket = Parameters<ReturnType<typeof makeServer>['opened']>[0]

function toProtocol(socket: WebSocket): ProtocolSocket {
  return {
    protocol: socket.protocol,
    /** Resolves when it has left, so that each stream has one result under way at most; rejects where nobody reads. */
    send: (text) => new Promise((resolve, reject) => socket.send(text, (error) => (error ? reject(error) : resolve()))),
    close: (code, reason) => socket.close(code, reason),
    onMessage(take) {
      socket.on('message', (data, isBinary) => {
        if (isBinary) return socket.close(CloseCode.BadRequest, 'Invalid message received')
        if (isOverfull(socket)) return
        take(String(data)).catch(() => socket.close(CloseCode.InternalServerError, 'Internal server error'))
      })
    },
  }
}

function protocolBy(
  { enter, execute, initMs = defaultInitMs }: WebSocketsOptions,
  isStopping: () => boolean,
): ProtocolOptions<Record<string, unknown>, Extra> {
  /** What operations have come to whose errors are told as they are. */
  const told = new WeakMap<object, ExecutionResult>()
  return {
    connectionInitWaitTimeout: initMs,
    async onConnect({ extra, connectionParams = {}, subscriptions }) {
      extra.operations = subscriptions
      const { request } = extra.upgrade
      extra.fields = fieldsBy(request.headers, connectionParams)
      const refusal = await enter(requestBy(request, extra.fields, ''))
      if (!refusal) return true
      extra.socket.close(closeCodes[refusal.status] ?? tryAgainLater, refusal.message.slice(0, 120))
      return false
    },
    async onSubscribe({ extra, subscriptions }, _id, payload) {
      if (isStopping()) return [refusalBy('SERVICE_UNAVAILABLE', 'The gateway is stopping.')]
      if (Object.keys(subscriptions).length > maxOperations) return [refusalBy('RATE_LIMITED', tooManyOperations)]
      const request = requestBy(extra.upgrade.request, extra.fields, JSON.stringify(payload))
      const { results, body } = await execute(request, extra.upgrade)
      if (results) return argsFor(results)
      const result: ExecutionResult = JSON.parse(body as string)
      if (result.data !== undefined) return argsFor(result)
      const errors = [new GraphQLError('')]
      told.set(errors, result)
      return errors
    },
    execute: ({ rootValue }) => rootValue as never,
    onNext: (_ctx, _id, _payload, _args, result) => result,
    onError: (_ctx, _id, _payload, errors) => told.get(errors)?.errors,
  }
}

/** By the status of an answer of HTTP. */
const closeCodes: Partial<Record<number, number>> = {
  400: CloseCode.BadRequest,
  401: CloseCode.Unauthorized,
  403: CloseCode.Forbidden,
}

const tooManyOperations = `The connection has ${maxOperations} operations; no more are allowed.`

const refusalBy = (code: TopLevelCode, message: string) => new GraphQLError(message, { extensions: { code } })

/** The protocol wants a document to execute; ours has been executed already. */
const placeholder = parse('{ __typename }')
const argsFor = (rootValue: unknown): ExecutionArgs => ({
  schema: undefined as unknown as GraphQLSchema,
  document: placeholder,
  rootValue,
  contextValue: undefined,
})

/** An operation as a request, by the headers of its connection. */
function requestBy({ url, address }: Incoming, fields: Fields, body: string): Incoming {
  return createIncoming({ method: 'POST', origin: url.origin, target: graphqlPath, fields, body, address })
}

/** The headers that the operations of a connection are served by. */
function fieldsBy(given: RequestHeaders, params: Record<string, unknown>): Fields {
  const named = new Map(Object.entries(params).map(([name, value]) => [name.toLowerCase(), value]))
  const fields: Fields = { 'content-type': 'application/json', accept: 'application/graphql-response+json' }
  for (const name of callerHeaders) {
    const value = named.get(name) ?? given.get(name)
    if (typeof value === 'string') fields[name] = value
  }
  return fields
}
