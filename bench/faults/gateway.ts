import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/support/postgres-server.ts'
import type { Cleanup } from './cleanup.ts'
import type { Figures } from './figures.ts'

/** The gateway as a process of its own, always on the same port. */
export interface ControlledGateway {
  /** E.g. `http://127.0.0.1:4000`. */
  readonly origin: string
  readonly isRunning: boolean
  /** How often it has ended without having been told to. */
  readonly deaths: number
  /** Starts it and waits until it says that it is ready; tells how many milliseconds that took. */
  start(): Promise<number>
  /** SIGKILL. */
  kill(): Promise<void>
  /** SIGTERM; waits for the end. */
  terminate(): Promise<Exit>
  /** Connections to the database that it can use; undefined where it does not tell. */
  countConnections(): Promise<number | undefined>
  /** Seconds of processor time since its start; undefined where the system does not tell. */
  processorSeconds(): Promise<number | undefined>
  /** What it has logged since it was last asked that only a bug explains. */
  takeComplaints(): string[]
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  /** From the signal to the end. */
  ms: number
}

export interface GatewayOptions {
  databaseUrl: string
  figures: Figures
  /** Told each line of its log. */
  onLog?: (line: string) => void
}

const program = fileURLToPath(new URL('../../bin/gateway.js', import.meta.url))
const startTimeoutMs = 60_000
const askTimeoutMs = 2000
/** A process that ignores SIGTERM is killed after that, and is a finding. */
const exitTimeoutMs = 20_000
const bugs = /unhandled rejection|uncaught|TypeError|ReferenceError|heap out of memory|MaxListenersExceeded/i

/** Makes a gateway, which is not started yet. It is killed by the cleanup. */
export async function createGateway(cleanup: Cleanup, options: GatewayOptions): Promise<ControlledGateway> {
  const { databaseUrl, figures, onLog = () => {} } = options
  const folder = await mkdtemp(join(tmpdir(), 'fault-bench-gateway-'))
  cleanup.add(() => rm(folder, { recursive: true, force: true }))
  const port = await freePort()
  const metricsPort = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const env = {
    PATH: process.env.PATH,
    PORT: String(port),
    METRICS_PORT: String(metricsPort),
    LOG_LEVEL: 'warn',
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: String(figures.poolSize),
    DATABASE_WAIT_TIMEOUT: String(figures.deadlines.waitMs),
    STATEMENT_TIMEOUT: String(figures.deadlines.statementMs),
    REQUEST_TIMEOUT: String(figures.deadlines.requestMs),
  }

  let child: ChildProcess | undefined
  let isEndWanted = false
  let deaths = 0
  let complaints: string[] = []
  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null

  const end = async (signal: NodeJS.Signals): Promise<Exit> => {
    const ending = child
    if (!ending || !isRunning()) return { code: ending?.exitCode ?? null, signal: ending?.signalCode ?? null, ms: 0 }
    isEndWanted = true
    const startedAt = performance.now()
    const ended = once(ending, 'exit')
    ending.kill(signal)
    const tooLong = setTimeout(() => ending.kill('SIGKILL'), exitTimeoutMs)
    await ended
    clearTimeout(tooLong)
    return { code: ending.exitCode, signal: ending.signalCode, ms: performance.now() - startedAt }
  }
  cleanup.add(() => end('SIGKILL'))

  const hear = (text: string) => {
    for (const line of text.split('\n').filter(Boolean)) {
      onLog(line)
      if (bugs.test(line)) complaints.push(line)
    }
  }
  return {
    origin,
    get isRunning() {
      return isRunning()
    },
    get deaths() {
      return deaths
    },
    async start() {
      cleanup.refuseWhenOver()
      const startedAt = performance.now()
      isEndWanted = false
      const started = spawn(process.execPath, [program, 'serve'], {
        cwd: folder,
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      child = started
      started.stderr!.setEncoding('utf8').on('data', hear)
      started.once('exit', (code, signal) => {
        if (isEndWanted) return
        deaths += 1
        complaints.push(`the gateway ended by itself (${signal ?? `code ${code}`})`)
      })
      const isReady = () => get(`${origin}/health/ready`).then(({ status }) => status === 200, isUnreachable)
      while (!(await isReady())) {
        if (!isRunning()) throw new Error(`The gateway ended while it started: ${complaints.join('\n')}`)
        if (performance.now() - startedAt > startTimeoutMs) throw new Error('The gateway does not get ready.')
        await pause(20)
      }
      return performance.now() - startedAt
    },
    async kill() {
      await end('SIGKILL')
    },
    terminate: () => end('SIGTERM'),
    async countConnections() {
      const metrics = await get(`http://127.0.0.1:${metricsPort}/metrics`).then(
        (response) => response.text(),
        () => '',
      )
      const usable = [...metrics.matchAll(/^gateway_database_connections\{[^}]*state="(?:idle|busy)"[^}]*\} (\d+)/gm)]
      return usable.length > 0 ? usable.reduce((sum, [, count]) => sum + Number(count), 0) : undefined
    },
    async processorSeconds() {
      const stat = await readFile(`/proc/${child?.pid}/stat`, 'utf8').catch(() => undefined)
      if (stat === undefined) return undefined
      // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
    },
    takeComplaints() {
      const taken = complaints
      complaints = []
      return taken
    },
  }
}

/** On every Linux that Node runs on. */
const ticksPerSecond = 100

const get = (url: string) => fetch(url, { signal: AbortSignal.timeout(askTimeoutMs) })

const isUnreachable = () => false
