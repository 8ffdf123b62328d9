import type { Logger } from 'pino'
import { createApp } from '../app.ts'
import type { Authenticate } from '../auth/authenticate.ts'
import { type CounterOf, createRateLimiter } from '../auth/rate-limit.ts'
import { byToken } from '../auth/token.ts'
import type { AuthConfig, Config } from '../config.ts'
import { type Database, type DatabaseObserver, openDatabase } from '../db/client.ts'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions } from '../domain/context.ts'
import { listen, type RunningServer, type ServerOptions } from '../http/server.ts'
import { createFeed } from '../live/feed.ts'
import { sweepEvents } from '../live/sweep.ts'
import { describeError } from '../telemetry/describe-error.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { logDatabase } from './log.ts'
import { explained } from './start.ts'
import { readTrustedDocuments } from './trusted-documents.ts'

/** How long traces may take to be sent at the end. */
const lastTracesMs = 1_000

/** What a process that serves holds. */
export interface Service {
  readonly db: Database
  readonly metrics: Metrics | undefined
  /** Listens where the configuration says, or takes connections from elsewhere. */
  listen(openListener?: ServerOptions['openListener']): Promise<RunningServer>
  close(): Promise<void>
}

/** Opens all that is needed to serve, but the port. `counterOf` counts callers where the configuration names no store. */
export async function openService(config: Config, log: Logger, counterOf?: CounterOf): Promise<Service> {
  const trustedDocuments = config.persistedDocuments ? await readTrustedDocuments(config) : undefined
  // What nobody asked for is not even loaded.
  const metrics =
    config.metricsPort === undefined ? undefined : (await import('../telemetry/metrics.ts')).createMetrics()
  const tracing =
    config.tracesUrl &&
    (await import('../telemetry/tracing.ts')).createTracing(config.tracesUrl, () =>
      log.warn('traces could not be sent: is OTEL_EXPORTER_OTLP_ENDPOINT the address of a collector?'),
    )
  const db = await connect(config, bothOf(logDatabase(log, config.slowStatementMs), metrics?.observer))
  metrics?.watch(db.status)
  const feed = createFeed({
    db,
    onTrouble: (cause) => log.warn(describeError(cause), 'changes are not read at the moment: it is tried again'),
  })
  const sweep = sweepEvents(db, (cause) => log.warn(describeError(cause), 'events of the past were not removed'))
  return {
    db,
    metrics,
    async listen(openListener) {
      const authenticate = await authenticateBy(config.auth, db)
      const { rateLimit, host, port, limits, publicOrigin, overload } = config
      const limiter =
        rateLimit &&
        (rateLimit.isShared ? createRateLimiter(rateLimit, db) : createRateLimiter(rateLimit, undefined, counterOf))
      const { bodyBytes: maxBodyBytes, connections: maxConnections } = limits
      const handler = createApp({
        ...config,
        trustedDocuments,
        maxMessageBytes: maxBodyBytes,
        db,
        feed,
        authenticate,
        limiter,
        log,
        metrics,
        tracing,
      })
      const { isReachable } = db
      const options = { handler, log, isReachable, host, port, maxBodyBytes, maxConnections, publicOrigin, overload }
      return explained('PORT', host, port, () => listen({ ...options, openListener }))
    },
    async close() {
      sweep.stop()
      await feed.close()
      await Promise.all([db.close(), tracing?.close(lastTracesMs)])
    },
  }
}

/** The database that the configuration names. */
export const connect = (config: Config, observer: DatabaseObserver): Promise<Database> =>
  openDatabase({
    url: config.databaseUrl,
    poolSize: config.databasePoolSize,
    prepare: config.databasePrepare,
    deadlines: config.deadlines,
    observer,
  })

/** Tells two who want to know, or one. */
function bothOf(one: DatabaseObserver, other: DatabaseObserver | undefined): DatabaseObserver {
  return {
    onStatement(name, ms, outcome) {
      one.onStatement?.(name, ms, outcome)
      other?.onStatement?.(name, ms, outcome)
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

async function authenticateBy(auth: AuthConfig, db: Database): Promise<Authenticate> {
  if (auth.kind === 'token') return byToken(db)
  if (auth.kind === 'jwt') return (await import('../auth/jwt.ts')).byJwt(db, auth)
  const caller = { account: await ensureAccount(db, demoAccount), permissions: allPermissions, key: undefined }
  return async () => caller
}
