import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmod, chown, cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import connectTo, { type Sql } from 'postgres'
import { freePort, installedPrograms, ownerOfServer } from '../../test/support/postgres-server.ts'
import type { Cleanup } from './cleanup.ts'

/** A PostgreSQL of our own, which can be stopped and started again with its data and on its port. */
export interface ControlledPostgres {
  readonly port: number
  /** What it has of its own on the disk. */
  readonly folder: string
  /** E.g. `18.4`. */
  readonly version: string
  readonly isRunning: boolean
  /** Resolves with the moment at which it took connections, by `performance.now()`. */
  start(): Promise<number>
  /** `immediate` ends it as a crash does: nothing is written any more, and the next start recovers from the log. */
  stop(how: 'immediate' | 'fast'): Promise<void>
  /** Runs statements as a superuser, past the proxy, on a connection of their own. */
  use<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>
  /** Ends the sessions of everybody else; tells how many there were. */
  terminateSessions(): Promise<number>
  /** How many sessions of others there are, and how many of them are in the middle of something. */
  countSessions(): Promise<{ all: number; busy: number }>
}

export interface PostgresOptions {
  /** The folder with `initdb` and `postgres`. */
  programs: string
  /** Where the data goes; a temporary folder without it. */
  folder?: string
  /** Small files, for a small disk. */
  isSmall?: boolean
  /** Told each line of its log. */
  onLog?: (line: string) => void
}

const run = promisify(execFile)
const startTimeoutMs = 60_000
const stopTimeoutMs = 30_000
const signals = { immediate: 'SIGQUIT', fast: 'SIGINT' } as const
/** Told apart by its name from the sessions of the gateway. */
const ourName = 'fault-bench'

/** Makes a PostgreSQL, which is not started yet. It is stopped, and its data removed, by the cleanup. */
export async function createPostgres(cleanup: Cleanup, options: PostgresOptions): Promise<ControlledPostgres> {
  const { isSmall = false, onLog = () => {} } = options
  const owner = await ownerOfServer()
  const as = owner ? { uid: owner.uid, gid: owner.gid } : {}
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'fault-bench-postgres-')))
  cleanup.add(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
  if (owner) {
    await chown(folder, owner.uid, owner.gid)
    await chmod(folder, 0o755)
  }
  const programs = await programsFor(owner, options.programs, cleanup)
  const data = join(folder, 'data')
  await run(
    join(programs, 'initdb'),
    [
      ...['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C'],
      ...(isSmall ? ['--wal-segsize', '1'] : []),
      '--no-sync',
    ],
    { cwd: folder, ...as },
  )
  const { stdout } = await run(join(programs, 'postgres'), ['--version'], { cwd: folder, ...as })
  const version = /\d+(\.\d+)?/.exec(stdout)?.[0] ?? 'unknown'
  const port = await freePort()
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 100,
    // Processes crash here, not the machine: what was written to a file stays there without fsync. But nothing must be
    // acknowledged before it was written, so this stays on.
    synchronous_commit: 'on',
    fsync: 'off',
    log_min_messages: 'warning',
    ...(isSmall && { shared_buffers: '16MB', min_wal_size: '2MB', max_wal_size: '4MB', wal_keep_size: 0 }),
  }
  const args = ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]

  let server: ChildProcess | undefined
  const isRunning = () => server !== undefined && server.exitCode === null && server.signalCode === null
  const stop = async (how: keyof typeof signals) => {
    const stopping = server
    if (!stopping || !isRunning()) return
    const ended = new Promise((resolve) => stopping.once('exit', resolve))
    stopping.kill(signals[how])
    const tooLong = setTimeout(() => stopping.kill('SIGKILL'), stopTimeoutMs)
    await ended
    clearTimeout(tooLong)
  }
  cleanup.add(() => stop('immediate'))

  const use: ControlledPostgres['use'] = async (work) => {
    const sql = connectTo(`postgres://postgres@127.0.0.1:${port}/postgres`, {
      max: 1,
      connect_timeout: 5,
      onnotice: () => {},
      connection: { application_name: ourName },
    })
    try {
      return await work(sql)
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
  return {
    port,
    folder,
    version,
    get isRunning() {
      return isRunning()
    },
    async start() {
      cleanup.refuseWhenOver()
      server = spawn(join(programs, 'postgres'), args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], ...as })
      return await takesConnections(server, onLog)
    },
    stop,
    use,
    terminateSessions: () =>
      use(async (sql) => {
        const rows = await sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where backend_type = 'client backend' and application_name <> ${ourName}`
        return rows.length
      }),
    countSessions: () =>
      use(async (sql) => {
        const [counted] = await sql<{ all: number; busy: number }[]>`
          select count(*)::int as all, count(*) filter (where state <> 'idle')::int as busy
          from pg_stat_activity where backend_type = 'client backend' and application_name <> ${ourName}`
        return counted!
      }),
  }
}

/** Resolves when it answers a query, with the moment of that; rejects when it has not in time. */
export async function waitUntilServing(server: ControlledPostgres, timeoutMs = startTimeoutMs): Promise<number> {
  const end = performance.now() + timeoutMs
  for (;;) {
    try {
      await server.use((sql) => sql`select 1`)
      return performance.now()
    } catch (error) {
      if (performance.now() > end) throw error
      await pause(50)
    }
  }
}

/** The folder of programs that a version, or a folder itself, stands for. */
export async function findPrograms(named: string): Promise<string> {
  if (named.includes('/')) {
    if (await canRun(named)) return named
    throw new Error(`There is no PostgreSQL in ${named}.`)
  }
  const debian = `/usr/lib/postgresql/${named}/bin`
  if (await canRun(debian)) return debian
  const installed = join(await installedPrograms(), 'bin')
  const { stdout } = await run(join(installed, 'postgres'), ['--version'])
  if (stdout.includes(` ${named}.`)) return installed
  throw new Error(`There is no PostgreSQL ${named}: neither in ${debian}, nor does npm bring it (${stdout.trim()}).`)
}

const canRun = (programs: string) =>
  run(join(programs, 'postgres'), ['--version']).then(
    () => true,
    () => false,
  )

interface Owner {
  uid: number
  gid: number
}

/** The programs, or a copy of them where their owner cannot enter the folder. */
async function programsFor(owner: Owner | undefined, programs: string, cleanup: Cleanup): Promise<string> {
  if (!owner) return programs
  const mayEnter = await run(join(programs, 'postgres'), ['--version'], { cwd: '/', ...owner }).then(
    () => true,
    () => false,
  )
  if (mayEnter) return programs
  const copy = await mkdtemp(join(tmpdir(), 'fault-bench-programs-'))
  cleanup.add(() => rm(copy, { recursive: true, force: true }))
  await cp(dirname(programs), join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
  await chmod(copy, 0o755)
  return join(copy, 'native', 'bin')
}

/** Mounts a file system of that size in memory; undefined where that is not allowed. */
export async function mountSmallDisk(cleanup: Cleanup, megabytes: number): Promise<string | undefined> {
  const owner = await ownerOfServer()
  if (!owner) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'fault-bench-disk-'))
  cleanup.add(() => rm(folder, { recursive: true, force: true }))
  const mounted = await run('mount', [
    ...['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755,uid=${owner.uid},gid=${owner.gid}`],
    ...['tmpfs', folder],
  ]).then(
    () => true,
    () => false,
  )
  if (!mounted) return undefined
  cleanup.add(() => run('umount', ['--lazy', folder]))
  const inside = join(folder, 'postgres')
  await mkdir(inside)
  return inside
}

function takesConnections(server: ChildProcess, onLog: (line: string) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const said: string[] = []
    let unfinished = ''
    const timeout = setTimeout(() => {
      server.kill('SIGKILL')
      reject(new Error(`PostgreSQL did not start in ${startTimeoutMs} ms:\n${said.join('\n')}`))
    }, startTimeoutMs)
    server.stderr!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (unfinished + text).split('\n')
      unfinished = lines.pop()!
      for (const line of lines) {
        onLog(line)
        if (said.length < 100) said.push(line)
        if (!line.includes('ready to accept connections')) continue
        clearTimeout(timeout)
        resolve(performance.now())
      }
    })
    server.once('exit', (code) => {
      clearTimeout(timeout)
      reject(new Error(`PostgreSQL ended with code ${code}:\n${said.join('\n')}`))
    })
    server.once('error', reject)
  })
}
