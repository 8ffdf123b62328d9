import { AsyncResource } from 'node:async_hooks'
import type { RequestScope, StatementOutcome } from './client.ts'
import { DeadlineExceeded } from './errors.ts'
import type { Cell, Keys, Statement } from './statement.ts'

/** Runs a statement. Its parameters are asked for when there is a connection: once for each try. */
export type Send = (
  statement: Statement<never, unknown>,
  bind: () => readonly Cell[],
  scope: RequestScope,
) => Promise<unknown[][]>

type Read = <Parameters extends Keys, Row>(
  statement: Statement<Parameters, Row>,
  parameters: Parameters,
  scope: RequestScope | undefined,
) => Promise<Row[]>

/** As many keys go with one statement, so that nobody has to wait for what others add without an end. */
export const maxKeysTogether = 256

/** By so much whoever is late may be told late. */
const timerStepMs = 20

const noKeys: readonly never[] = []
const noRows: readonly never[] = Object.freeze([])

/**
 * Sends the keyed reads of all requests which differ in nothing but their keys as one statement: at the end of the turn of
 * the event loop, as soon as there is a connection. Until then others may join. What has been sent is not joined: it may
 * not see a write whose end the next reader has been told of.
 */
export function createBatches(send: Send): Read {
  /** Those that can be joined, by their statement and by all parameters but the keys. */
  const open = new Map<unknown, Map<string, Batch>>()
  let starting: (() => void)[] = []

  const startAll = () => {
    const all = starting
    starting = []
    for (const start of all) start()
  }

  return (statement, parameters, scope) => {
    const { keys } = parameters
    const group = JSON.stringify(statement.bind({ ...parameters, keys: noKeys }))
    let groups = open.get(statement)
    if (!groups) {
      groups = new Map()
      open.set(statement, groups)
    }
    const others = groups
    const known = groups.get(group)
    if (known?.hasRoomFor(keys)) return known.join(keys, scope)

    const batch = new Batch()
    others.set(group, batch)
    const close = () => {
      if (others.get(group) === batch) others.delete(group)
    }
    const bind = () => {
      close()
      return statement.bind({ ...parameters, keys: batch.close() })
    }
    const start = async () => {
      try {
        const [columns] = await send(statement as never, bind, batch)
        batch.resolve(statement.byKey!(columns!))
      } catch (error) {
        batch.reject(error)
      } finally {
        close()
      }
    }
    // Who observes the statement finds the request that was the first to ask. (`AsyncLocalStorage.bind` would do the same,
    // but each function that it returns has accessors, which keep what it refers to until the old space is tidied.)
    const first = new AsyncResource('Batch')
    if (starting.push(() => first.runInAsyncScope(start)) === 1) setImmediate(startAll)
    return batch.join(keys, scope)
  }
}

/** Whoever waits for the lists of some keys. */
interface Member {
  readonly keys: readonly number[]
  readonly scope: RequestScope | undefined
  resolve(lists: unknown[]): void
  reject(error: unknown): void
}

/** The members of one statement, which is to it the scope of one request: that of all of them together. */
class Batch implements RequestScope {
  limitMs = 0
  readonly #keys = new Set<number>()
  readonly #members: Member[] = []
  /** Those whose deadline has not passed. */
  readonly #waiting = new Set<Member>()
  #isOpen = true
  #timer: NodeJS.Timeout | undefined
  /** When the timer is due. */
  #dueAt = Number.POSITIVE_INFINITY

  /** There is none as long as others may join. */
  get deadline(): number {
    if (this.#isOpen) return Number.POSITIVE_INFINITY
    let latest = Number.NEGATIVE_INFINITY
    for (const { scope } of this.#waiting) latest = Math.max(latest, deadlineOf(scope))
    return latest
  }

  onStatement(name: string, startedAt: number, ms: number, outcome: StatementOutcome): void {
    for (const { scope } of this.#members) scope?.onStatement?.(name, startedAt, ms, outcome)
  }

  hasRoomFor(keys: readonly number[]): boolean {
    let size = this.#keys.size
    for (const key of keys) if (!this.#keys.has(key)) size += 1
    return size <= maxKeysTogether
  }

  join<Row>(keys: readonly number[], scope: RequestScope | undefined): Promise<Row[]> {
    for (const key of keys) this.#keys.add(key)
    return new Promise((resolve, reject) => {
      const member: Member = { keys, scope, resolve: resolve as Member['resolve'], reject }
      this.#members.push(member)
      this.#waiting.add(member)
      this.#watch(deadlineOf(scope))
    })
  }

  /** Nobody joins any more. Returns the keys of all members; throws where nobody waits for them. */
  close(): number[] {
    this.#isOpen = false
    if (this.#waiting.size === 0) throw new DeadlineExceeded('request', this.limitMs)
    return [...this.#keys]
  }

  resolve(lists: ReadonlyMap<number, readonly unknown[]>): void {
    clearTimeout(this.#timer)
    for (const { keys, resolve } of this.#waiting) resolve(keys.map((key) => lists.get(key) ?? noRows))
  }

  reject(error: unknown): void {
    clearTimeout(this.#timer)
    for (const { reject } of this.#waiting) reject(error)
  }

  /** Refuses in time whoever is late; the others go on waiting. One timer serves them all. */
  #watch(deadline: number): void {
    if (deadline >= this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = deadline
    // Timers of one duration share a list, so there is to be no great number of durations.
    const ms = Math.max(0, Math.ceil((deadline - performance.now()) / timerStepMs) * timerStepMs)
    this.#timer = setTimeout(() => this.#refuseLate(), ms)
  }

  #refuseLate(): void {
    const now = performance.now()
    this.#dueAt = Number.POSITIVE_INFINITY
    for (const member of this.#waiting) {
      const { scope, reject } = member
      if (deadlineOf(scope) > now) {
        this.#watch(deadlineOf(scope))
        continue
      }
      this.#waiting.delete(member)
      this.limitMs = scope!.limitMs
      reject(new DeadlineExceeded('request', scope!.limitMs))
    }
  }
}

const deadlineOf = (scope: RequestScope | undefined) => scope?.deadline ?? Number.POSITIVE_INFINITY
