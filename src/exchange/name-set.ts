const firstSize = 2 ** 10
/** How full the table may be: beyond it, looking for a free place takes long. */
const fullest = 0.6

/**
 * Remembers millions of names by eight bytes each. `add` tells whether a name may have been there before: names that differ
 * can look alike, one pair among a hundred million names.
 */
export class NameSet {
  /** Hashes, at their place or the next free one; 0 where there is none. */
  #table = new Float64Array(firstSize)
  #count = 0
  readonly #hash: (name: string) => number

  /** Hashes are integers from 1. */
  constructor(hash = hashOf) {
    this.#hash = hash
  }

  add(name: string): boolean {
    if (this.#put(this.#table, this.#hash(name))) return true
    this.#count += 1
    if (this.#count > this.#table.length * fullest) this.#grow()
    return false
  }

  #put(table: Float64Array, hash: number): boolean {
    let at = hash % table.length
    while (table[at] !== 0) {
      if (table[at] === hash) return true
      at = (at + 1) % table.length
    }
    table[at] = hash
    return false
  }

  #grow(): void {
    const table = new Float64Array(this.#table.length * 2)
    for (const hash of this.#table) if (hash !== 0) this.#put(table, hash)
    this.#table = table
  }
}

/** 53 bits, of two sums that mix differently; never 0. */
export function hashOf(text: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 4294967296 * (2097151 & low) + (high >>> 0) || 1
}
