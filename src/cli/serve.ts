import { Command } from 'commander'
import { type Config, readConfig } from '../config.ts'
import { createLog, guardProcess } from './log.ts'
import { openService, type Service } from './service.ts'
import { greeting, prepareDatabase, serveMetrics } from './start.ts'
import { graceMs, stopSignal } from './stop.ts'

export function serveCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('serve')
    .description(
      'Serve GraphQL and REST by HTTP (the default command). Stops on SIGTERM or SIGINT; a second one stops at once.',
    )
    .action(async () => {
      const wanted = readConfig(env)
      // For developers: what is installed for production alone has no such page.
      const config = { ...wanted, graphiql: wanted.graphiql && isInstalled('@graphql-yoga/render-graphiql') }
      // One voice: workers are connected to the process that has said so.
      if (wanted.graphiql && !config.graphiql && !process.connected)
        process.stderr.write('GRAPHIQL is taken as off: `npm ci --omit=dev` leaves GraphiQL out.\n')
      if (config.workers === 1) return serve(config)
      const { serveByWorkers } = await import('./workers/workers.ts')
      return serveByWorkers(config)
    })
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

/** Serves in this process. */
async function serve(config: Config): Promise<void> {
  const { log, flush } = createLog(config.logLevel)
  const stopped = stopSignal()
  guardProcess(log)
  const service = await openService(config, log)
  try {
    const starting = start(config, service)
    // A start that waits for the database is given up; one that comes to an end all the same closes what it opened.
    const running = await Promise.race([starting, stopped])
    if (!running) return void starting.then(({ close }) => close(0)).catch(() => {})
    process.stdout.write(running.greeting)
    await stopped
    log.info('stopping: requests in progress may end')
    await running.close(graceMs)
  } finally {
    await service.close()
    await flush()
  }
}

/** Brings the tables up to date, and listens. */
async function start(config: Config, service: Service) {
  const { wasEmpty } = await prepareDatabase(config, service.db)
  const server = await service.listen()
  try {
    const metricsServer = service.metrics && (await serveMetrics(config, service.metrics))
    return {
      greeting: greeting(server.url, metricsServer?.url, config, wasEmpty),
      async close(graceMs: number) {
        await server.close(graceMs)
        metricsServer?.close()
      },
    }
  } catch (error) {
    await server.close(0)
    throw error
  }
}
