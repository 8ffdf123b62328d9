import { createConnection, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Options as PostgresOptions, Sql } from 'postgres'
import { createBatches } from './batch.ts'
import { ConstraintError, DatabaseUnavailable, DeadlineExceeded } from './errors.ts'
import type { MigratorDatabase } from './migrate.ts'
import { type Connect, type Connection, createPool, type Pool } from './pool.ts'
import type { Cell, Keys, Statement } from './statement.ts'

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
  /** Listens to a channel, on a connection of its own, until the signal. */
  listen(channel: string, listener: Listener, signal: AbortSignal): void
  close(): Promise<void>
}

/** Hears of notifications. What was sent while there was no link is lost, so `onLink` is a reason to look for oneself. */
export interface Listener {
  onNotify(payload: string): void
  onLink(isListening: boolean): void
}

/** What a request allows its statements, and what it is told of them. */
export interface RequestScope {
  /** When its answer is due, by `performance.now()`. After that no statement of it begins. */
  readonly deadline: number
  /** The whole time that it was given, in milliseconds, for the message. */
  readonly limitMs: number
  /** A statement has ended, well or not; `startedAt` is when it was sent, by `performance.now()`. */
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
  /** `ms` is from when it was sent; the wait for a connection is not in it, unless none was found. */
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

const timeZone = 'UTC'
const closeTimeoutMs = 1_000
/** Migrations are no requests: they may wait longer for a database that is starting. */
const migratorConnectionMs = 10_000
const startingPauseMs = 200
const reachableMs = 1_000
/** Any number, the same in every process: migrations wait for each other on it. */
const migrationLock = 4_068_071

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  if (!options.url.startsWith('pglite:')) return openPostgres(options)
  const folder = options.url.slice('pglite:'.length)
  return openPglite(folder === 'memory' ? undefined : folder, options)
}

async function openPostgres(options: DatabaseOptions): Promise<Database> {
  const { drizzle } = await import('drizzle-orm/postgres-js')
  const dial = await createDialer(options)
  const connect: Connect = (onClosed) => dial(onClosed, { statementTimeoutMs: options.deadlines.statementMs })
  const pool = createPool(connect, {
    size: options.poolSize,
    connectionMs: options.deadlines.connectionMs,
    onConnectionLost: options.observer?.onConnectionLost,
    onBreaker: options.observer?.onBreaker,
  })
  const probe = createProbe(connect)
  return createDatabase('postgres', pool, options, {
    isReachable: async () => !pool.isBreakerOpen() && (await probe.answers()),
    async withMigrator(work) {
      let migrator: DialedConnection | undefined
      try {
        migrator = await dialPatiently(dial)
        await drizzle(migrator.client).transaction(async (transaction) => {
          await transaction.execute(`select pg_advisory_xact_lock(${migrationLock})`)
          await work(nested(transaction))
        })
      } catch (error) {
        throw translate(error, false)
      } finally {
        await migrator?.end()
      }
    },
    listen(channel, listener, signal) {
      // A pooler by transaction takes the command, and never brings what is sent.
      if (options.prepare) void keepListening(dial, channel, listener, signal)
    },
    async close() {
      await Promise.all([pool.close(), probe.end()])
    },
  })
}

const relinkMs = { first: 100, most: 2_000 }
const linkMs = 5_000

/** Listens on one connection after the other, with longer pauses while there is none to be had. */
async function keepListening(
  dial: Awaited<ReturnType<typeof createDialer>>,
  channel: string,
  { onNotify, onLink }: Listener,
  signal: AbortSignal,
): Promise<void> {
  for (let pause = relinkMs.first; !signal.aborted; pause = Math.min(pause * 2, relinkMs.most)) {
    const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>()
    const connection = dial(onClosed, { onNotify: (_, payload) => onNotify(payload) })
    const end = () => connection.destroy()
    signal.addEventListener('abort', end, { once: true })
    try {
      await within(linkMs, connection.opened)
      await within(linkMs, connection.run(`listen ${channel}`, []))
      onLink(true)
      pause = relinkMs.first
      await closed
      onLink(false)
    } catch {
      // Whoever listens looks without being notified until there is a link again.
    } finally {
      signal.removeEventListener('abort', end)
      connection.destroy()
    }
    await delay(pause, undefined, { signal }).catch(() => {})
  }
}

/** A connection of the driver, which has a life of its own: the driver's reconnecting is never used. */
interface DialedConnection extends Connection {
  readonly client: Sql
}

/**
 * Opens connections to PostgreSQL, each a client of the driver with a socket of ours. When the socket closes, the client
 * is done for: left to itself the driver connects again without a pause, can stay wedged, and can run the second half of a
 * transaction alone. Where the URL names several hosts, each try goes to the next of them.
 */
async function createDialer({ url, prepare, onStatement }: DatabaseOptions) {
  const { default: postgres } = await import('postgres')
  const { host: hosts, port: ports, path } = postgres(url).options as unknown as Addresses
  let tries = 0

  return (onClosed: () => void, { statementTimeoutMs, onNotify }: DialOptions = {}): DialedConnection => {
    const turn = tries++ % hosts.length
    const [host, port] = [hosts[turn]!, ports[turn]!]
    let socket: Socket | undefined
    const client = postgres(url, {
      host,
      port,
      max: 1,
      prepare,
      // Who opens the connection waits for it, and gives up in time.
      connect_timeout: 0,
      idle_timeout: 0,
      max_lifetime: 0,
      fetch_types: false,
      connection: {
        application_name: 'contacts-gateway',
        TimeZone: timeZone,
        // A pooler by transaction refuses settings that it does not know.
        ...(prepare && {
          // Every statement has the same plan for all parameters, and making one takes longer than most of them.
          plan_cache_mode: 'force_generic_plan',
          ...(statementTimeoutMs && { statement_timeout: statementTimeoutMs }),
        }),
      },
      onnotice: () => {},
      onnotify: onNotify,
      onclose: onClosed,
      socket() {
        if (socket) throw Object.assign(new Error('the connection was closed'), { code: 'CONNECTION_CLOSED' })
        socket = Object.assign(path ? createConnection(path) : createConnection({ host, port, ...socketOptions }), {
          host,
        })
        return socket
      },
      types: {
        // Ids stay below 2^53: parse.ts refuses larger ones, and the sequences count from 1000.
        bigint: { to: 20, from: [20], serialize: String, parse: Number },
        // JSON parameters are text already.
        json: { to: 3802, from: [114, 3802], serialize: (text: string) => text, parse: JSON.parse },
      },
    } as unknown as PostgresOptions<Record<string, never>>)
    const destroy = () => socket?.destroy()
    return {
      client,
      opened: client.unsafe('select 1').then(() => {}),
      get isOpen() {
        return socket !== undefined && !socket.destroyed
      },
      async run(text, cells) {
        onStatement?.(text)
        const rows: unknown[][] = await client.unsafe(text, cells as Cell[], { prepare }).values()
        // After a statement that failed with some of its rows sent, the driver leaves as many places empty before the rows of
        // the next one.
        return rows.length > 0 && rows[0] === undefined ? rows.filter(() => true) : rows
      },
      async end() {
        await client.end({ timeout: closeTimeoutMs / 1000 })
        destroy()
      },
      destroy,
    }
  }
}

interface DialOptions {
  statementTimeoutMs?: number
  onNotify?: (channel: string, payload: string) => void
}

/** A link that is quiet for long, as one that listens is, may have been cut without a word. */
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 }

interface Addresses {
  host: string[]
  port: number[]
  /** Of a socket in the file system. */
  path: string | false
}

/** Opens a connection, also while the database is still starting. */
async function dialPatiently(dial: Awaited<ReturnType<typeof createDialer>>): Promise<DialedConnection> {
  const giveUpAt = performance.now() + migratorConnectionMs
  for (;;) {
    const connection = dial(() => {})
    try {
      await within(giveUpAt - performance.now(), connection.opened)
      return connection
    } catch (error) {
      connection.destroy()
      if (codeOf(error) !== cannotConnectNow || performance.now() + startingPauseMs > giveUpAt) throw error
      await delay(startingPauseMs)
    }
  }
}

/** A connection apart from the pool, so that a full pool does not keep from asking whether the database is there. */
function createProbe(connect: Connect) {
  let connection: Connection | undefined
  let asked: Promise<boolean> | undefined
  const ask = async () => {
    connection ??= connect(() => forget(current))
    const current = connection
    try {
      await within(
        reachableMs,
        current.opened.then(() => current.run('select 1', [])),
      )
      return true
    } catch {
      forget(current)
      return false
    } finally {
      asked = undefined
    }
  }
  const forget = (gone: Connection) => {
    gone.destroy()
    if (connection === gone) connection = undefined
  }
  return {
    answers: () => (asked ??= ask()),
    end: async () => connection?.end(),
  }
}

async function openPglite(folder: string | undefined, options: DatabaseOptions): Promise<Database> {
  const { PGlite } = await import('@electric-sql/pglite')
  const { drizzle } = await import('drizzle-orm/pglite')
  const lock = folder === undefined ? undefined : await (await import('./lock.ts')).lockFolder(folder)
  try {
    const client = await PGlite.create({ dataDir: folder, parsers: { 20: Number } })
    await client.exec(`set time zone '${timeZone}'`)
    // It is in this process: there is nothing to open, and nothing to lose.
    const connect: Connect = () => ({
      opened: Promise.resolve(),
      isOpen: true,
      async run(text, cells) {
        options.onStatement?.(text)
        const { rows } = await client.query<unknown[]>(text, cells as Cell[], { rowMode: 'array' })
        return rows
      },
      end: async () => {},
      destroy: () => {},
    })
    const pool = createPool(connect, { size: 1, connectionMs: options.deadlines.connectionMs })
    return createDatabase('pglite', pool, options, {
      isReachable: () =>
        within(reachableMs, client.query('select 1')).then(
          () => true,
          () => false,
        ),
      // The folder's lock keeps other processes away, and Drizzle opens the transaction.
      withMigrator: (work) => work(drizzle(client)),
      listen(channel, { onNotify, onLink }, signal) {
        void client.listen(channel, onNotify).then((unlisten) => {
          onLink(true)
          if (signal.aborted) void unlisten()
          else signal.addEventListener('abort', () => void unlisten(), { once: true })
        })
      },
      async close() {
        await pool.close()
        await client.close()
        await lock?.release()
      },
    })
  } catch (error) {
    await lock?.release()
    throw error
  }
}

/** How much later than the database we notice that a statement takes too long: it is to be the one that says so. */
const answerGraceMs = 500
/** How often a statement is run again that had to give way to another, or whose connection was lost. */
const maxRetries = 4
const firstPauseMs = 10

function createDatabase(
  engine: Database['engine'],
  pool: Pool,
  { deadlines, observer }: DatabaseOptions,
  rest: Pick<Database, 'isReachable' | 'withMigrator' | 'listen' | 'close'>,
): Database {
  const { connectionMs, statementMs } = deadlines

  /** Takes a connection and runs the statement on it, each for no longer than it may take. */
  const runOnce = async (
    text: string,
    bind: () => readonly Cell[],
    scope: RequestScope | undefined,
    began: (at: number) => void,
  ) => {
    const left = scope ? scope.deadline - performance.now() : Number.POSITIVE_INFINITY
    if (left <= 0) throw new DeadlineExceeded('request', scope!.limitMs)
    const connection = await pool.acquire(Math.min(connectionMs, left))
    let cells: readonly Cell[]
    try {
      cells = bind()
    } catch (error) {
      pool.release(connection)
      throw error
    }
    const startedAt = performance.now()
    began(startedAt)
    return new Promise<unknown[][]>((resolve, reject) => {
      const timer = setTimeout(() => {
        pool.discardSilent(connection)
        reject(new DeadlineExceeded('statement', statementMs, true))
      }, statementMs + answerGraceMs)
      connection.run(text, cells).then(
        (rows) => {
          clearTimeout(timer)
          pool.release(connection)
          resolve(rows)
        },
        (error) => {
          clearTimeout(timer)
          const isLate = performance.now() - startedAt >= statementMs
          const translated =
            isLate && codeOf(error) === canceled
              ? new DeadlineExceeded('statement', statementMs, false, error)
              : translate(error, true)
          if (isUsable(error)) pool.release(connection)
          else pool.discard(connection)
          reject(translated)
        },
      )
    })
  }

  /** Runs a statement, again where that may help. */
  const send = async (
    statement: Pick<Statement<never, unknown>, 'name' | 'text' | 'repeatable'>,
    bind: () => readonly Cell[],
    scope: RequestScope | undefined,
  ): Promise<unknown[][]> => {
    let mayHaveRun = false
    for (let tries = 0; ; tries += 1) {
      let startedAt = performance.now()
      const tell = (outcome: StatementOutcome) => {
        const ms = performance.now() - startedAt
        observer?.onStatement?.(statement.name, ms, outcome)
        scope?.onStatement?.(statement.name, startedAt, ms, outcome)
      }
      try {
        const rows = await runOnce(statement.text, bind, scope, (at) => {
          startedAt = at
        })
        tell('ok')
        return rows
      } catch (error) {
        tell(outcomeOf(error))
        mayHaveRun ||= error instanceof DatabaseUnavailable && error.mayHaveRun
        const reason = tries < maxRetries ? reasonToRetry(error, statement) : undefined
        const pause = firstPauseMs * 2 ** tries * (0.5 + Math.random())
        if (!reason || (scope && performance.now() + pause > scope.deadline)) {
          throw mayHaveRun ? inDoubt(error) : error
        }
        observer?.onRetry?.(statement.name, reason)
        await delay(pause)
      }
    }
  }

  const read = createBatches(send)

  const run = async <Parameters, Row>(
    statement: Statement<Parameters, Row>,
    parameters: Parameters,
    scope: RequestScope | undefined,
  ): Promise<Row[]> => {
    const isLate = scope !== undefined && scope.deadline <= performance.now()
    if (statement.byKey && !isLate) return read(statement as never, parameters as Parameters & Keys, scope)
    const cells = statement.bind(parameters)
    return (await send(statement, () => cells, scope)).map(statement.row)
  }

  const onBehalfOf = (scope: RequestScope | undefined): Database => ({
    engine,
    run: (statement, parameters) => run(statement, parameters, scope),
    forRequest: onBehalfOf,
    status: () => ({ pool: pool.status(), isBreakerOpen: pool.isBreakerOpen() }),
    ...rest,
  })
  return onBehalfOf(undefined)
}

/**
 * Whether the connection can go on after an error: the database has answered with a SQLSTATE, in contrast to what the driver
 * or the socket says. A server that has become a standby serves reads alone; another one may serve more.
 */
const isUsable = (error: unknown) => sqlState.test(codeOf(error)) && codeOf(error) !== readOnly

/** The error of a last try, after one whose end is not known. */
function inDoubt(error: unknown): unknown {
  if (error instanceof DatabaseUnavailable) return new DatabaseUnavailable(error.cause, true)
  if (error instanceof DeadlineExceeded) return new DeadlineExceeded(error.of, error.limitMs, true, error.cause)
  return error
}

const outcomeOf = (error: unknown): StatementOutcome =>
  error instanceof DeadlineExceeded ? 'timeout' : error instanceof DatabaseUnavailable ? 'unavailable' : 'refused'

/** Why a statement may be run again: it was rolled back for another's sake, or its repetition does no harm. */
function reasonToRetry(error: unknown, { repeatable }: { repeatable: boolean }): string | undefined {
  const code = codeOf(error)
  if (code === serializationFailure || code === deadlockDetected) return code
  return repeatable && error instanceof DatabaseUnavailable && error.mayHaveRun ? 'connection_lost' : undefined
}

/** Waits no longer than this many milliseconds. */
async function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error(`no answer within ${ms} ms`), { code: 'ETIMEDOUT' })), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
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

const sqlState = /^(?=.*\d)[\dA-Z]{5}$/
const integrityViolation = /^23/
const serializationFailure = '40001'
const deadlockDetected = '40P01'
const canceled = '57014'
const readOnly = '25006'
/** The database is starting, stopping or recovering. */
const cannotConnectNow = '57P03'
/**
 * What the database says when it cannot serve: resources, operators, its own errors, that it only reads, and that a
 * statement had to give way to others again and again.
 */
const refusal = /^(53|57|58|25006|40001|40P01)/
/** Connection exceptions, and what the drivers say when there is no link. */
const noLink = /^(08|CONNECT|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EHOST|ENET|EAI_AGAIN|CONNECTION_)/

/** Both drivers report a SQLSTATE as `code`, and Drizzle wraps their error as its cause. */
function translate(error: unknown, wasSent: boolean): unknown {
  if (!(error instanceof Error)) return error
  const code = codeOf(error)
  if (integrityViolation.test(code)) {
    const reported = originOf(error)
    return new ConstraintError(String(reported.constraint_name ?? reported.constraint), error)
  }
  if (refusal.test(code)) return new DatabaseUnavailable(error)
  return noLink.test(code) ? new DatabaseUnavailable(error, wasSent) : error
}

const originOf = (error: Error) =>
  (error.cause instanceof Error ? error.cause : error) as Error & Record<string, unknown>

const codeOf = (error: unknown) => (error instanceof Error ? String(originOf(error).code ?? '') : '')
