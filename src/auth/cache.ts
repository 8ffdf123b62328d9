/** Remembers what was loaded for a while: bounded, and with one load for all who ask at once. */
export function createCache<Value>(maxEntries: number, ttlMs: number, load: (key: string) => Promise<Value>) {
  const entries = new Map<string, { value: Promise<Value>; until: number }>()
  return {
    get(key: string): Promise<Value> {
      const now = performance.now()
      const found = entries.get(key)
      if (found && found.until > now) return found.value
      entries.delete(key)
      const entry = { value: load(key), until: now + ttlMs }
      entries.set(key, entry)
      // A failure is not worth remembering; by then there may be a newer entry.
      entry.value.catch(() => entries.get(key) === entry && entries.delete(key))
      if (entries.size > maxEntries) entries.delete(entries.keys().next().value!)
      return entry.value
    },
  }
}
