export interface Quartiles {
  q1: number
  median: number
  q3: number
}

/** By linear interpolation; of one value they are all that value. */
export function quartiles(values: readonly number[]): Quartiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => {
    const place = part * (sorted.length - 1)
    const below = sorted[Math.floor(place)]!
    return below + (sorted[Math.ceil(place)]! - below) * (place % 1)
  }
  return { q1: at(0.25), median: at(0.5), q3: at(0.75) }
}

export const median = (values: readonly number[]) => quartiles(values).median
