import { pino } from 'pino'
import { type AppOptions, createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
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
  log: pino({ level: 'silent' }),
}

/** The service for one caller, with its defaults. */
export function appOptionsFor({ db, account, permissions }: Context, given: Partial<AppOptions> = {}): AppOptions {
  return {
    ...defaults,
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
