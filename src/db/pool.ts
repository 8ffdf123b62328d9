import { DatabaseUnavailable } from './errors.ts'
import type { Cell } from './statement.ts'

/** A connection for one statement at a time, which lives once: when it is lost, another takes its place. */
export interface Connection {
  /** Resolves when it takes statements; rejects when it cannot be opened. */
  readonly opened: Promise<void>
  /** Whether the link is still there, as far as this side knows. It is told before `onClosed` is. */
  readonly isOpen: boolean
  /** Runs a statement outside of any transaction. Rejects with the driver's error. */
  run(text: string, cells: readonly Cell[]): Promise<unknown[][]>
  /** Takes leave of the database; what is still at work is cut after a while. */
  end(): Promise<void>
  /** Cuts it at once. What is at work on it rejects. */
  destroy(): void
}

/** Begins to open a connection. `onClosed` is told when it has gone, whoever ended it. */
export type Connect = (onClosed: () => void) => Connection

export interface PoolOptions {
  /** Connections at most. */
  size: number
  /** How long opening a connection may take, in milliseconds. */
  connectionMs: number
  onConnectionLost?: (() => void) | undefined
  onBreaker?: ((isOpen: boolean, cause: unknown) => void) | undefined
}

export interface Pool {
  /** A connection that nobody else uses; to be given back by `release` or `discard`. Rejects with a DatabaseUnavailable. */
  acquire(waitMs: number): Promise<Connection>
  release(connection: Connection): void
  /** Cuts a connection that is not to be used again. */
  discard(connection: Connection): void
  /** Cuts a connection that does not answer, and the idle ones, which have the same link and have been silent longer. */
  discardSilent(connection: Connection): void
  status(): { idle: number; busy: number; connecting: number; waiting: number }
  isBreakerOpen(): boolean
  close(): Promise<void>
}

interface Waiter {
  resolve(connection: Connection): void
  reject(error: Error): void
  timer: NodeJS.Timeout
}

/** While the database is away, this often it is tried whether it is back. */
const probeMs = 250
/** Tries that may be under way at once: one that hangs must not keep the next from finding the database back. */
const maxProbes = 8
/** After a connection could not be opened while others are: how long until the next one is tried. */
const pauseMs = 250
/** Connections are replaced in time: the processes behind them grow, and addresses move. */
const lifetimeMs = () => (30 + 30 * Math.random()) * 60_000

/**
 * Connections by demand, and a breaker: when none can be opened, whoever waits or comes is refused at once, until one of
 * the tries that go on meanwhile succeeds. Nothing is tried without a pause.
 */
export function createPool(connect: Connect, options: PoolOptions): Pool {
  const { size, connectionMs } = options
  const connecting = new Set<Connection>()
  const idle: Connection[] = []
  const busy = new Set<Connection>()
  /** When each connection is to be replaced, by `performance.now()`. */
  const expiry = new WeakMap<Connection, number>()
  const waiters = new Set<Waiter>()
  /** The most connections that there have been: as many are kept. */
  let peak = 0
  let isBreakerOpen = false
  let lastFailure: unknown
  /** In a row, of opening a connection. */
  let failures = 0
  let pausedUntil = 0
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  const openCount = () => idle.length + busy.size

  const open = () => {
    const connection = connect(() => lost(connection))
    connecting.add(connection)
    const limit = setTimeout(() => {
      // Silence has cost enough time: it counts as often as need be.
      failures += 1
      failed(new Error(`no connection could be opened within ${connectionMs} ms`))
    }, connectionMs)
    const failed = (cause: unknown) => {
      clearTimeout(limit)
      connection.destroy()
      if (connecting.delete(connection)) openingFailed(cause)
    }
    connection.opened.then(() => {
      clearTimeout(limit)
      if (!connecting.delete(connection)) return
      if (isClosed || openCount() >= size) return void connection.end()
      expiry.set(connection, performance.now() + lifetimeMs())
      failures = 0
      if (isBreakerOpen) setBreaker(false, undefined)
      give(connection)
      peak = Math.max(peak, openCount())
      refill()
    }, failed)
  }

  const openingFailed = (cause: unknown) => {
    lastFailure = cause
    failures += 1
    // The first is tried again at once: it may have been ended together with those that it was to replace.
    if (failures > 1) pausedUntil = performance.now() + pauseMs
    const isHopeless = failures > 1 && openCount() === 0 && connecting.size === 0
    if (isHopeless && !isClosed && !isBreakerOpen) setBreaker(true, cause)
    else refill()
  }

  const setBreaker = (isOpen: boolean, cause: unknown) => {
    isBreakerOpen = isOpen
    options.onBreaker?.(isOpen, cause)
    if (!isOpen) return
    for (const waiter of [...waiters]) refuse(waiter, new DatabaseUnavailable(cause))
    later(probeMs, probe)
  }

  const probe = () => {
    if (!isBreakerOpen) return refill()
    if (connecting.size < maxProbes) open()
    later(probeMs, probe)
  }

  /** One thing is due at a time: the next probe, or the end of a pause. */
  const later = (ms: number, work: () => void) => {
    clearTimeout(timer)
    if (!isClosed) timer = setTimeout(work, ms).unref()
  }

  /** Opens what is missing: one connection for each that waits, and one after the other up to what there was. */
  const refill = () => {
    if (isClosed || isBreakerOpen) return
    const pause = pausedUntil - performance.now()
    if (pause > 0) return later(pause, refill)
    const room = () => size - openCount() - connecting.size
    while (waiters.size > connecting.size && room() > 0) open()
    if (connecting.size === 0 && openCount() < peak && room() > 0) open()
  }

  const refuse = (waiter: Waiter, error: Error) => {
    waiters.delete(waiter)
    clearTimeout(waiter.timer)
    waiter.reject(error)
  }

  /** Whether the link has ended without our having been told yet. A statement on it would wait for ever. */
  const hasGone = (connection: Connection): boolean => {
    if (connection.isOpen) return false
    options.onConnectionLost?.()
    refill()
    return true
  }

  const give = (connection: Connection) => {
    if (hasGone(connection)) return
    const [waiter] = waiters
    if (!waiter) return void idle.push(connection)
    waiters.delete(waiter)
    clearTimeout(waiter.timer)
    busy.add(connection)
    waiter.resolve(connection)
  }

  const remove = (connection: Connection): boolean => {
    const at = idle.indexOf(connection)
    if (at >= 0) idle.splice(at, 1)
    return busy.delete(connection) || at >= 0
  }

  /** It has gone without our doing, if we still had it. */
  const lost = (connection: Connection) => {
    if (!remove(connection)) return
    if (isClosed) return
    options.onConnectionLost?.()
    refill()
  }

  const discard = (connection: Connection) => {
    lost(connection)
    connection.destroy()
  }

  return {
    acquire(waitMs) {
      for (let connection = idle.pop(); connection; connection = idle.pop()) {
        if (hasGone(connection)) continue
        busy.add(connection)
        return Promise.resolve(connection)
      }
      if (isClosed) return Promise.reject(new DatabaseUnavailable(new Error('the pool is closed')))
      if (isBreakerOpen) return Promise.reject(new DatabaseUnavailable(lastFailure))
      return new Promise((resolve, reject) => {
        const timeout = () =>
          refuse(waiter, new DatabaseUnavailable(new Error(`no connection was free within ${Math.round(waitMs)} ms`)))
        const waiter: Waiter = { resolve, reject, timer: setTimeout(timeout, waitMs) }
        waiters.add(waiter)
        refill()
      })
    },
    release(connection) {
      if (!busy.delete(connection)) return
      if (isClosed || performance.now() > expiry.get(connection)!) {
        void connection.end()
        refill()
      } else give(connection)
    },
    discard,
    discardSilent(connection) {
      for (const each of [...idle, connection]) discard(each)
    },
    status: () => ({
      idle: idle.length,
      busy: busy.size,
      connecting: connecting.size,
      waiting: waiters.size,
    }),
    isBreakerOpen: () => isBreakerOpen,
    async close() {
      isClosed = true
      clearTimeout(timer)
      for (const waiter of [...waiters]) refuse(waiter, new DatabaseUnavailable(new Error('the pool is closed')))
      for (const connection of connecting) connection.destroy()
      await Promise.all([...idle.splice(0), ...busy].map((connection) => connection.end()))
    },
  }
}
