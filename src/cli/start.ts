import type { Config } from '../config.ts'
import type { Database } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { countOrganizations } from '../domain/organization-lists.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { seedOrganizations } from '../domain/seed.ts'
import { firstQuery, graphqlPath } from '../graphql/handler.ts'
import { listenForMetrics, type MetricsServerOptions } from '../http/metrics-server.ts'
import { OperatorError } from './failure.ts'

/** Brings the tables up to date. Tells whether the account that is served without authentication had no organizations yet. */
export async function prepareDatabase({ auth }: Config, db: Database): Promise<{ wasEmpty: boolean }> {
  await migrate(db)
  if (auth.kind !== 'none') return { wasEmpty: false }
  const account = await ensureAccount(db, demoAccount)
  return { wasEmpty: await seedIfNew({ db, account, permissions: allPermissions }) }
}

/** Gives an embedded database the sample when it is new. Tells whether there was nothing in it. */
async function seedIfNew(ctx: Context): Promise<boolean> {
  // Organizations are never deleted, so an embedded database without any has not been seeded yet.
  const isEmpty = (await countOrganizations(ctx, {})) === 0
  if (isEmpty && ctx.db.engine === 'pglite') await seedOrganizations(ctx, sampleOrganizations)
  return isEmpty
}

export function serveMetrics(
  { host, metricsPort: port = 0 }: Config,
  { contentType, render }: Pick<MetricsServerOptions, 'contentType' | 'render'>,
) {
  return explained('METRICS_PORT', host, port, () => listenForMetrics({ host, port, contentType, render }))
}

/** Says in words what keeps a port from being listened to. */
export async function explained<Result>(
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

export function greeting(
  url: string,
  metricsUrl: string | undefined,
  { graphiql, databaseUrl, auth, workers, persistedOnly }: Config,
  wasEmpty: boolean,
): string {
  const endpoint = url + graphqlPath
  const isEmbedded = databaseUrl.startsWith('pglite:')
  return [
    `The contacts gateway is ready: ${endpoint}`,
    isEmbedded ? `It serves the embedded database (${databaseUrl}).` : 'It serves PostgreSQL.',
    ...(workers > 1 ? [`There are ${workers} workers.`] : []),
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
    persistedOnly
      ? `    -d '{"documentId": "the id of one of PERSISTED_DOCUMENTS, which alone are executed"}'`
      : `    -d '{"query": "{ organizations { nodes { name contacts { totalCount } } } }"}'`,
    '',
    '',
  ].join('\n')
}
