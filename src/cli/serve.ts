import { Command } from 'commander'
import { type AppOptions, createApp } from '../app.ts'
import type { Authenticate } from '../auth/authenticate.ts'
import { createRateLimiter } from '../auth/rate-limit.ts'
import { byToken } from '../auth/token.ts'
import { type AuthConfig, type Config, readConfig } from '../config.ts'
import { type Database, type DatabaseObserver, openDatabase } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { countOrganizations } from '../domain/organization-lists.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { seedOrganizations } from '../domain/seed.ts'
import { firstQuery, graphqlPath } from '../graphql/handler.ts'
import { listenForMetrics } from '../http/metrics-server.ts'
import { listen, type RunningServer } from '../http/server.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { OperatorError } from './failure.ts'
import { createLog, guardProcess, logDatabase } from './log.ts'

/** How long requests in progress may take after a signal. */
const graceMs = 7_500
/** How long traces may take to be sent at the end. */
const lastTracesMs = 1_000
/** When a stop has not come to its end by then, something hangs that is not worth waiting for. */
const stopMs = 9_500

export function serveCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('serve')
    .description(
      'Serve GraphQL and REST by HTTP (the default command). Stops on SIGTERM or SIGINT; a second one stops at once.',
    )
    .action(() => serve(readConfig(env)))
}

async function serve(config: Config): Promise<void> {
  const { log, flush } = createLog(config.logLevel)
  const stopped = stopSignal()
  guardProcess(log)
  // What nobody asked for is not even loaded.
  const metrics =
    config.metricsPort === undefined ? undefined : (await import('../telemetry/metrics.ts')).createMetrics()
  const tracing =
    config.tracesUrl &&
    (await import('../telemetry/tracing.ts')).createTracing(config.tracesUrl, () =>
      log.warn('traces could not be sent: is OTEL_EXPORTER_OTLP_ENDPOINT the address of a collector?'),
    )
  const db = await openDatabase({
    url: config.databaseUrl,
    poolSize: config.databasePoolSize,
    prepare: config.databasePrepare,
    deadlines: config.deadlines,
    observer: bothOf(logDatabase(log, config.slowStatementMs), metrics?.observer),
  })
  metrics?.watch(db.status)
  try {
    const starting = start(config, { db, log, metrics, tracing })
    // A start that waits for the database is given up; one that comes to an end all the same closes what it opened.
    const running = await Promise.race([starting, stopped])
    if (!running) return void starting.then(({ close }) => close(0)).catch(() => {})
    process.stdout.write(running.greeting)
    await stopped
    log.info('stopping: requests in progress may end')
    await running.close(graceMs)
  } finally {
    await Promise.all([db.close(), tracing?.close(lastTracesMs)])
    await flush()
  }
}

type Parts = Pick<AppOptions, 'db' | 'log' | 'metrics' | 'tracing'>

/** Brings the tables up to date, and listens. */
async function start(config: Config, { db, log, metrics, tracing }: Parts) {
  await migrate(db)
  const { authenticate, isEmpty } = await authenticateBy(config.auth, db)
  const { rateLimit } = config
  const limiter = rateLimit && createRateLimiter(rateLimit, rateLimit.isShared ? db : undefined)
  const handler = createApp({ ...config, db, authenticate, limiter, log, metrics, tracing })
  const server = await listenOrExplain(config, { handler, log, isReachable: db.isReachable })
  try {
    const metricsServer = metrics && (await serveMetrics(config, metrics))
    return {
      greeting: greeting(server.url, metricsServer?.url, config, isEmpty),
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

/** Tells two who want to know, or one. */
function bothOf(one: DatabaseObserver, other: DatabaseObserver | undefined): DatabaseObserver {
  return {
    onStatement(...told) {
      one.onStatement?.(...told)
      other?.onStatement?.(...told)
    },
    onRetry(...told) {
      one.onRetry?.(...told)
      other?.onRetry?.(...told)
    },
    onConnectionLost() {
      one.onConnectionLost?.()
      other?.onConnectionLost?.()
    },
    onBreaker(...told) {
      one.onBreaker?.(...told)
      other?.onBreaker?.(...told)
    },
  }
}

interface Callers {
  authenticate: Authenticate
  /** Whether the account that is served without authentication had no organizations yet. */
  isEmpty: boolean
}

async function authenticateBy(auth: AuthConfig, db: Database): Promise<Callers> {
  if (auth.kind === 'token') return { authenticate: byToken(db), isEmpty: false }
  if (auth.kind === 'jwt') return { authenticate: (await import('../auth/jwt.ts')).byJwt(db, auth), isEmpty: false }
  const caller = { account: await ensureAccount(db, demoAccount), permissions: allPermissions, key: undefined }
  return { authenticate: async () => caller, isEmpty: await seedIfNew({ db, ...caller }) }
}

/** Gives an embedded database the sample when it is new. Tells whether there was nothing in it. */
async function seedIfNew(ctx: Context): Promise<boolean> {
  // Organizations are never deleted, so an embedded database without any has not been seeded yet.
  const isEmpty = (await countOrganizations(ctx, {})) === 0
  if (isEmpty && ctx.db.engine === 'pglite') await seedOrganizations(ctx, sampleOrganizations)
  return isEmpty
}

/**
 * Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, and so does what is left of a stop that
 * takes too long.
 */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143)
      stopping = true
      setTimeout(() => process.exit(0), stopMs).unref()
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}

function listenOrExplain(
  { host, port, limits, publicOrigin, overload }: Config,
  options: Pick<Parameters<typeof listen>[0], 'handler' | 'log' | 'isReachable'>,
): Promise<RunningServer> {
  const { bodyBytes: maxBodyBytes, connections: maxConnections } = limits
  return explained('PORT', host, port, () =>
    listen({ ...options, host, port, maxBodyBytes, maxConnections, publicOrigin, overload }),
  )
}

function serveMetrics({ host, metricsPort: port = 0 }: Config, { contentType, render }: Metrics) {
  return explained('METRICS_PORT', host, port, () => listenForMetrics({ host, port, contentType, render }))
}

/** Says in words what keeps a port from being listened to. */
async function explained<Result>(
  variable: string,
  host: string,
  port: number,
  listenThere: () => Promise<Result>,
): Promise<Result> {
  try {
    return await listenThere()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new OperatorError(`Port ${port} of ${host} is taken: set ${variable} to another one.`)
    if (code === 'EACCES')
      throw new OperatorError(`Port ${port} of ${host} needs more rights: set ${variable} to one above 1023.`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new OperatorError(`HOST is ${host}, which is no address of this machine.`)
    }
    throw error
  }
}

function greeting(
  url: string,
  metricsUrl: string | undefined,
  { graphiql, databaseUrl, auth }: Config,
  wasEmpty: boolean,
): string {
  const endpoint = url + graphqlPath
  const isEmbedded = databaseUrl.startsWith('pglite:')
  return [
    `The contacts gateway is ready: ${endpoint}`,
    isEmbedded ? `It serves the embedded database (${databaseUrl}).` : 'It serves PostgreSQL.',
    ...(metricsUrl ? [`Prometheus finds its metrics at ${metricsUrl}.`] : []),
    ...(wasEmpty && !isEmbedded
      ? ['There are no organizations yet: `npm run -s gateway -- seed` adds the sample.']
      : []),
    '',
    ...(graphiql
      ? [
          'Open the address in a browser for GraphiQL, with this query ready to run:',
          '',
          firstQuery.replace(/^(?=.)/gm, '  '),
        ]
      : []),
    'From a shell:',
    '',
    `  curl ${endpoint} -H 'content-type: application/json' \\`,
    ...(auth.kind === 'none' ? [] : [`    -H "authorization: Bearer $TOKEN" \\`]),
    `    -d '{"query": "{ organizations { nodes { name contacts { totalCount } } } }"}'`,
    '',
    '',
  ].join('\n')
}
