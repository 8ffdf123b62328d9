import type { Row } from './comparison.ts'
import { stacks } from './stacks.ts'
import { type WorkloadName, workloads } from './workloads.ts'

/** Lines of equal columns; those after the first are numbers, and stand to the right. */
export function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const align = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
  return rows.map((row) => row.map(align).join('  ').trimEnd())
}

/** The most that the 99th of a hundred may take, by what the 50th does, at 70 % of the maximum. */
export const maxSteadyRatio = 4
/** Above that a part is taken to be what the others wait for. */
const fullyBusy = 0.9

const columns: readonly [head: string, cell: (row: Row) => string][] = [
  ['', ({ stack }) => titleOf(stack)],
  ['requests/s', ({ requestsPerSecond }) => String(Math.round(requestsPerSecond))],
  ['of the floor', ({ ofFloor }) => ofFloor.median.toFixed(2)],
  ['quartiles', ({ ofFloor }) => `${ofFloor.q1.toFixed(2)}–${ofFloor.q3.toFixed(2)}`],
  ['p50', ({ p50 }) => milliseconds(p50)],
  ['p99', ({ p99 }) => milliseconds(p99)],
  ['CPU/request', ({ serverCpuMs }) => milliseconds(serverCpuMs)],
  ['by the floor', ({ cpuByFloor }) => `× ${cpuByFloor.toFixed(1)}`],
  ['memory', ({ memoryMb }) => `${Math.round(memoryMb)} MB`],
  ['start', ({ startMs }) => `${(startMs / 1000).toFixed(2)} s`],
  ['at 70 %: p50', ({ steady }) => milliseconds(steady.p50)],
  ['p99', ({ steady }) => milliseconds(steady.p99)],
  ['p99/p50', ({ steady }) => `${steady.ratio.toFixed(1)}${steady.ratio < maxSteadyRatio ? '' : ' !'}`],
  ['busy', ({ busy }) => percent(busy.server)],
  ['DB busy', ({ busy }) => percent(busy.database)],
]

/** A workload, with a line for each stack. */
export function tableOf(name: WorkloadName, rows: readonly Row[]): string {
  const lines = alignColumns([
    columns.map(([head]) => head),
    ...rows.map((row) => columns.map(([, cell]) => cell(row))),
  ])
  const idle = rows.filter(({ busy }) => busy.server < fullyBusy)
  const notes = [
    ...(idle.length > 0
      ? [
          `Held up by more than their own CPU, so that CPU/request says more than requests/s: ${idle.map(({ stack }) => titleOf(stack)).join('; ')}.`,
        ]
      : []),
    ...rows.flatMap(({ stack, busy }) =>
      busy.load > fullyBusy ? [`The load generator was as busy as can be with ${titleOf(stack)}.`] : [],
    ),
  ]
  return [`${name}  ${workloads[name].title}`, ...lines, ...notes].join('\n')
}

export const titleOf = (name: string) => stacks.find((stack) => stack.name === name)?.title ?? name

export const milliseconds = (ms: number) => `${ms < 1 ? ms.toFixed(3) : ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ms`

export const percent = (part: number) => `${Math.round(part * 100)} %`
