import { getTableName } from 'drizzle-orm'
import { RateLimiterMemory, RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import type { Database } from '../db/client.ts'
import { rateLimits } from '../db/tables.ts'
import { type Counter, createMemoryCounter, type Use, windowSeconds } from './windows.ts'

export interface RateLimits {
  /** In a minute, by one caller. */
  requests: number
  /** Nodes of GraphQL that are asked for in a minute, by one caller. */
  nodes: number
  /** Requests of one caller at the same time, in one process. */
  concurrent: number
  /** Streams of one caller at the same time, in one process. */
  streams: number
}

/** The caller has used up a limit. */
export class RateLimited extends Error {
  readonly retryAfterSeconds: number
  readonly headers: Record<string, string>
  constructor(message: string, retryAfterSeconds: number, headers: Record<string, string> = {}) {
    super(message)
    this.name = 'RateLimited'
    this.retryAfterSeconds = retryAfterSeconds
    this.headers = { 'retry-after': String(retryAfterSeconds), ...headers }
  }
}

export interface RateLimiter {
  /** Counts a request in; `leave` counts it out. Throws a RateLimited when there are too many. */
  enter(key: string): Promise<{ headers: Record<string, string>; leave(): void }>
  /** Counts the nodes that a document asks for. Throws a RateLimited when there are too many. */
  spendNodes(key: string, nodes: number): Promise<void>
  /** Counts a stream in; what it returns counts it out. Throws a RateLimited when there are too many. */
  openStream(key: string): () => void
}

/** How many of something each key has at the moment. */
class Presence {
  readonly #present = new Map<string, number>()

  count = (key: string): number => this.#present.get(key) ?? 0

  /** One more; what it returns takes it away again. */
  enter(key: string): () => void {
    this.#present.set(key, this.count(key) + 1)
    return () => {
      const left = this.count(key) - 1
      if (left === 0) this.#present.delete(key)
      else this.#present.set(key, left)
    }
  }
}

export type CounterOf = (name: string, limit: number) => Counter

/** Limits by caller: in the memory of this process, shared by all through their database, or as `counterOf` counts. */
export function createRateLimiter(
  limits: RateLimits,
  shared: Database | undefined,
  counterOf: CounterOf = shared ? (name, limit) => createStoredCounter(shared, name, limit) : createMemoryCounter,
): RateLimiter {
  const requests = counterOf('requests', limits.requests)
  const nodes = counterOf('nodes', limits.nodes)
  const requestsLimit = String(limits.requests)
  const inProgress = new Presence()
  const streaming = new Presence()

  return {
    async enter(key) {
      const now = inProgress.count(key)
      if (now >= limits.concurrent) {
        throw new RateLimited(`${now + 1} requests at the same time; at most ${limits.concurrent} are allowed.`, 1)
      }
      const leave = inProgress.enter(key)
      let used: Use
      try {
        const counted = requests.consume(key, 1)
        used = counted instanceof Promise ? await counted : counted
      } catch (error) {
        leave()
        throw error
      }
      if (used.consumed > limits.requests) {
        leave()
        throw limited(used, 'requests', limits.requests)
      }
      return { headers: headersOf(used, limits.requests, requestsLimit), leave }
    },
    async spendNodes(key, count) {
      if (count === 0) return
      const counted = nodes.consume(key, count)
      const used = counted instanceof Promise ? await counted : counted
      if (used.consumed > limits.nodes) throw limited(used, 'nodes', limits.nodes)
    },
    openStream(key) {
      const now = streaming.count(key)
      if (now >= limits.streams) {
        const message = `${now + 1} streams at the same time; at most ${limits.streams} are allowed.`
        throw new RateLimited(message, streamRetrySeconds)
      }
      return streaming.enter(key)
    },
  }
}

/** When one of them will end, nobody knows. */
const streamRetrySeconds = 10

const secondsOf = ({ msLeft }: Use) => Math.max(1, Math.ceil(msLeft / 1000))

const headersOf = (used: Use, limit: number, limitText = String(limit)) => ({
  'ratelimit-limit': limitText,
  'ratelimit-remaining': String(Math.max(0, limit - used.consumed)),
  'ratelimit-reset': String(secondsOf(used)),
})

const limited = (used: Use, what: string, limit: number) =>
  new RateLimited(
    `${used.consumed} ${what} within ${windowSeconds} seconds; at most ${limit} are allowed.`,
    secondsOf(used),
    headersOf(used, limit),
  )

/** Counts in the database, for all processes. Without it, each counts for itself until it is back. */
function createStoredCounter(db: Database, name: string, limit: number): Counter {
  const options = { keyPrefix: name, points: limit, duration: windowSeconds }
  const limiter = new RateLimiterPostgres({
    ...options,
    storeClient: asClient(db),
    storeType: 'client',
    tableName: getTableName(rateLimits),
    tableCreated: true,
    // Who has used up a limit costs the database nothing more.
    inMemoryBlockOnConsumed: limit + 1,
    insuranceLimiter: new RateLimiterMemory(options),
  })
  const useOf = ({ consumedPoints, msBeforeNext }: RateLimiterRes, atLeast: number): Use => ({
    consumed: Math.max(consumedPoints, atLeast),
    msLeft: msBeforeNext,
  })
  return {
    consume: (key, points) =>
      limiter.consume(key, points).then(
        (used) => useOf(used, 0),
        (refused) => {
          if (!(refused instanceof RateLimiterRes)) throw refused
          // One that is refused without the database does not know how much it was.
          return useOf(refused, limit + 1)
        },
      ),
  }
}

/** Our database in the form that the limiter calls. */
const asClient = (db: Database) => ({
  async query({ text, values }: { text: string; values: (string | number)[] }) {
    const rows = await db.run(
      {
        name: 'rate_limit',
        text,
        bind: () => values.map(String),
        row: ([points, expire]) => ({ points, expire }),
        repeatable: false,
      },
      undefined,
    )
    return { rows, rowCount: rows.length }
  },
})
