import cluster from 'node:cluster'
import type { Config } from '../../config.ts'
import { supervise } from './primary.ts'

/** Serves by several processes: in the first one, which keeps the others going, or in one of those. */
export async function serveByWorkers(config: Config): Promise<void> {
  if (!cluster.worker) return supervise(config)
  const { serveAsWorker } = await import('./worker.ts')
  return serveAsWorker(config, cluster.worker)
}
