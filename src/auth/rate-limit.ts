import { getTableName } from 'drizzle-orm'
import { RateLimiterMemory, RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import type { Database } from '../db/client.ts'
import { rateLimits } from '../db/tables.ts'

export interface RateLimits {
  /** In a minute, by one caller. */
  requests: number
  /** Nodes of GraphQL that are asked for in a minute, by one caller. */
  nodes: number
  /** Requests of one caller at the same time, in one process. */
  concurrent: number
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
}

const windowSeconds = 60

/** Limits by caller: in memory, or shared by all processes through their database. */
export function createRateLimiter(limits: RateLimits, shared: Database | undefined): RateLimiter {
  const counter = (name: string, points: number) => {
    const options = { keyPrefix: name, points, duration: windowSeconds }
    // Without the database, each process limits for itself until it is back.
    return shared
      ? new RateLimiterPostgres({
          ...options,
          storeClient: asClient(shared),
          storeType: 'client',
          tableName: getTableName(rateLimits),
          tableCreated: true,
          // Who has used up a limit costs the database nothing more.
          inMemoryBlockOnConsumed: points + 1,
          insuranceLimiter: new RateLimiterMemory(options),
        })
      : new RateLimiterMemory(options)
  }
  const requests = counter('requests', limits.requests)
  const nodes = counter('nodes', limits.nodes)
  const inProgress = new Map<string, number>()

  return {
    async enter(key) {
      const now = inProgress.get(key) ?? 0
      if (now >= limits.concurrent) {
        throw new RateLimited(`${now + 1} requests at the same time; at most ${limits.concurrent} are allowed.`, 1)
      }
      inProgress.set(key, now + 1)
      const leave = () => {
        const left = inProgress.get(key)! - 1
        if (left === 0) inProgress.delete(key)
        else inProgress.set(key, left)
      }
      try {
        const used = await requests.consume(key)
        return { headers: headersOf(used, limits.requests), leave }
      } catch (error) {
        leave()
        throw limited(error, 'requests', limits.requests)
      }
    },
    async spendNodes(key, count) {
      if (count === 0) return
      try {
        await nodes.consume(key, count)
      } catch (error) {
        throw limited(error, 'nodes', limits.nodes)
      }
    },
  }
}

const secondsOf = ({ msBeforeNext }: RateLimiterRes) => Math.max(1, Math.ceil(msBeforeNext / 1000))

const headersOf = (used: RateLimiterRes, limit: number) => ({
  'ratelimit-limit': String(limit),
  'ratelimit-remaining': String(Math.max(0, used.remainingPoints)),
  'ratelimit-reset': String(secondsOf(used)),
})

function limited(error: unknown, what: string, limit: number): unknown {
  if (!(error instanceof RateLimiterRes)) return error
  return new RateLimited(
    `${Math.max(error.consumedPoints, limit + 1)} ${what} within ${windowSeconds} seconds; at most ${limit} are allowed.`,
    secondsOf(error),
    headersOf(error, limit),
  )
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
