import { AuthError, type Authenticate, type Caller, type HeaderFields } from './authenticate.ts'
import type { Admission } from './gate.ts'

/** The process has as many streams as it may have. */
export class TooManyStreams extends Error {
  constructor(max: number) {
    super(`At most ${max} streams may be open in a process. Try again later.`)
    this.name = 'TooManyStreams'
  }
}

/** Why a stream is ended from here: its caller may not have it any more, or the process stops. */
export class StreamStopped extends Error {
  readonly code: 'UNAUTHENTICATED' | 'FORBIDDEN' | 'SHUTTING_DOWN'
  constructor(code: StreamStopped['code'], message: string) {
    super(message)
    this.name = 'StreamStopped'
    this.code = code
  }
}

/** A stream that was let in. */
export interface OpenStream {
  /** Aborted when it is to end, or was closed. */
  readonly signal: AbortSignal
  /** Why it is to end; undefined as long as nobody but its reader wants that. */
  readonly stopped: StreamStopped | undefined
  close(): void
}

export interface StreamsOptions {
  authenticate: Authenticate
  /** At the same time, at most. */
  max: number
  /** How often it is asked again whether callers still are who they were. */
  recheckMs?: number
}

export interface Streams {
  /** Throws a RateLimited or a TooManyStreams. `headers` are those by which the caller was let in. */
  open(admission: Pick<Admission, 'caller' | 'openStream'>, headers: HeaderFields): OpenStream
  count(): number
  /** Ends all, and those that come later at once. */
  stop(): void
}

/** Tokens expire and are revoked: their streams end within a minute. */
const defaultRecheckMs = 30_000
/** So that not all streams are looked at in the same moment. */
const turns = 30

export function createStreams({ authenticate, max, recheckMs = defaultRecheckMs }: StreamsOptions): Streams {
  const open = new Set<Stream>()
  let isStopping = false
  let turn = 0
  let timer: NodeJS.Timeout | undefined

  const look = () => {
    turn = (turn + 1) % turns
    for (const stream of open) if (stream.turn === turn) void stream.recheck(authenticate)
  }

  const leave = (stream: Stream) => {
    open.delete(stream)
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    open(admission, headers) {
      if (open.size >= max) throw new TooManyStreams(max)
      const countOut = admission.openStream()
      const stream = new Stream(admission.caller, headers, turn, (closed) => {
        countOut()
        leave(closed)
      })
      open.add(stream)
      timer ??= setInterval(look, recheckMs / turns).unref()
      if (isStopping) stream.stop(stopping())
      return stream
    },
    count: () => open.size,
    stop() {
      isStopping = true
      for (const stream of [...open]) stream.stop(stopping())
    },
  }
}

const stopping = () => new StreamStopped('SHUTTING_DOWN', 'The gateway is stopping: subscribe again.')
const forbidden = () => new StreamStopped('FORBIDDEN', 'The caller may not do this any more.')

class Stream implements OpenStream {
  stopped: StreamStopped | undefined
  /** When it is looked at again. */
  readonly turn: number
  readonly #caller: Caller
  readonly #headers: HeaderFields
  readonly #controller = new AbortController()
  #onClose: ((stream: Stream) => void) | undefined

  constructor(caller: Caller, headers: HeaderFields, turn: number, onClose: (stream: Stream) => void) {
    this.#caller = caller
    this.#headers = headers
    this.turn = turn
    this.#onClose = onClose
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  stop(reason: StreamStopped): void {
    if (this.signal.aborted) return
    this.stopped = reason
    this.close()
  }

  close(): void {
    const onClose = this.#onClose
    this.#onClose = undefined
    onClose?.(this)
    this.#controller.abort()
  }

  async recheck(authenticate: Authenticate): Promise<void> {
    try {
      const { account, permissions } = await authenticate(this.#headers)
      const hasLost = [...this.#caller.permissions].some((one) => !permissions.has(one))
      if (account !== this.#caller.account || hasLost) this.stop(forbidden())
    } catch (error) {
      // What cannot be asked at the moment is asked again in a while.
      if (!(error instanceof AuthError)) return
      this.stop(new StreamStopped(error.status === 401 ? 'UNAUTHENTICATED' : 'FORBIDDEN', error.message))
    }
  }
}

/** Reads a source for as long as a stream is open; throws a StreamStopped where that is ended. Either ends the other. */
export function readBy<Item>(stream: OpenStream, source: AsyncIterable<Item>): Reader<Item> {
  return new StreamReader(stream, source[Symbol.asyncIterator]())
}

export interface Reader<Item> {
  next(): Promise<IteratorResult<Item, undefined>>
  /** Ends both, also while something is awaited of the source. */
  return(): Promise<IteratorReturnResult<undefined>>
}

class StreamReader<Item> implements Reader<Item> {
  readonly #stream: OpenStream
  readonly #source: AsyncIterator<Item>
  #isOver = false

  constructor(stream: OpenStream, source: AsyncIterator<Item>) {
    this.#stream = stream
    this.#source = source
  }

  async next(): Promise<IteratorResult<Item, undefined>> {
    if (this.#isOver) return over
    try {
      const item = await this.#source.next()
      if (this.#isOver) return over
      if (!this.#stream.stopped && !item.done) return item
    } catch (error) {
      if (this.#isOver) return over
      await this.return()
      throw this.#stream.stopped ?? error
    }
    await this.return()
    if (this.#stream.stopped) throw this.#stream.stopped
    return over
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    if (!this.#isOver) {
      this.#isOver = true
      this.#stream.close()
      await this.#source.return?.()
    }
    return over
  }
}

const over = { value: undefined, done: true } as const
