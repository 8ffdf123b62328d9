import { pino } from 'pino'
import { type AppOptions, createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import type { Database } from '../../src/db/client.ts'
import type { Context } from '../../src/domain/context.ts'
import { createIncoming } from '../../src/http/message.ts'
import type { Handler } from '../../src/http/server.ts'
import { createFeed } from '../../src/live/feed.ts'
import { beginVisit } from '../../src/telemetry/visit.ts'

export interface TestApp {
  handle(request: Request, address?: string): Promise<Response>
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
    maxMessageBytes: defaults.limits.bodyBytes,
    db,
    feed: createFeed({ db, onTrouble: () => {} }),
    authenticate: async () => ({ account, permissions, key: undefined }),
    log: pino({ level: 'silent' }),
    ...given,
  }
}

export function appFor(ctx: Context, given: Partial<AppOptions> = {}): TestApp {
  return createWebApp(appOptionsFor(ctx, given))
}

/** The service, which can be called by the requests of the platform as well, without a port. */
export function createWebApp(options: AppOptions): TestApp & { handler: Required<Handler> } {
  const app = createApp(options)
  return {
    handler: app,
    async handle(request, address = '127.0.0.1') {
      const { method, url, headers } = request
      const { origin, pathname: path, search } = new URL(url)
      const fields = Object.fromEntries(headers)
      const incoming = createIncoming({
        method,
        origin,
        target: path + search,
        fields,
        body: await request.text(),
        address,
      })
      const answer = await app.handle(incoming, beginVisit({ method, path, requestId: headers.get('x-request-id') }))
      const hasBody = method !== 'HEAD' && answer.status !== 204 && answer.status !== 304
      return new Response(hasBody ? (answer.body as string) : null, answer)
    },
  }
}
