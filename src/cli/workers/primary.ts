import cluster from 'node:cluster'
import { createLender } from '../../auth/leases.ts'
import type { Config } from '../../config.ts'
import { createLog, guardProcess, type Log, logDatabase } from '../log.ts'
import { connect } from '../service.ts'
import { explained, greeting, prepareDatabase, serveMetrics } from '../start.ts'
import { graceMs, stopSignal } from '../stop.ts'
import { createConnections } from './connections.ts'
import { createCrew } from './crew.ts'
import type { ToWorker } from './messages.ts'

/** Brings the tables up to date, accepts connections for the workers, and counts for them all. */
export async function supervise(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const connections = createConnections(config.limits.connections)
  const { requests, nodes } = config.rateLimit ?? { requests: 0, nodes: 0 }
  const lender = createLender({ requests, nodes }, config.workers, (id, message) => {
    cluster.workers?.[id]?.send({ kind: 'limits', message } satisfies ToWorker, () => {})
  })
  const crew = createCrew(config.workers, log, {
    onReady: connections.join,
    onGone(worker) {
      connections.leave(worker)
      lender.forget(worker.id)
      void metrics?.forget(worker)
    },
    onMessage(worker, message) {
      if (message.kind === 'taken') connections.taken(worker)
      else if (message.kind === 'limits') lender.receive(worker.id, message.message)
      else metrics?.receive(worker, message.id, message.snapshot)
    },
  })
  const stopped = stopSignal(crew.kill)
  guardProcess(log.log)
  const metrics =
    config.metricsPort === undefined ? undefined : (await import('./metrics.ts')).createSharedMetrics(crew)
  const start = async () => {
    const { wasEmpty } = await prepare(config, log)
    const url = await explained('PORT', config.host, config.port, () => connections.open(config.host, config.port))
    const metricsServer = metrics && (await serveMetrics(config, metrics))
    await crew.start()
    return { greeting: greeting(url, metricsServer?.url, config, wasEmpty), metricsServer }
  }
  try {
    const starting = start()
    const running = await Promise.race([starting, stopped])
    if (!running) return void starting.catch(() => {})
    process.stdout.write(running.greeting)
    await stopped
    log.log.info('stopping: requests in progress may end')
    await connections.stop()
    await crew.stop(graceMs)
    running.metricsServer?.close()
  } finally {
    crew.kill()
    await log.flush()
  }
}

async function prepare(config: Config, { log }: Log) {
  const db = await connect(config, logDatabase(log, config.slowStatementMs))
  try {
    return await prepareDatabase(config, db)
  } finally {
    await db.close()
  }
}
