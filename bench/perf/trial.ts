import { isDeepStrictEqual } from 'node:util'
import type { Cleanup } from '../faults/cleanup.ts'
import { readAnswer } from './answers.ts'
import { ask, type Reply } from './connection.ts'
import type { CpuPlan } from './cpus.ts'
import type { Dataset } from './dataset.ts'
import type { LoadResult } from './load.ts'
import type { Loader } from './loader.ts'
import { startServer } from './server.ts'
import type { Stack } from './stacks.ts'
import { type WorkloadName, wireOf, workloads } from './workloads.ts'

/** How hard, and for how long. */
export interface Effort {
  rounds: number
  connections: number
  poolSize: number
  warmupMs: number
  measureMs: number
}

/** What trials share. */
export interface Bench {
  cleanup: Cleanup
  cpus: CpuPlan
  loader: Loader
  /** The process whose descendants are PostgreSQL's. */
  databasePid: number
  effort: Effort
  tell(line: string): void
}

/** A stack under one workload, once. */
export interface Trial {
  workload: WorkloadName
  stack: string
  round: number
  requestsPerSecond: number
  /** In milliseconds, with as many requests at a time as there are connections. */
  p50: number
  p99: number
  /** Processor time for each request, in milliseconds. */
  serverCpuMs: number
  databaseCpuMs: number
  /** Parts of one CPU that were busy. */
  busy: { server: number; database: number; load: number }
  /** Memory of the server, in mebibytes: after the load, and at most. */
  memoryMb: number
  peakMb: number
  processes: number
  /** From the start of the process to the first good answer, in milliseconds. */
  startMs: number
  bytesPerReply: number
  /** At a fixed rate, whether answers have come or not. */
  steady: Steady
}

export interface Steady {
  /** Wanted and reached, in requests per second. */
  rate: number
  reached: number
  p50: number
  p99: number
}

/** The part of the measured maximum at which latencies are measured. */
export const steadyPart = 0.7
/** More than are ever needed at once: at a fixed rate, requests are not to wait for a connection. */
const steadyConnections = 128

/** It is warm by then. */
const settleMs = 1000

export interface TrialOptions {
  bench: Bench
  stack: Stack
  workload: WorkloadName
  round: number
  data: Dataset
  /** What the first call must bring; undefined where it is another each time. */
  expected: unknown
  env?: Record<string, string>
}

/** The requests of a stack under a workload, as they go over the wire; undefined where it cannot be asked. */
export function requestsOf(stack: Stack, workload: WorkloadName, data: Dataset): string[] | undefined {
  const headers = stack.headers?.(data)
  return workloads[workload].calls(stack.dialect, data)?.map((call) => wireOf(call, headers))
}

export async function runTrial({ bench, stack, workload, round, data, ...rest }: TrialOptions): Promise<Trial> {
  const { cleanup, cpus, loader, databasePid, effort } = bench
  const { expected, writes } = workloads[workload]
  const requests = requestsOf(stack, workload, data)!
  const { poolSize, connections, warmupMs, measureMs } = effort
  const start = { data, cpus: cpus.server, poolSize, cleanup, firstRequest: requests[0]!, env: rest.env ?? {} }
  const server = await startServer(stack, start)
  const hold = (reply: Reply) => {
    const answer = readAnswer(reply, workloads[workload])
    if (rest.expected !== undefined && !isDeepStrictEqual(answer, rest.expected)) {
      throw new Error(
        `${workload}: the answer of ${stack.name} is another now: ${reply.body.toString().slice(0, 1000)}`,
      )
    }
  }
  try {
    hold(server.firstReply)
    const job = { port: server.port, requests, expected, warmupMs, measureMs }
    const watched = { server: server.pid, database: databasePid }
    const closed = await loader.run({ ...job, connections, watched })
    const requestsPerSecond = (closed.requests / closed.ms) * 1000
    const rate = requestsPerSecond * steadyPart
    const open = await loader.run({ ...job, connections: steadyConnections, rate, warmupMs: settleMs, watched })
    hold(await ask(server.port, requests[0]!))
    return {
      workload,
      stack: stack.name,
      round,
      ...figuresOf(closed),
      requestsPerSecond,
      startMs: server.startMs,
      steady: { rate, reached: (open.requests / open.ms) * 1000, p50: open.latency.p50, p99: open.latency.p99 },
    }
  } finally {
    await server.stop()
    if (writes) await data.restore()
  }
}

export function figuresOf({ requests, ms, latency, used, bytesPerReply }: LoadResult) {
  const { server, database, load } = used
  const part = (cpuMs: number) => cpuMs / ms
  return {
    p50: latency.p50,
    p99: latency.p99,
    serverCpuMs: server!.cpuMs / requests,
    databaseCpuMs: database!.cpuMs / requests,
    busy: { server: part(server!.cpuMs), database: part(database!.cpuMs), load: part(load!.cpuMs) },
    memoryMb: server!.rssMb,
    peakMb: server!.peakMb,
    processes: server!.processes,
    bytesPerReply,
  }
}

/** The stacks in another order each round: who comes first or last is nobody for long. */
export function inTurn<Item>(items: readonly Item[], round: number): Item[] {
  const first = round % items.length
  const rotated = [...items.slice(first), ...items.slice(0, first)]
  return round % 2 === 0 ? rotated : rotated.toReversed()
}
