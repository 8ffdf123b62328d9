import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Which CPUs each part of the bench runs on; undefined where it is left to the system. */
export interface CpuPlan {
  server: string | undefined
  database: string | undefined
  load: string | undefined
  /** What the reader of the figures should know of it. */
  note: string
}

/**
 * Keeps the server apart from the load generator and PostgreSQL, and these two apart from each other where there are three
 * CPUs or more. The server gets `serverCpus`; a single one is what a process of Node can fill.
 */
export async function planCpus(serverCpus = 1): Promise<CpuPlan> {
  const cpus = await allowedCpus()
  const left = cpus.length - serverCpus
  if (!(await canPin()) || left < 1) {
    const why = left < 1 ? `${cpus.length} CPUs are not enough to keep the server apart` : 'there is no taskset'
    return { server: undefined, database: undefined, load: undefined, note: `Nothing is pinned: ${why}.` }
  }
  const server = cpus.slice(0, serverCpus)
  const load = cpus.slice(-1)
  const database = left === 1 ? load : cpus.slice(serverCpus, -1)
  const rest =
    left === 1
      ? `PostgreSQL and the load generator share CPU ${load}`
      : `PostgreSQL on ${database}, the load on ${load}`
  return {
    server: server.join(),
    database: database.join(),
    load: load.join(),
    note: `The server is pinned to CPU ${server}; ${rest}.`,
  }
}

/** A command that runs on these CPUs alone. `taskset` becomes the command, so the process keeps its id. */
export function pinned(cpus: string | undefined, command: string, args: readonly string[]): [string, string[]] {
  return cpus === undefined ? [command, [...args]] : ['taskset', ['--cpu-list', cpus, command, ...args]]
}

/** Moves this process, and with it what it starts from now on. */
export async function pinSelf(cpus: string | undefined): Promise<void> {
  if (cpus !== undefined) await run('taskset', ['--all-tasks', '--pid', '--cpu-list', cpus, String(process.pid)])
}

async function allowedCpus(): Promise<number[]> {
  const status = await readFile('/proc/self/status', 'utf8')
  return parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1]!)
}

/** Reads a list as the kernel writes it, e.g. `0-2,5`. */
export function parseCpuList(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i)
  })
}

const canPin = () =>
  run('taskset', ['--version']).then(
    () => true,
    () => false,
  )
