/** 128 buckets in each octave: a value is known to within 0.8 %. */
const bits = 7
const buckets = 1 << bits

/** Counts of durations by logarithmic buckets, like an HDR histogram: recording costs a few instructions and no memory. */
export class Histogram {
  readonly #counts = new Uint32Array(buckets * (32 - bits))
  #count = 0
  #max = 0

  get count(): number {
    return this.#count
  }

  /** `microseconds` below 2^31; fractions do not count. */
  record(microseconds: number): void {
    const value = Math.min(0x7fffffff, Math.max(0, Math.trunc(microseconds)))
    this.#counts[bucketOf(value)]! += 1
    this.#count += 1
    if (value > this.#max) this.#max = value
  }

  /** The middle of the bucket below which this part of all values is; NaN without any. */
  quantile(part: number): number {
    if (this.#count === 0) return Number.NaN
    let left = Math.max(1, Math.ceil(part * this.#count))
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return Math.min(this.#max, middleOf(bucket))
    }
    return this.#max
  }

  /** In milliseconds. */
  summary(): Latency {
    const ms = (part: number) => this.quantile(part) / 1000
    return { count: this.#count, p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max: this.#max / 1000 }
  }
}

/** In milliseconds. */
export interface Latency {
  count: number
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
}

/** Small values have a bucket each; then each octave has as many buckets as the one before, twice as wide. */
function bucketOf(value: number): number {
  const octave = Math.max(0, 31 - bits - Math.clz32(value))
  return (octave << bits) + (value >>> octave)
}

function middleOf(bucket: number): number {
  const octave = Math.max(0, (bucket >>> bits) - 1)
  const lowest = (bucket - (octave << bits)) * 2 ** octave
  return lowest + (2 ** octave - 1) / 2
}
