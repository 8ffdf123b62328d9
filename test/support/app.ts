import { pino } from 'pino'
import { type AppOptions, createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import type { Database } from '../../src/db/client.ts'
import type { Context } from '../../src/domain/context.ts'

export interface TestApp {
  handle(request: Request): Promise<Response>
}

const defaults = readConfig({})

/** A port of its own on this machine. */
export const serverOptions = {
  host: '127.0.0.1',
  port: 0,
  maxBodyBytes: defaults.limits.bodyBytes,
  maxConnections: defaults.limits.connections,
  isReachable: async () => true,
  // For tests that are not about overload: a busy machine is no reason to refuse their requests.
  overload: { requests: 100_000, eventLoopDelayMs: 60_000 },
  log: pino({ level: 'silent' }),
}

/** The database with another way to run statements, whomever they are for. */
export function runningBy(db: Database, run: (...given: never[]) => Promise<unknown>): Database {
  const other: Database = { ...db, run: run as Database['run'], forRequest: () => other }
  return other
}

/** The service for one caller, with its defaults. */
export function appOptionsFor({ db, account, permissions }: Context, given: Partial<AppOptions> = {}): AppOptions {
  return {
    ...defaults,
    deadlines: { requestMs: 60_000 },
    limiter: undefined,
    db,
    authenticate: async () => ({ account, permissions, key: undefined }),
    log: pino({ level: 'silent' }),
    ...given,
  }
}

export function appFor(ctx: Context, given: Partial<AppOptions> = {}): TestApp {
  const { handle } = createApp(appOptionsFor(ctx, given))
  return { handle: (request) => handle(request, '127.0.0.1') }
}
