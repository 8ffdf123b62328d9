import { afterEach } from 'vitest'
import type { Database } from '../../src/db/client.ts'
import type { Context } from '../../src/domain/context.ts'
import type { ContactEvent } from '../../src/domain/events.ts'
import { createFeed, type Feed, type FeedOptions } from '../../src/live/feed.ts'

/** A stream that is read as far as a test wants. */
export interface TestStream {
  readonly cursor: string
  /** The next so many events. */
  take(count: number): Promise<ContactEvent[]>
  /** Everything until `isLast` holds. */
  takeUntil(isLast: (event: ContactEvent) => boolean): Promise<ContactEvent[]>
  next(): Promise<IteratorResult<ContactEvent>>
  leave(): void
}

export interface Feeds {
  make(db: Database, options?: Partial<FeedOptions>): Feed & { streams(): number }
}

/** Feeds for the tests of a file; they are closed after each test. */
export function useFeeds(): Feeds & { open: typeof openStream } {
  const made: Feed[] = []
  afterEach(async () => {
    await Promise.all(made.splice(0).map((feed) => feed.close()))
  })
  return {
    make(db, options = {}) {
      const feed = createFeed({ db, onTrouble: () => {}, ...options })
      made.push(feed)
      return feed
    },
    open: openStream,
  }
}

export async function openStream(
  feed: Feed,
  ctx: Context,
  input: { organizationId: unknown; includeDescendants?: boolean; after?: string },
): Promise<TestStream> {
  const stop = new AbortController()
  const { cursor, events } = await feed.subscribe(ctx, input, stop.signal)
  const iterator = events[Symbol.asyncIterator]()
  const takeUntil: TestStream['takeUntil'] = async (isLast) => {
    const taken: ContactEvent[] = []
    for (;;) {
      const { value, done } = await iterator.next()
      if (done) throw new Error(`The stream ended after ${taken.length} events.`)
      taken.push(value)
      if (isLast(value)) return taken
    }
  }
  return {
    cursor,
    takeUntil,
    take: (count) => {
      let left = count
      return takeUntil(() => --left === 0)
    },
    next: () => iterator.next(),
    leave: () => stop.abort(),
  }
}
