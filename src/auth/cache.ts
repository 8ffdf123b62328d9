/** Remembers what was loaded for a while: bounded, and with one load for all who ask at once. */
export function createCache<Value>(maxEntries: number, ttlMs: number, load: (key: string) => Promise<Value>) {
  const entries = new Map<string, { value: Promise<Value>; until: number }>()
  return {
    get(key: string): Promise<Value> {
      const now = performance.now()
      const found = entries.get(key)
      if (found && found.until > now) return found.value
      entries.delete(key)
      const value = load(key)
      entries.set(key, { value, until: now + ttlMs })
      // A failure is not worth remembering.
      value.catch(() => entries.delete(key))
      if (entries.size > maxEntries) entries.delete(entries.keys().next().value!)
      return value
    },
  }
}
