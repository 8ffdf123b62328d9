import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from '../../test/support/postgres-server.ts'
import type { Cleanup } from '../faults/cleanup.ts'
import { ask, type Reply } from './connection.ts'
import { pinned } from './cpus.ts'
import type { Dataset } from './dataset.ts'
import type { Stack } from './stacks.ts'

/** A stack that serves, as a process of its own. */
export interface RunningServer {
  readonly port: number
  readonly pid: number
  /** From the start of the process to the end of the first good answer, in milliseconds. */
  readonly startMs: number
  readonly firstReply: Reply
  /** SIGTERM; waits for the end. */
  stop(): Promise<void>
}

export interface StartOptions {
  data: Dataset
  cpus: string | undefined
  poolSize: number
  cleanup: Cleanup
  /** What it is asked until it answers. */
  firstRequest: string
  nodeOptions?: readonly string[]
  env?: Record<string, string>
}

const startTimeoutMs = 60_000
const stopTimeoutMs = 15_000
/** Between two tries whether it answers: what a start time is uncertain by. */
const tryMs = 3

/** Starts a stack and waits until it answers. What it prints goes to a file, as an access log does. */
export async function startServer(stack: Stack, options: StartOptions): Promise<RunningServer> {
  const { data, cpus, poolSize, cleanup, firstRequest, nodeOptions = [] } = options
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'perf-bench-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  cleanup.add(remove)
  const log = join(folder, 'log')
  const file = openSync(log, 'a')
  const [command, args] = pinned(cpus, process.execPath, [...nodeOptions, ...stack.program])
  const startedAt = performance.now()
  const child = spawn(command, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, ...stack.env({ data, port, poolSize }), ...options.env },
    stdio: ['ignore', file, file],
  })
  closeSync(file)
  let hasEnded = false
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      hasEnded = true
      resolve()
    })
  })
  cleanup.add(() => child.kill('SIGKILL'))

  const explain = (what: string) => new Error(`${stack.name} ${what}:\n${readFileSync(log, 'utf8').slice(-4000)}`)
  for (;;) {
    const reply = await ask(port, firstRequest).catch(() => undefined)
    const ms = performance.now() - startedAt
    if (hasEnded) throw explain('has ended')
    if (reply?.status === 200) {
      return {
        port,
        pid: child.pid!,
        startMs: ms,
        firstReply: reply,
        async stop() {
          child.kill('SIGTERM')
          const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
          await ended
          clearTimeout(timer)
          await remove()
        },
      }
    }
    if (reply) throw explain(`has answered ${reply.status} ${reply.body}`)
    if (ms > startTimeoutMs) throw explain('did not answer in time')
    await pause(tryMs)
  }
}
