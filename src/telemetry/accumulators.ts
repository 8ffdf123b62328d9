import type { Metric, Registry } from 'prom-client'

type Labels = Readonly<Record<string, string>>

/** Adds up what belongs to one combination of labels. Whoever counts keeps it, so that counting looks up nothing. */
export interface Tally {
  value: number
}

/** What was observed under one combination of labels. */
export class Observations {
  readonly #bounds: readonly number[]
  /** For each bound what is not above it but above the one before; at the end what is above them all. */
  readonly counts: Float64Array
  sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let place = 0
    while (place < this.#bounds.length && value > this.#bounds[place]!) place += 1
    this.counts[place]! += 1
    this.sum += value
  }
}

/** A counter of the registry. Returns what makes the tally of a combination of labels, once for each. */
export function registerCounter(register: Registry, name: string, help: string): (labels: Labels) => Tally {
  const tallies: { labels: Labels; value: number }[] = []
  registerMetric(register, name, help, 'counter', () => tallies.map((tally) => ({ ...tally })))
  return (labels) => {
    const tally = { labels, value: 0 }
    tallies.push(tally)
    return tally
  }
}

/** A histogram of the registry. Returns what makes the observations of a combination of labels, once for each. */
export function registerHistogram(
  register: Registry,
  name: string,
  help: string,
  bounds: readonly number[],
): (labels: Labels) => Observations {
  const all: { labels: Labels; observations: Observations }[] = []
  registerMetric(register, name, help, 'histogram', () =>
    all.flatMap(({ labels, observations: { counts, sum } }) => {
      let count = 0
      const buckets = [...bounds, '+Inf'].map((le, place) => {
        count += counts[place]!
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count }
      })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ]
    }),
  )
  return (labels) => {
    const observations = new Observations(bounds)
    all.push({ labels, observations })
    return observations
  }
}

interface Value {
  metricName?: string
  labels: Readonly<Record<string, string | number>>
  value: number
}

function registerMetric(
  register: Registry,
  name: string,
  help: string,
  type: 'counter' | 'histogram',
  values: () => Value[],
): void {
  const metric = { name, get: async () => ({ name, help, type, aggregator: 'sum', values: values() }) }
  // A registry asks its metrics for no more than this, as those show that prom-client itself makes of several processes.
  register.registerMetric(metric as unknown as Metric)
}
