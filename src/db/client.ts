import { ConstraintError, DatabaseUnavailable } from './errors.ts'
import type { MigratorDatabase } from './migrate.ts'
import type { Statement } from './statement.ts'

/** The database as the rules see it: it runs one statement at a time, each of them whole or not at all. */
export interface Database {
  readonly engine: 'postgres' | 'pglite'
  /** Runs a statement. Rejects with a ConstraintError or a DatabaseUnavailable where one of them fits. */
  run<Parameters, Row>(statement: Statement<Parameters, Row>, parameters: Parameters): Promise<Row[]>
  /** The same database on behalf of one request. */
  forRequest(request: RequestScope): Database
  status(): DatabaseStatus
  /** Whether it answers right now, asked on a connection of its own, within a second. */
  isReachable(): Promise<boolean>
  /** Hands out a Drizzle connection of its own for migrations, within one transaction that holds a lock. */
  withMigrator(work: (db: MigratorDatabase) => Promise<void>): Promise<void>
  close(): Promise<void>
}

/** What a request allows its statements, and what it is told of them. */
export interface RequestScope {
  /** When its answer is due, by `performance.now()`. After that no statement of it begins. */
  readonly deadline: number
  /** The whole time that it was given, in milliseconds, for the message. */
  readonly limitMs: number
  /** A statement has ended, well or not; `startedAt` is by `performance.now()`. */
  onStatement?(name: string, startedAt: number, ms: number, outcome: StatementOutcome): void
}

/** `refused` by the database, which is alive; `unavailable` where it was not there or went away. */
export type StatementOutcome = 'ok' | 'refused' | 'timeout' | 'unavailable'

export interface DatabaseStatus {
  /** Connections by what they are doing, and statements that wait for one. */
  readonly pool: { readonly idle: number; readonly busy: number; readonly connecting: number; readonly waiting: number }
  /** Whether statements are refused at once because the database is away. */
  readonly isBreakerOpen: boolean
}

/** What the database tells of itself as it happens. */
export interface DatabaseObserver {
  onStatement?(name: string, ms: number, outcome: StatementOutcome): void
  /** `reason` is a SQLSTATE, or `connection_lost`. */
  onRetry?(name: string, reason: string): void
  onConnectionLost?(): void
  onBreaker?(isOpen: boolean, cause: unknown): void
}

export interface Deadlines {
  /** Waiting for a connection, in milliseconds. */
  readonly connectionMs: number
  /** One statement, in milliseconds. */
  readonly statementMs: number
}

export interface DatabaseOptions {
  /** `postgres://…`, `pglite:FOLDER` or `pglite:memory`. */
  url: string
  poolSize: number
  /** Named prepared statements; off behind a pooler that hands out connections by transaction. */
  prepare: boolean
  deadlines: Deadlines
  observer?: DatabaseObserver
  /** Told the text of each statement that reaches the driver. */
  onStatement?: (text: string) => void
}

const statementTimeZone = 'UTC'
const connectTimeoutSeconds = 10
const closeTimeoutSeconds = 1
/** Any number, the same in every process: migrations wait for each other on it. */
const migrationLock = 4_068_071

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  if (!options.url.startsWith('pglite:')) return openPostgres(options)
  const folder = options.url.slice('pglite:'.length)
  return openPglite(folder === 'memory' ? undefined : folder, options.onStatement)
}

async function openPostgres({ url, poolSize, prepare, onStatement }: DatabaseOptions): Promise<Database> {
  const { default: postgres } = await import('postgres')
  const { drizzle } = await import('drizzle-orm/postgres-js')
  const connect = (max: number) =>
    postgres(url, {
      max,
      prepare,
      connect_timeout: connectTimeoutSeconds,
      fetch_types: false,
      connection: { application_name: 'contacts-gateway', TimeZone: statementTimeZone },
      onnotice: () => {},
      ...(onStatement && { debug: (_connection: number, text: string) => onStatement(text) }),
      types: {
        // Ids stay below 2^53: parse.ts refuses larger ones, and the sequences count from 1000.
        bigint: { to: 20, from: [20], serialize: String, parse: Number },
        // JSON parameters are text already.
        json: { to: 3802, from: [114, 3802], serialize: (text: string) => text, parse: JSON.parse },
      },
    })
  const client = connect(poolSize)

  const database: Database = {
    forRequest: () => database,
    status: () => ({ pool: { idle: 0, busy: 0, connecting: 0, waiting: 0 }, isBreakerOpen: false }),
    isReachable: async () => true,
    engine: 'postgres',
    async run(statement, parameters) {
      try {
        const rows = await client.unsafe(statement.text, statement.bind(parameters), { prepare }).values()
        return rows.map(statement.row)
      } catch (error) {
        throw translate(error)
      }
    },
    async withMigrator(work) {
      const migrator = connect(1)
      try {
        const db = drizzle(migrator)
        await db.transaction(async (transaction) => {
          await transaction.execute(`select pg_advisory_xact_lock(${migrationLock})`)
          await work(nested(transaction))
        })
      } catch (error) {
        throw translate(error)
      } finally {
        await migrator.end({ timeout: closeTimeoutSeconds })
      }
    },
    close: () => client.end({ timeout: closeTimeoutSeconds }),
  }
  return database
}

async function openPglite(folder: string | undefined, onStatement?: (text: string) => void): Promise<Database> {
  const { PGlite } = await import('@electric-sql/pglite')
  const { drizzle } = await import('drizzle-orm/pglite')
  const lock = folder === undefined ? undefined : await (await import('./lock.ts')).lockFolder(folder)
  try {
    const client = await PGlite.create({ dataDir: folder, parsers: { 20: Number } })
    await client.exec(`set time zone '${statementTimeZone}'`)
    const database: Database = {
      forRequest: () => database,
      status: () => ({ pool: { idle: 0, busy: 0, connecting: 0, waiting: 0 }, isBreakerOpen: false }),
      isReachable: async () => true,
      engine: 'pglite',
      async run(statement, parameters) {
        onStatement?.(statement.text)
        try {
          const { rows } = await client.query<unknown[]>(statement.text, statement.bind(parameters), {
            rowMode: 'array',
          })
          return rows.map(statement.row)
        } catch (error) {
          throw translate(error)
        }
      },
      // The folder's lock keeps other processes away, and Drizzle opens the transaction.
      withMigrator: (work) => work(drizzle(client)),
      async close() {
        await client.close()
        await lock?.release()
      },
    }
    return database
  } catch (error) {
    await lock?.release()
    throw error
  }
}

/** The transaction as a database whose own transactions are savepoints: Drizzle's migrator opens one by the session. */
function nested(transaction: MigratorDatabase): MigratorDatabase {
  const { session } = transaction as unknown as { session: object }
  const withSavepoints = Object.assign(Object.create(session), {
    transaction: (work: (inner: MigratorDatabase) => Promise<void>) => transaction.transaction(work as never),
  })
  return Object.assign(Object.create(transaction), { session: withSavepoints })
}

const integrityViolation = /^23/
/** Connection exceptions, resources, operator intervention, and what the drivers say when there is no link. */
const unavailable = /^(08|53|57|CONNECT|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EHOST|ENET|EAI_AGAIN|CONNECTION_)/

/** Both drivers report a SQLSTATE as `code`, and Drizzle wraps their error as its cause. */
function translate(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const reported = (error.cause instanceof Error ? error.cause : error) as Error & Record<string, unknown>
  const code = String(reported.code ?? '')
  if (integrityViolation.test(code)) {
    return new ConstraintError(String(reported.constraint_name ?? reported.constraint), error)
  }
  return unavailable.test(code) ? new DatabaseUnavailable(error) : error
}
