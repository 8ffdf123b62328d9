import { randomUUID } from 'node:crypto'
import type { ExecutionResult, GraphQLError } from 'graphql'
import { toEntryRefusal } from '../auth/gate.ts'
import type { OpenStream } from '../auth/streams.ts'
import { comment, eventStream, eventStreamHeaders } from '../http/event-stream.ts'
import { accepting, type Incoming, jsonAnswer, type Outgoing } from '../http/message.ts'
import type { TopLevelCode } from './errors.ts'
import type { Entered, Executed } from './handler.ts'
import type { ResultStream } from './result-stream.ts'

// The mode of a single connection: one stream of events for several operations, which are sent beside it.
// https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md#single-connection-mode

const tokenHeader = 'x-graphql-event-stream-token'
/** How long a stream may be reserved before it is opened. */
const reservedMs = 10_000
/** Of one stream, at the same time. */
const maxOperations = 100

interface Options {
  /** Reservations are kept here, where requests that another process gets would miss them. */
  isOnlyProcess: boolean
  execute(request: Incoming, entered: Entered): Promise<Executed>
}

export interface SingleConnections {
  /** Answers what is about such a connection; undefined for everything else. */
  serve(request: Incoming, entered: Entered): Promise<Outgoing | undefined>
}

export function createSingleConnections({ isOnlyProcess, execute }: Options): SingleConnections {
  const connections = new Map<string, Connection>()

  const reserve = (entered: Entered): Outgoing => {
    const token = randomUUID()
    const connection = new Connection(entered, () => connections.delete(token))
    connections.set(token, connection)
    setTimeout(() => connection.isOpen || connections.delete(token), reservedMs).unref()
    return { status: 201, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: token }
  }

  const operate = async (connection: Connection, request: Incoming, entered: Entered): Promise<Outgoing> => {
    const id = operationIdOf(request.body)
    if (!id) return refuse(400, 'extensions.operationId must be a text.')
    if (connection.operations.has(id)) return refuse(409, 'There is an operation with this id already.')
    if (connection.operations.size >= maxOperations) {
      return refuse(429, `The stream has ${maxOperations} operations; no more are allowed.`, 'RATE_LIMITED')
    }
    connection.operations.set(id, undefined)
    let executed: Executed
    try {
      executed = await execute(accepting(request, 'application/json'), entered)
    } catch (error) {
      connection.operations.delete(id)
      throw error
    }
    if (executed.status !== 200) {
      connection.operations.delete(id)
      return executed
    }
    connection.go(id, executed)
    return { status: 202, headers: {} }
  }

  return {
    async serve(request, entered) {
      const { method, headers, url } = request
      const isReserving = method === 'PUT'
      const token = headers.get(tokenHeader) ?? (method === 'GET' ? tokenIn(url) : null)
      if (!isReserving && token === null) return undefined
      if (!isOnlyProcess) return refuse(501, onlyDistinct)
      if (isReserving) return reserve(entered)
      const connection = connections.get(token!)
      if (!connection?.isOf(entered)) return refuse(404, 'There is no such stream.')
      if (method === 'POST') return operate(connection, request, entered)
      if (method === 'GET') return connection.open(entered)
      if (method !== 'DELETE') return refuse(405, `The method ${method} is not allowed.`)
      await connection.stop(url.searchParams.get('operationId') ?? '')
      return { status: 200, headers: {} }
    },
  }
}

/** EventSource sends no headers. */
const tokenIn = ({ searchParams }: URL) => (searchParams.has('query') ? null : searchParams.get('token'))

const onlyDistinct =
  'Several processes serve here, each of which knows its own streams only: take a connection for each subscription (the mode of distinct connections), or a WebSocket.'

const refuse = (status: number, message: string, code: TopLevelCode = 'BAD_USER_INPUT') =>
  jsonAnswer(status, { errors: [{ message, extensions: { code } }] })

function operationIdOf(body: string): string | undefined {
  try {
    const id: unknown = JSON.parse(body)?.extensions?.operationId
    return typeof id === 'string' && id !== '' ? id : undefined
  } catch {
    return undefined
  }
}

/** A stream with the operations whose results it carries: events wait in it, one of each operation at most. */
class Connection implements AsyncIterator<string> {
  readonly operations = new Map<string, ResultStream | undefined>()
  readonly #caller: Entered['admission']['caller']
  readonly #onClose: () => void
  readonly #waiting: { text: string; taken: () => void }[] = []
  #stream: OpenStream | undefined
  #wake = () => {}
  #isOver = false

  constructor({ admission }: Entered, onClose: () => void) {
    this.#caller = admission.caller
    this.#onClose = onClose
  }

  get isOpen(): boolean {
    return this.#stream !== undefined
  }

  isOf({ admission: { caller } }: Entered): boolean {
    return caller.account === this.#caller.account && caller.key === this.#caller.key
  }

  open(entered: Entered): Outgoing {
    if (this.#stream) return refuse(409, 'The stream is open already.')
    try {
      this.#stream = entered.openStream()
    } catch (error) {
      const { status, message, code, headers } = toEntryRefusal(error)
      return { ...refuse(status, message, code), headers }
    }
    this.#stream.signal.addEventListener('abort', () => this.#wake(), { once: true })
    const stream = eventStream({ first: comment, items: this, show: (text) => text, end: () => '' })
    return { status: 200, headers: eventStreamHeaders, stream }
  }

  /** Carries what an operation has come to. */
  go(id: string, { results, body }: Executed): void {
    // It was stopped before it began.
    if (!this.operations.has(id) || this.#isOver) {
      void results?.return()
      return
    }
    this.operations.set(id, results)
    void this.#carry(id, results ?? only(JSON.parse(body as string)))
  }

  async #carry(id: string, results: AsyncIterable<ExecutionResult>): Promise<void> {
    const next = (payload: ExecutionResult) => this.#send(`event: next\ndata: ${JSON.stringify({ id, payload })}\n\n`)
    try {
      for await (const result of results) await next(result)
    } catch (error) {
      await next({ errors: [error as GraphQLError] })
    }
    if (this.operations.has(id)) await this.#send(`event: complete\ndata: ${JSON.stringify({ id })}\n\n`)
    this.operations.delete(id)
    this.#wake()
  }

  #send(text: string): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    return new Promise((taken) => {
      this.#waiting.push({ text, taken })
      this.#wake()
    })
  }

  async stop(id: string): Promise<void> {
    const results = this.operations.get(id)
    this.operations.delete(id)
    await results?.return()
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    for (;;) {
      const first = this.#waiting.shift()
      if (first) {
        first.taken()
        return { value: first.text, done: false }
      }
      // When it is to end, its operations are to have said so.
      if (this.#isOver || (this.#stream!.stopped && this.operations.size === 0)) {
        await this.return()
        return over
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    if (!this.#isOver) {
      this.#isOver = true
      this.#onClose()
      this.#stream?.close()
      for (const { taken } of this.#waiting.splice(0)) taken()
      await Promise.all([...this.operations.keys()].map((id) => this.stop(id)))
      this.#wake()
    }
    return over
  }
}

const over = { value: undefined, done: true } as const

async function* only(result: ExecutionResult) {
  yield result
}
