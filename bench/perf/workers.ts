import type { Dataset } from './dataset.ts'
import type { Stack } from './stacks.ts'
import { median, type Quartiles, quartiles } from './statistics.ts'
import { alignColumns, milliseconds, percent } from './table.ts'
import { type Bench, inTurn, runTrial, type Trial } from './trial.ts'
import { type WorkloadName, workloads } from './workloads.ts'

export interface WorkersRow {
  workload: WorkloadName
  workers: number
  processes: number
  requestsPerSecond: number
  /** Requests per second by those of a single worker in the same round. */
  ofOne: Quartiles
  serverCpuMs: number
  memoryMb: number
  busy: Trial['busy']
  steady: { p50: number; p99: number }
}

export const workerCounts = [1, 2]

/** Compares the gateway with itself, with one worker and with more. */
export async function compareWorkers(
  bench: Bench,
  data: Dataset,
  ours: Stack,
  workloadNames: readonly WorkloadName[],
): Promise<WorkersRow[]> {
  const rows: WorkersRow[] = []
  for (const workload of workloadNames) {
    const trials = new Map<number, Trial[]>(workerCounts.map((count) => [count, []]))
    for (let round = 0; round < bench.effort.rounds; round += 1) {
      for (const count of inTurn(workerCounts, round)) {
        const env = { WORKERS: String(count) }
        const trial = await runTrial({ bench, stack: ours, workload, round, data, expected: undefined, env })
        bench.tell(
          `${workload} round ${round + 1}, WORKERS=${count}: ${Math.round(trial.requestsPerSecond)} requests/s`,
        )
        trials.get(count)!.push(trial)
      }
    }
    const single = trials.get(1)!
    for (const [workers, own] of trials) rows.push(summarize(workload, workers, own, single))
  }
  return rows
}

function summarize(workload: WorkloadName, workers: number, own: Trial[], single: Trial[]): WorkersRow {
  const over = (figure: (trial: Trial) => number) => median(own.map(figure))
  return {
    workload,
    workers,
    processes: over((trial) => trial.processes),
    requestsPerSecond: over((trial) => trial.requestsPerSecond),
    ofOne: quartiles(own.map((trial, round) => trial.requestsPerSecond / single[round]!.requestsPerSecond)),
    serverCpuMs: over((trial) => trial.serverCpuMs),
    memoryMb: over((trial) => trial.memoryMb),
    busy: {
      server: over((trial) => trial.busy.server),
      database: over((trial) => trial.busy.database),
      load: over((trial) => trial.busy.load),
    },
    steady: { p50: over((trial) => trial.steady.p50), p99: over((trial) => trial.steady.p99) },
  }
}

export function workersTable(rows: readonly WorkersRow[]): string {
  const lines = alignColumns([
    [
      '',
      'WORKERS',
      'processes',
      'requests/s',
      'of one',
      'quartiles',
      'CPU/request',
      'memory',
      'busy',
      'at 70 %: p50',
      'p99',
    ],
    ...rows.map(({ workload, workers, processes, requestsPerSecond, ofOne, ...row }) => [
      `${workload}  ${workloads[workload].title}`,
      String(workers),
      String(processes),
      String(Math.round(requestsPerSecond)),
      ofOne.median.toFixed(2),
      `${ofOne.q1.toFixed(2)}–${ofOne.q3.toFixed(2)}`,
      milliseconds(row.serverCpuMs),
      `${Math.round(row.memoryMb)} MB`,
      percent(row.busy.server),
      milliseconds(row.steady.p50),
      milliseconds(row.steady.p99),
    ]),
  ])
  return lines.join('\n')
}
