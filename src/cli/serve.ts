import { Command } from 'commander'
import { pino } from 'pino'
import { createApp, describeError } from '../app.ts'
import type { Authenticate } from '../auth/authenticate.ts'
import { createRateLimiter } from '../auth/rate-limit.ts'
import { byToken } from '../auth/token.ts'
import { type AuthConfig, type Config, readConfig } from '../config.ts'
import { type Database, openDatabase } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { countOrganizations } from '../domain/organization-lists.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { seedOrganizations } from '../domain/seed.ts'
import { firstQuery, graphqlPath } from '../graphql/handler.ts'
import { listen, type RunningServer } from '../http/server.ts'
import { OperatorError } from './failure.ts'

/** How long requests in progress may take after a signal. */
const graceMs = 8_000

export function serveCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('serve')
    .description(
      'Serve GraphQL and REST by HTTP (the default command). Stops on SIGTERM or SIGINT; a second one stops at once.',
    )
    .action(() => serve(readConfig(env)))
}

async function serve(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel, base: undefined }, pino.destination({ dest: 2, sync: true }))
  const stopped = stopSignal()
  // A promise that nobody waited for is a bug, but no reason to drop every caller.
  process.on('unhandledRejection', (cause) => log.error(describeError(cause), 'unhandled rejection'))
  const db = await openDatabase({
    url: config.databaseUrl,
    poolSize: config.databasePoolSize,
    prepare: config.databasePrepare,
    deadlines: config.deadlines,
  })
  try {
    await migrate(db)
    const { authenticate, isEmpty } = await authenticateBy(config.auth, db)
    const { rateLimit } = config
    const handler = createApp({
      ...config,
      db,
      authenticate,
      limiter: rateLimit && createRateLimiter(rateLimit, rateLimit.isShared ? db : undefined),
      log,
    })
    const server = await listenOrExplain(config, { handler, log })
    process.stdout.write(greeting(server.url, config, isEmpty))
    await stopped
    log.info('stopping: requests in progress may end')
    await server.close(graceMs)
  } finally {
    await db.close()
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

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143)
      stopping = true
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}

async function listenOrExplain(
  { host, port, limits, publicOrigin }: Config,
  options: Pick<Parameters<typeof listen>[0], 'handler' | 'log'>,
): Promise<RunningServer> {
  try {
    return await listen({
      ...options,
      host,
      port,
      maxBodyBytes: limits.bodyBytes,
      maxConnections: limits.connections,
      publicOrigin,
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') throw new OperatorError(`Port ${port} of ${host} is taken: set PORT to another one.`)
    if (code === 'EACCES')
      throw new OperatorError(`Port ${port} of ${host} needs more rights: set PORT to one above 1023.`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new OperatorError(`HOST is ${host}, which is no address of this machine.`)
    }
    throw error
  }
}

function greeting(url: string, { graphiql, databaseUrl, auth }: Config, wasEmpty: boolean): string {
  const endpoint = url + graphqlPath
  const isEmbedded = databaseUrl.startsWith('pglite:')
  return [
    `The contacts gateway is ready: ${endpoint}`,
    isEmbedded ? `It serves the embedded database (${databaseUrl}).` : 'It serves PostgreSQL.',
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
