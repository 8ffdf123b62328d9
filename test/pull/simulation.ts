import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/pull/limiter.ts'

/** Time that passes only when nothing else is to be done. */
export class Simulation implements Clock {
  #now = 0
  readonly #sleepers: { at: number; wake: () => void }[] = []

  now(): number {
    return this.#now
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const sleeper = { at: this.#now + ms, wake: resolve }
    this.#sleepers.push(sleeper)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    await promise
  }

  /** Lets time pass until the work is done. */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let isDone = false
    const end = () => {
      isDone = true
    }
    work.then(end, end)
    for (;;) {
      await setImmediate()
      if (isDone) return work
      this.#sleepers.sort((one, other) => one.at - other.at)
      const next = this.#sleepers.shift()
      // Otherwise what it waits for is of the real world.
      if (!next) continue
      this.#now = Math.max(this.#now, next.at)
      next.wake()
    }
  }
}
