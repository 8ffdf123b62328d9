import type { ContactEvent } from '../domain/events.ts'

export interface SubscriberOptions {
  organizationId: number
  includeDescendants: boolean
  /** Changes that wait to be read, at most. */
  maxWaiting: number
  /** What the stream ends with when more would have to wait. */
  tooSlow(waiting: number): Error
  onLeave(): void
}

/** One stream of changes: what is handed to it waits until it is read. It ends by an error, or when nobody reads any more. */
export class Subscriber implements AsyncIterableIterator<ContactEvent> {
  readonly organizationId: number
  readonly includeDescendants: boolean
  readonly #options: SubscriberOptions
  #waiting: ContactEvent[] = []
  /** What comes before all that is handed. */
  #missed: AsyncGenerator<ContactEvent> | undefined
  #reader: PromiseWithResolvers<IteratorResult<ContactEvent>> | undefined
  #failure: Error | undefined
  #isOver = false

  constructor(options: SubscriberOptions) {
    this.organizationId = options.organizationId
    this.includeDescendants = options.includeDescendants
    this.#options = options
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Has something read before what is handed. */
  catchUp(missed: AsyncGenerator<ContactEvent>): void {
    this.#missed = missed
  }

  hand(changes: readonly ContactEvent[]): void {
    if (this.#isOver) return
    // What one statement has done is never too much by itself.
    if (this.#waiting.length > this.#options.maxWaiting) {
      this.end(this.#options.tooSlow(this.#waiting.length))
      return
    }
    this.#waiting.push(...changes)
    const reader = this.#reader
    const first = reader && this.#waiting.shift()
    if (!first) return
    this.#reader = undefined
    reader.resolve({ value: first, done: false })
  }

  /** Ends the stream by an error, which is told to whoever reads on. What still waits is dropped. */
  end(failure: Error): void {
    if (this.#isOver) return
    this.#leave()
    if (this.#reader) this.#reader.reject(failure)
    else this.#failure = failure
  }

  /** Ends the stream without a word when the signal comes. */
  leaveAt(signal: AbortSignal): void {
    if (signal.aborted) void this.return()
    else signal.addEventListener('abort', () => void this.return(), { once: true })
  }

  async next(): Promise<IteratorResult<ContactEvent>> {
    if (this.#missed) {
      const missed = await this.#missed.next()
      if (!missed.done && !this.#isOver) return missed
      this.#missed = undefined
    }
    const [first] = this.#waiting.splice(0, 1)
    if (first) return { value: first, done: false }
    if (this.#failure) {
      const failure = this.#failure
      this.#failure = undefined
      throw failure
    }
    if (this.#isOver) return over
    this.#reader = Promise.withResolvers()
    return this.#reader.promise
  }

  async return(): Promise<IteratorResult<ContactEvent>> {
    if (!this.#isOver) this.#leave()
    this.#failure = undefined
    this.#reader?.resolve(over)
    return over
  }

  #leave(): void {
    this.#isOver = true
    this.#waiting = []
    this.#options.onLeave()
  }
}

const over: IteratorResult<ContactEvent> = { value: undefined, done: true }
