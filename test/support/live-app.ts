import { afterEach } from 'vitest'
import { type AppOptions, createApp } from '../../src/app.ts'
import type { Context } from '../../src/domain/context.ts'
import type { ContactEvent } from '../../src/domain/events.ts'
import { listen, type RunningServer, type ServerOptions } from '../../src/http/server.ts'
import type { Feed, Subscribed } from '../../src/live/feed.ts'
import { appOptionsFor, serverOptions } from './app.ts'
import { type EventReader, readEvents } from './events.ts'

export interface LiveApp {
  readonly server: RunningServer
  /** The address of GraphQL. */
  readonly url: string
  subscribe(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>): Promise<EventReader>
}

/** The service on a port of its own, with real streams; all of it is gone after each test. */
export function useLiveApps() {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })
  return {
    async serve(ctx: Context, given: Partial<AppOptions> = {}, more: Partial<ServerOptions> = {}): Promise<LiveApp> {
      const options = appOptionsFor(ctx, given)
      const server = await listen({ ...serverOptions, handler: createApp(options), ...more })
      const url = `${server.url}/graphql`
      closing.push(
        () => server.close(0),
        () => options.feed.close(),
      )
      return {
        server,
        url,
        async subscribe(query, variables, headers) {
          const reader = await readEvents(url, {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...headers },
            body: JSON.stringify({ query, variables }),
          })
          closing.unshift(async () => reader.close())
          return reader
        },
      }
    },
  }
}

/** A feed that brings what it is told to, for what is about the way of the changes and not about their source. */
export function createTestFeed() {
  const streams = new Set<TestSubscription>()
  const feed: Feed = {
    async subscribe(_ctx, _input, signal): Promise<Subscribed> {
      const subscription = new TestSubscription(signal, () => streams.delete(subscription))
      streams.add(subscription)
      return { cursor: 'start', events: subscription }
    },
    async close() {},
  }
  return {
    feed,
    count: () => streams.size,
    tell(event: ContactEvent) {
      for (const stream of streams) stream.push(event)
    },
    fail(error: Error) {
      for (const stream of streams) stream.push(error)
    },
  }
}

class TestSubscription implements AsyncIterableIterator<ContactEvent> {
  readonly #waiting: (ContactEvent | Error)[] = []
  readonly #leave: () => void
  #isOver = false
  #wake = () => {}

  constructor(signal: AbortSignal, leave: () => void) {
    this.#leave = leave
    signal.addEventListener('abort', () => void this.return(), { once: true })
  }

  push(item: ContactEvent | Error): void {
    this.#waiting.push(item)
    this.#wake()
  }

  async next(): Promise<IteratorResult<ContactEvent, undefined>> {
    while (!this.#isOver && this.#waiting.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const item = this.#isOver ? undefined : this.#waiting.shift()
    if (item instanceof Error) throw item
    return item ? { value: item, done: false } : { value: undefined, done: true }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#isOver = true
    this.#leave()
    this.#wake()
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator]() {
    return this
  }
}
