import type { Worker } from 'node:cluster'
import { AggregatorRegistry, Counter, Gauge, prometheusContentType, Registry } from 'prom-client'
import { renderAll, type Snapshot } from '../../telemetry/metrics.ts'
import type { Crew } from './crew.ts'
import type { ToWorker } from './messages.ts'

/** How long a worker may take to tell; after that, what it told last counts. */
const answerMs = 1_000

/** The metrics of all workers together. */
export function createSharedMetrics({ serving, losses }: Pick<Crew, 'serving' | 'losses'>) {
  const latest = new Map<Worker, Snapshot>()
  const asked = new Map<number, () => void>()
  let lastId = 0
  /** What workers had counted that have ended: counters never fall. */
  let departed: Snapshot = []

  const register = new Registry()
  const registers = [register]
  new Gauge({
    name: 'gateway_workers',
    help: 'Workers that serve.',
    registers,
    collect() {
      this.set(serving().length)
    },
  })
  new Counter({
    name: 'gateway_workers_lost_total',
    help: 'Workers that have ended without being told to.',
    registers,
    collect() {
      this.reset()
      this.inc(losses())
    },
  })

  const ask = (worker: Worker) =>
    new Promise<void>((resolve) => {
      lastId += 1
      const id = lastId
      const done = () => {
        clearTimeout(timer)
        asked.delete(id)
        resolve()
      }
      const timer = setTimeout(done, answerMs)
      asked.set(id, done)
      worker.send({ kind: 'metrics', id } satisfies ToWorker, () => {})
    })

  return {
    contentType: prometheusContentType,
    async render() {
      await Promise.all(serving().map(ask))
      return renderAll([departed, ...latest.values(), await register.getMetricsAsJSON()])
    },
    receive(worker: Worker, id: number, snapshot: Snapshot) {
      latest.set(worker, snapshot)
      asked.get(id)?.()
    },
    async forget(worker: Worker) {
      const last = latest.get(worker)
      latest.delete(worker)
      if (!last) return
      const counted = last.filter(({ type }) => String(type) !== 'gauge')
      departed = await AggregatorRegistry.aggregate([departed, counted]).getMetricsAsJSON()
    },
  }
}
