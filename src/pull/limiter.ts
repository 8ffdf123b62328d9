/** Time, so that tests need not wait for it. */
export interface Clock {
  /** Milliseconds, which only grow. */
  now(): number
  /** Resolves after so many milliseconds, or rejects with the reason of the signal. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/** At most so many requests in any stretch of time that is so long. */
export interface Window {
  requests: number
  ms: number
}

export interface Limits {
  windows: readonly Window[]
  /** How many requests may be under way at once. */
  concurrency: number
}

/** Lets requests begin in the order in which they come, each as soon as every limit allows it. */
export class Limiter {
  readonly #clock: Clock
  readonly #concurrency: number
  readonly #windows: readonly SlidingWindow[]
  #underWay = 0
  #pausedUntil = 0
  /** Settles when whoever came last has had its turn. */
  #last: Promise<void> = Promise.resolve()
  #onEnd: (() => void) | undefined

  constructor({ windows, concurrency }: Limits, clock: Clock) {
    this.#clock = clock
    this.#concurrency = concurrency
    this.#windows = windows.map((window) => new SlidingWindow(window))
  }

  async run<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    await this.#begin(signal)
    try {
      return await work()
    } finally {
      this.#underWay -= 1
      for (const window of this.#windows) window.end(this.#clock.now())
      this.#onEnd?.()
    }
  }

  /** Lets nothing begin for so long. */
  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + ms)
  }

  /** Waits for its turn, and takes its place. */
  async #begin(signal: AbortSignal): Promise<void> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    await before
    try {
      for (;;) {
        signal.throwIfAborted()
        const ms = this.#wait()
        if (ms <= 0) break
        if (ms === Number.POSITIVE_INFINITY) await this.#anyEnd(signal)
        else await this.#clock.sleep(ms, signal)
      }
      this.#underWay += 1
      for (const window of this.#windows) window.begin()
    } finally {
      resolve()
    }
  }

  /** How long until the next request may begin, as far as it is known. */
  #wait(): number {
    const now = this.#clock.now()
    if (this.#underWay >= this.#concurrency) return Number.POSITIVE_INFINITY
    return Math.max(this.#pausedUntil - now, ...this.#windows.map((window) => window.wait(now)))
  }

  async #anyEnd(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#onEnd = resolve
    try {
      await promise
    } finally {
      this.#onEnd = undefined
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/**
 * A request takes a place when it begins, and gives it back a window after its end: only then the server, which counts it
 * somewhere in between, has certainly forgotten it.
 */
class SlidingWindow {
  readonly #requests: number
  readonly #ms: number
  #underWay = 0
  /** When places come back, in order. */
  readonly #free: number[] = []

  constructor({ requests, ms }: Window) {
    this.#requests = requests
    this.#ms = ms
  }

  begin(): void {
    this.#underWay += 1
  }

  end(now: number): void {
    this.#underWay -= 1
    this.#free.push(now + this.#ms)
  }

  wait(now: number): number {
    while (this.#free[0] !== undefined && this.#free[0] <= now) this.#free.shift()
    if (this.#underWay + this.#free.length < this.#requests) return 0
    return this.#free[0] === undefined ? Number.POSITIVE_INFINITY : this.#free[0] - now
  }
}
