import { type Comparison, compareAnswers } from './answers.ts'
import type { Dataset } from './dataset.ts'
import { floorName, type Stack } from './stacks.ts'
import { median, type Quartiles, quartiles } from './statistics.ts'
import { type Bench, inTurn, requestsOf, runTrial, type Trial } from './trial.ts'
import type { WorkloadName } from './workloads.ts'

/** A stack under one workload, over all rounds: medians, and of the ratio the quartiles as well. */
export interface Row {
  workload: WorkloadName
  stack: string
  requestsPerSecond: number
  /** Requests per second by those of the floor in the same round. */
  ofFloor: Quartiles
  p50: number
  p99: number
  serverCpuMs: number
  /** Processor time of the server for each request, by that of the floor in the same round. */
  cpuByFloor: number
  databaseCpuMs: number
  busy: Trial['busy']
  memoryMb: number
  startMs: number
  steady: { p50: number; p99: number; ratio: number }
}

export interface ComparisonResult {
  answersCompared: Record<string, Record<string, number>>
  rows: Row[]
  trials: Trial[]
}

export interface ComparisonOptions {
  bench: Bench
  data: Dataset
  chosen: readonly Stack[]
  workloadNames: readonly WorkloadName[]
  /** Filled as it goes, so that nothing is lost when a later part fails. */
  result: ComparisonResult
  /** Told the rows of each workload as it is done. */
  onWorkload(name: WorkloadName, rows: readonly Row[]): void
}

/**
 * Compares the answers of the stacks, and then times them: all rounds of a workload one after the other, each with all
 * stacks, so that what is compared happens at about the same time.
 */
export async function compareStacks(options: ComparisonOptions): Promise<void> {
  const { bench, data, chosen, workloadNames, result, onWorkload } = options
  const { cleanup, cpus, effort, tell } = bench
  tell('comparing the answers')
  const { comparisons, expected } = await compareAnswers({
    only: chosen,
    workloadNames,
    data,
    cpus: cpus.server,
    poolSize: effort.poolSize,
    cleanup,
  })
  tell(`all ${comparisons.reduce((sum, { answers }) => sum + answers, 0)} answers are equal`)
  result.answersCompared = countsOf(comparisons)

  for (const workload of workloadNames) {
    const able = chosen.filter((stack) => requestsOf(stack, workload, data) !== undefined)
    const trials: Trial[] = []
    for (let round = 0; round < effort.rounds; round += 1) {
      for (const stack of inTurn(able, round)) {
        const trial = await runTrial({ bench, stack, workload, round, data, expected: expected[workload] })
        tell(`${workload} round ${round + 1} ${stack.name}: ${Math.round(trial.requestsPerSecond)} requests/s`)
        trials.push(trial)
      }
    }
    const rows = able.map(({ name }) => summarize(workload, name, trials))
    result.rows.push(...rows)
    result.trials.push(...trials)
    onWorkload(workload, rows)
  }
}

/** How many answers were compared, by workload and stack. */
function countsOf(comparisons: readonly Comparison[]) {
  const byWorkload = Object.groupBy(comparisons, ({ workload }) => workload)
  return Object.fromEntries(
    Object.entries(byWorkload).map(([name, all]) => [
      name,
      Object.fromEntries(all.map(({ stack, answers }) => [stack, answers])),
    ]),
  )
}

export function summarize(workload: WorkloadName, stack: string, trials: readonly Trial[]): Row {
  const own = trials.filter((trial) => trial.stack === stack)
  const over = (figure: (trial: Trial) => number) => median(own.map(figure))
  const floorIn = new Map(trials.filter((trial) => trial.stack === floorName).map((trial) => [trial.round, trial]))
  return {
    workload,
    stack,
    requestsPerSecond: over((trial) => trial.requestsPerSecond),
    ofFloor: quartiles(own.map((trial) => trial.requestsPerSecond / floorIn.get(trial.round)!.requestsPerSecond)),
    p50: over((trial) => trial.p50),
    p99: over((trial) => trial.p99),
    serverCpuMs: over((trial) => trial.serverCpuMs),
    cpuByFloor: over((trial) => trial.serverCpuMs / floorIn.get(trial.round)!.serverCpuMs),
    databaseCpuMs: over((trial) => trial.databaseCpuMs),
    busy: {
      server: over((trial) => trial.busy.server),
      database: over((trial) => trial.busy.database),
      load: over((trial) => trial.busy.load),
    },
    memoryMb: over((trial) => trial.memoryMb),
    startMs: over((trial) => trial.startMs),
    steady: {
      p50: over((trial) => trial.steady.p50),
      p99: over((trial) => trial.steady.p99),
      ratio: over((trial) => trial.steady.p99 / trial.steady.p50),
    },
  }
}
