import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { eventChannel } from '../db/tables.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { type EventPosition, encodeEventCursor } from '../domain/event-cursor.ts'
import {
  admitSubscription,
  type ContactEvent,
  type EventSubscription,
  eventPosition,
  eventsAtOnce,
  listenerRefreshMs,
  readEvents,
  registerListener,
  type StoredEvent,
  toContactEvent,
} from '../domain/events.ts'
import { findAncestors } from '../domain/organizations.ts'
import { Subscriber } from './subscriber.ts'

/** Why a stream ends. After a cursor that has expired the lists are to be read again; otherwise it goes on from the last one. */
export type EndCode = 'CURSOR_EXPIRED' | 'SLOW_CONSUMER' | 'SHUTTING_DOWN'

/** Ends a stream of events. */
export class StreamEnded extends Error {
  readonly code: EndCode
  constructor(code: EndCode, message: string) {
    super(message)
    this.name = 'StreamEnded'
    this.code = code
  }
}

export interface Subscribed {
  /** Where the stream begins. */
  cursor: string
  events: AsyncIterable<ContactEvent>
}

/** The changes to contacts, as they are committed by whatever process. */
export interface Feed {
  /**
   * Resolves once every change that is committed from now on will come, or that was committed after the cursor. Throws
   * what verbs throw: ForbiddenError, NotFoundError, ValidationError; and a StreamEnded where the cursor is too old.
   */
  subscribe(
    ctx: Context,
    input: { organizationId: unknown; includeDescendants?: unknown; after?: unknown },
    signal: AbortSignal,
  ): Promise<Subscribed>
  /** Ends all streams. */
  close(): Promise<void>
}

export interface FeedOptions {
  db: Database
  /** Told what keeps the changes from coming at the moment; it is tried again. */
  onTrouble(cause: unknown): void
  /** Changes that wait for a slow reader, at most. */
  maxWaiting?: number
  /** How often to look without having been notified, in milliseconds: while there is a link for that, and without one. */
  lookMs?: { listening: number; alone: number }
}

/** Whoever subscribes may have missed a notification that was decided on before: looks come soon after that. */
const looksAfterJoining = [100, 1000]

/** The streams of an account. */
class Streams {
  readonly byOrganization = new Map<number, Set<Subscriber>>()
  /** How many of them also want the descendants. */
  trees = 0
  get isEmpty(): boolean {
    return this.byOrganization.size === 0
  }
}

/**
 * One reader for all streams of a process: it knows which transactions it has seen, and reads what is new whenever it is
 * notified. Notifications only say when to look; where none comes, it looks by itself now and then.
 */
export function createFeed(options: FeedOptions): Feed & { streams(): number } {
  return new LiveFeed(options)
}

class LiveFeed implements Feed {
  readonly #db: Database
  readonly #onTrouble: FeedOptions['onTrouble']
  readonly #maxWaiting: number
  readonly #lookMs: { listening: number; alone: number }
  readonly #name = randomUUID()
  readonly #accounts = new Map<number, Streams>()
  readonly #stop = new AbortController()
  /** What to do between two readings, when nobody is in the middle of what was read. */
  #joining: (() => void)[] = []
  #position: EventPosition | undefined
  /** A reading that is not over: up to where it goes, and the id of the last event that was handed out. */
  #reading: { end: EventPosition; after: number } | undefined
  #isReading = false
  #isStale = false
  #isListening = false
  #hasBegun = false
  #looking: NodeJS.Timeout | undefined
  #refreshing: NodeJS.Timeout | undefined
  #count = 0

  constructor({ db, onTrouble, maxWaiting = 5000, lookMs = { listening: 5000, alone: 250 } }: FeedOptions) {
    this.#db = db
    this.#onTrouble = onTrouble
    this.#maxWaiting = maxWaiting
    this.#lookMs = lookMs
  }

  streams(): number {
    return this.#count
  }

  async subscribe(ctx: Context, input: object, signal: AbortSignal): Promise<Subscribed> {
    const admitted = await admitSubscription(ctx, input)
    if (admitted.isExpired) {
      throw new StreamEnded('CURSOR_EXPIRED', 'What has changed since the cursor is not known any more.')
    }
    signal.throwIfAborted()
    if (this.#stop.signal.aborted) throw shuttingDown()
    const { organizationId, includeDescendants, after } = admitted
    const subscriber = new Subscriber({
      organizationId,
      includeDescendants,
      maxWaiting: this.#maxWaiting,
      tooSlow: (waiting) =>
        new StreamEnded('SLOW_CONSUMER', `${waiting} changes waited to be read; at most ${this.#maxWaiting} may.`),
      onLeave: () => this.#leave(ctx.account, subscriber),
    })
    if (!this.#accounts.has(ctx.account)) await registerListener(this.#db, this.#name, [ctx.account])
    // A cursor of another process may be ahead of what was read here.
    const joinedAt = await this.#join(ctx.account, subscriber, after !== undefined)
    subscriber.leaveAt(signal)
    if (after) subscriber.catchUp(this.#missed(ctx.account, admitted, after, joinedAt))
    return { cursor: encodeEventCursor(after ?? joinedAt), events: subscriber }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#looking)
    clearInterval(this.#refreshing)
    for (const streams of [...this.#accounts.values()]) {
      for (const subscribers of [...streams.byOrganization.values()]) {
        for (const subscriber of [...subscribers]) subscriber.end(shuttingDown())
      }
    }
  }

  /** Adds a stream when all that was read has been handed out, and tells from which place on it will be handed what is read. */
  #join(account: number, subscriber: Subscriber, afresh: boolean): Promise<EventPosition> {
    this.#begin()
    const { promise, resolve } = Promise.withResolvers<EventPosition>()
    const enter = () => {
      this.#enter(account, subscriber)
      resolve(this.#position!)
    }
    if (afresh && this.#isReading) {
      // What is being read now was begun before.
      this.#joining.push(() => this.#joining.push(enter))
    } else this.#joining.push(enter)
    if (afresh || this.#position === undefined) this.#look()
    else if (!this.#isReading) this.#letIn()
    return promise
  }

  #letIn(): void {
    for (const enter of this.#joining.splice(0)) enter()
  }

  #enter(account: number, subscriber: Subscriber): void {
    const streams = this.#accounts.get(account) ?? new Streams()
    if (streams.isEmpty) {
      this.#accounts.set(account, streams)
      for (const ms of looksAfterJoining) setTimeout(() => this.#look(), ms).unref()
    }
    const { organizationId, includeDescendants } = subscriber
    const others = streams.byOrganization.get(organizationId)
    if (others) others.add(subscriber)
    else streams.byOrganization.set(organizationId, new Set([subscriber]))
    if (includeDescendants) streams.trees += 1
    this.#count += 1
  }

  #leave(account: number, subscriber: Subscriber): void {
    const streams = this.#accounts.get(account)
    const others = streams?.byOrganization.get(subscriber.organizationId)
    if (!streams || !others?.delete(subscriber)) return
    this.#count -= 1
    if (subscriber.includeDescendants) streams.trees -= 1
    if (others.size === 0) streams.byOrganization.delete(subscriber.organizationId)
    if (streams.isEmpty) this.#accounts.delete(account)
  }

  /** Nothing is listened to, and nothing read, before somebody wants to know. */
  #begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    const listener = {
      onNotify: (account: string) => {
        if (this.#accounts.has(Number(account))) this.#look()
      },
      onLink: (isListening: boolean) => {
        this.#isListening = isListening
        this.#look()
      },
    }
    this.#db.listen(eventChannel, listener, this.#stop.signal)
    const refresh = () => {
      if (this.#accounts.size === 0) return
      registerListener(this.#db, this.#name, [...this.#accounts.keys()]).catch(this.#onTrouble)
    }
    this.#refreshing = setInterval(refresh, listenerRefreshMs).unref()
  }

  /** Reads what is new, unless that is under way: then once more after it. */
  #look(): void {
    this.#isStale = true
    if (!this.#isReading) void this.#readOn()
  }

  async #readOn(): Promise<void> {
    this.#isReading = true
    clearTimeout(this.#looking)
    try {
      while (this.#isStale && !this.#stop.signal.aborted) {
        this.#isStale = false
        await this.#readOnce()
        this.#letIn()
      }
    } catch (error) {
      // Nothing is lost by it: what was handed out is known, and the rest is read again.
      if (!this.#stop.signal.aborted) this.#onTrouble(error)
    } finally {
      this.#isReading = false
      if (!this.#stop.signal.aborted) {
        const ms = this.#isListening ? this.#lookMs.listening : this.#lookMs.alone
        this.#looking = setTimeout(() => this.#look(), ms).unref()
      }
    }
  }

  /** Reads what is new, and hands it out. */
  async #readOnce(): Promise<void> {
    const position = this.#position
    const accounts = [...this.#accounts.keys()]
    if (position === undefined || accounts.length === 0) {
      // With nobody to hand anything to, the next one begins at what is there by then.
      this.#position = await eventPosition(this.#db)
      this.#reading = undefined
      return
    }
    for (let isLastPage = false; !isLastPage; ) {
      const upTo = this.#reading?.end.snapshot ?? null
      const after = this.#reading?.after ?? 0
      const { now, events } = await readEvents(this.#db, { accounts, from: position.snapshot, upTo, after })
      // What is committed while the pages are read comes with the next reading.
      const end = this.#reading?.end ?? now
      isLastPage = events.length < eventsAtOnce
      const ancestors = await this.#ancestorsOf(events)
      for (const event of events) {
        const changes = changesOf(event, position, end, isLastPage && event === events.at(-1))
        this.#hand(event, changes, ancestors.get(event.organizationId) ?? [])
        this.#reading = { end, after: event.id }
      }
      this.#position = isLastPage ? end : position
    }
    this.#reading = undefined
  }

  #hand(
    { account, organizationId }: StoredEvent,
    changes: readonly ContactEvent[],
    ancestors: readonly number[],
  ): void {
    const streams = this.#accounts.get(account)?.byOrganization
    if (!streams) return
    for (const subscriber of [...(streams.get(organizationId) ?? [])]) subscriber.hand(changes)
    for (const id of ancestors) {
      for (const subscriber of [...(streams.get(id) ?? [])]) {
        if (subscriber.includeDescendants) subscriber.hand(changes)
      }
    }
  }

  /** The ids of those above the organizations of events, in accounts where somebody wants to know. */
  async #ancestorsOf(events: readonly StoredEvent[]): Promise<Map<number, number[]>> {
    const ancestors = new Map<number, number[]>()
    for (const [account, { trees }] of this.#accounts) {
      if (trees === 0) continue
      const own = events.filter((event) => event.account === account)
      for (const [id, above] of await ancestorsOf(this.#db, account, own)) ancestors.set(id, above)
    }
    return ancestors
  }

  /** What was committed after a cursor and before the stream was joined. */
  async *#missed(
    account: number,
    { organizationId, includeDescendants }: EventSubscription,
    after: EventPosition,
    joinedAt: EventPosition,
  ): AsyncGenerator<ContactEvent> {
    const only = { accounts: [account], organizationId: includeDescendants ? null : organizationId }
    let start = after
    if (after.within) {
      // The rest of what the cursor was in the middle of.
      const { snapshot, id, changes: seen } = after.within
      const end = { snapshot, at: after.at }
      for await (const { event, changes } of this.#stored(only, after, end, id - 1)) {
        if (await this.#isOf(organizationId, event)) yield* event.id === id ? changes.slice(seen) : changes
      }
      start = end
    }
    for await (const { event, changes } of this.#stored(only, start, joinedAt, 0)) {
      if (await this.#isOf(organizationId, event)) yield* changes
    }
  }

  /** The stored events between two places, with their changes. */
  async *#stored(
    only: { accounts: number[]; organizationId: number | null },
    start: EventPosition,
    end: EventPosition,
    afterId: number,
  ): AsyncGenerator<{ event: StoredEvent; changes: ContactEvent[] }> {
    let after = afterId
    for (let isLastPage = false; !isLastPage; ) {
      const range = { ...only, from: start.snapshot, upTo: end.snapshot, after }
      const { events } = await readEvents(this.#db, range)
      isLastPage = events.length < eventsAtOnce
      for (const event of events) {
        yield { event, changes: changesOf(event, start, end, isLastPage && event === events.at(-1)) }
        after = event.id
      }
    }
  }

  /** Whether an event is of the organization or one beneath it. */
  async #isOf(organizationId: number, event: StoredEvent): Promise<boolean> {
    if (event.organizationId === organizationId) return true
    const [above] = (await ancestorsOf(this.#db, event.account, [event])).values()
    return above?.includes(organizationId) ?? false
  }
}

async function ancestorsOf(
  db: Database,
  account: number,
  events: readonly StoredEvent[],
): Promise<Map<number, number[]>> {
  const ids = [...new Set(events.map(({ organizationId }) => organizationId))]
  const found = await findAncestors({ db, account, permissions: allPermissions }, ids)
  return new Map(ids.map((id, i) => [id, found[i]!.map((above) => above.id)]))
}

/** The changes of a stored event. After the last of a reading, the place is simply that everything was seen. */
function changesOf(event: StoredEvent, start: EventPosition, end: EventPosition, isLast: boolean): ContactEvent[] {
  return event.changes.map((change, i) => {
    const isEnd = isLast && i === event.changes.length - 1
    const within = { snapshot: end.snapshot, id: event.id, changes: i + 1 }
    const place = isEnd ? end : { snapshot: start.snapshot, at: start.at, within }
    return toContactEvent(event, change, encodeEventCursor(place))
  })
}

const shuttingDown = () => new StreamEnded('SHUTTING_DOWN', 'The server is stopping: subscribe again.')
