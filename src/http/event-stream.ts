import type { Streamed } from './message.ts'

// Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them.

/** No cache keeps it, no proxy holds it back until there is more of it. */
export const eventStreamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'private, no-cache, no-transform',
  'x-accel-buffering': 'no',
}

export interface EventStreamParts<Item> {
  /** Sent at once. */
  readonly first: string
  readonly items: { next(): Promise<IteratorResult<Item>>; return(): Promise<unknown> }
  /** An item as an event, with the empty line at its end. */
  show(item: Item): string
  /** What is sent last; `error` is why, unless it is simply over. */
  end(error: unknown): string
}

/** A class, and no generator: its `return` does not wait for what is awaited. */
class EventStream<Item> implements Streamed {
  readonly heartbeat = comment
  readonly #parts: EventStreamParts<Item>
  #state: 'new' | 'open' | 'over' = 'new'

  constructor(parts: EventStreamParts<Item>) {
    this.#parts = parts
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    if (this.#state === 'over') return over
    const { first, items, show, end } = this.#parts
    if (this.#state === 'new') {
      this.#state = 'open'
      return { value: first, done: false }
    }
    try {
      const item = await items.next()
      if (!item.done) return { value: show(item.value), done: false }
      return this.#last(end(undefined))
    } catch (error) {
      return this.#last(end(error))
    }
  }

  #last(text: string): IteratorResult<string, undefined> {
    // Whoever has ended it reads no more.
    if (this.#state === 'over') return over
    this.#state = 'over'
    return { value: text, done: false }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    if (this.#state !== 'over') {
      this.#state = 'over'
      await this.#parts.items.return()
    }
    return over
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

export const eventStream = <Item>(parts: EventStreamParts<Item>): Streamed => new EventStream(parts)

/** What readers pass over. */
export const comment = ':\n\n'

const over = { value: undefined, done: true } as const
