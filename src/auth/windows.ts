/** How long points are counted before counting begins anew. */
export const windowSeconds = 60
export const windowMs = windowSeconds * 1000

/** Values by key, each until it ends, a window after it was set at the latest. What has ended is let go, without a timer. */
export class Windows<Value extends { readonly endsAt: number }> {
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()
  #turnsAt = 0

  get(key: string, now: number): Value | undefined {
    const value = this.#young.get(key) ?? this.#old.get(key)
    return value && value.endsAt > now ? value : undefined
  }

  set(key: string, value: Value, now: number): void {
    if (now >= this.#turnsAt) {
      // What is old by now was set more than a window ago.
      this.#old = this.#young
      this.#young = new Map()
      this.#turnsAt = now + windowMs
    }
    this.#young.set(key, value)
  }
}

/** What a key has used in its window. */
export interface Use {
  /** With what was asked for; above the limit it is refused. */
  consumed: number
  msLeft: number
}

/** Counts points by key. */
export interface Counter {
  consume(key: string, points: number): Use | Promise<Use>
}

/** Counts in the memory of this process. */
export function createMemoryCounter(): { consume(key: string, points: number): Use } {
  const windows = new Windows<{ consumed: number; readonly endsAt: number }>()
  return {
    consume(key, points) {
      const now = Date.now()
      const window = windows.get(key, now)
      if (!window) {
        windows.set(key, { consumed: points, endsAt: now + windowMs }, now)
        return { consumed: points, msLeft: windowMs }
      }
      window.consumed += points
      return { consumed: window.consumed, msLeft: window.endsAt - now }
    },
  }
}
