import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Dataset } from './dataset.ts'
import { startServer } from './server.ts'
import type { Stack } from './stacks.ts'
import { alignColumns, titleOf } from './table.ts'
import { type Bench, requestsOf } from './trial.ts'
import { type WorkloadName, workloads } from './workloads.ts'

/** What V8 writes. */
export interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame }[]
  /** By the clock of the system, in microseconds. */
  startTime: number
  samples: number[]
  /** From the sample before, or from the start, in microseconds. */
  timeDeltas: number[]
}

interface CallFrame {
  functionName: string
  url: string
  lineNumber: number
}

export interface Share {
  name: string
  /** In microseconds. */
  self: number
}

const samplingUs = 250
const shownFunctions = 15

/** Profiles a stack under a workload, and tells where its time goes while it is loaded. The profile is kept in the folder. */
export async function profileStack(
  bench: Bench,
  stack: Stack,
  workload: WorkloadName,
  data: Dataset,
  folder: string,
): Promise<string> {
  const { cleanup, cpus, loader, databasePid, effort } = bench
  const { poolSize, connections, warmupMs, measureMs } = effort
  const requests = requestsOf(stack, workload, data)
  if (!requests) return `${titleOf(stack.name)} cannot be asked for ${workload}.`
  const kept = join(folder, `${stack.name}-${workload}`)
  await rm(kept, { recursive: true, force: true })
  await mkdir(kept, { recursive: true })
  const nodeOptions = ['--cpu-prof', `--cpu-prof-interval=${samplingUs}`, `--cpu-prof-dir=${kept}`]
  const start = { data, cpus: cpus.server, poolSize, cleanup, firstRequest: requests[0]!, nodeOptions }
  const server = await startServer(stack, start)
  const watched = { server: server.pid, database: databasePid }
  const { expected } = workloads[workload]
  const job = { port: server.port, requests, expected, warmupMs, measureMs, connections, watched }
  const result = await loader.run(job).finally(() => server.stop())
  if (workloads[workload].writes) await data.restore()
  const profile = await busiestIn(kept)
  const spent = spentBetween(profile, result.from, result.to)
  return [
    `${workload}  ${titleOf(stack.name)}: ${result.requests} requests in ${(result.ms / 1000).toFixed(1)} s, ` +
      `${((result.used.server!.cpuMs / result.requests) * 1000).toFixed(0)} µs of CPU each; ${kept}`,
    ...linesOf('package', sumBy(spent, placeOf), result.requests),
    '',
    ...linesOf('function', sumBy(spent, describe), result.requests).slice(0, shownFunctions + 1),
  ].join('\n')
}

/** Each thread writes its own; the one with the most samples that are not idle served. */
async function busiestIn(folder: string): Promise<CpuProfile> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.cpuprofile'))
  const profiles: CpuProfile[] = await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))),
  )
  const busy = (profile: CpuProfile) =>
    spentBetween(profile, 0, Number.POSITIVE_INFINITY).reduce((sum, { self }) => sum + self, 0)
  const [busiest] = profiles.toSorted((a, b) => busy(b) - busy(a))
  if (!busiest) throw new Error(`Node has written no profile to ${folder}`)
  return busiest
}

interface Spent {
  frame: CallFrame
  self: number
}

/** How long each function itself ran in the window; what is idle does not count. */
export function spentBetween(profile: CpuProfile, from: number, to: number): Spent[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const self = new Map<number, number>()
  let at = profile.startTime
  for (const [i, node] of profile.samples.entries()) {
    at += profile.timeDeltas[i]!
    // A sample stands for the time until the next one.
    const lasted = profile.timeDeltas[i + 1] ?? 0
    if (at >= from && at + lasted <= to) self.set(node, (self.get(node) ?? 0) + lasted)
  }
  return [...self]
    .map(([node, time]) => ({ frame: frames.get(node)!, self: time }))
    .filter(({ frame }) => frame.functionName !== '(idle)')
}

export function sumBy(spent: readonly Spent[], nameOf: (frame: CallFrame) => string): Share[] {
  const sums = new Map<string, number>()
  for (const { frame, self } of spent) sums.set(nameOf(frame), (sums.get(nameOf(frame)) ?? 0) + self)
  return [...sums].map(([name, self]) => ({ name, self })).toSorted((a, b) => b.self - a.self)
}

/** The package, the folder of `src`, or the part of Node that a function belongs to. */
export function placeOf({ functionName, url }: CallFrame): string {
  if (functionName === '(garbage collector)') return 'garbage collection'
  // Where V8 saw no JavaScript: the system, libuv, HTTP parsing, compiling.
  if (functionName === '(program)') return 'program (native)'
  if (url.startsWith('node:')) return 'node internals'
  const installed = '/node_modules/'
  const at = url.lastIndexOf(installed)
  if (at >= 0) return /^(?:@[^/]+\/)?[^/]+/.exec(url.slice(at + installed.length))![0]
  const [, folder] = /\/(src\/[^/]+|bench\/perf\/[^/]+)\//.exec(url) ?? []
  if (folder) return folder
  if (/\/src\/[^/]+$/.test(url)) return 'src'
  // Functions of V8 and Node without a script, and code that is made at run time.
  return url === '' ? 'built-in or generated' : url
}

function describe(frame: CallFrame): string {
  const { functionName, url, lineNumber } = frame
  if (url === '') return functionName || '(anonymous)'
  const file = url.replace(/^.*\/node_modules\//, '').replace(/^file:\/\/.*?\/(?=src\/|bench\/)/, '')
  return `${functionName || '(anonymous)'}  ${file}:${lineNumber + 1}`
}

function linesOf(head: string, shares: readonly Share[], requests: number): string[] {
  const total = shares.reduce((sum, { self }) => sum + self, 0)
  return alignColumns([
    [head, 'share', 'µs/request'],
    ...shares
      .filter(({ self }) => self / total >= 0.001)
      .map(({ name, self }) => [name, `${((self / total) * 100).toFixed(1)} %`, (self / requests).toFixed(1)]),
  ])
}
