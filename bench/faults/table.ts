import { type KindOfFault, kindsOfFault } from './checker.ts'
import type { FaultReport } from './faults.ts'
import { percent, type ScenarioResult } from './trial.ts'

const columns: readonly [head: string, cell: (result: ScenarioResult) => string][] = [
  ['scenario', ({ name }) => name],
  ['result', ({ verdict }) => verdict],
  ['rounds', ({ rounds }) => String(rounds)],
  ['requests', ({ requests }) => String(requests)],
  ['ack', ({ writes }) => String(writes.acknowledged)],
  ['refused', ({ writes }) => String(writes.refused)],
  ['in doubt', ({ writes }) => String(writes.unknown)],
  ...kindsOfFault.map((kind: KindOfFault): [string, (result: ScenarioResult) => string] => [
    kind,
    ({ findings }) => String(findings[kind].length),
  ]),
  ['died', ({ deaths }) => String(deaths)],
  ['slowest', ({ slowestMs }) => seconds(slowestMs)],
  ['1st write', ({ times }) => seconds(times.firstWriteMs)],
  ['pool full', ({ times }) => seconds(times.poolFullMs)],
  ['ready', ({ times }) => seconds(times.readyMs)],
  ['exit', ({ times }) => seconds(times.exitMs)],
  ['CPU', ({ times }) => (times.cpuShare === undefined ? '-' : percent(times.cpuShare))],
]

function seconds(ms: number | undefined): string {
  if (ms === undefined) return '-'
  return ms === Number.POSITIVE_INFINITY ? 'never' : `${(ms / 1000).toFixed(2)} s`
}

/** A line for each scenario, and under the table why those that failed or were skipped did. */
export function tableOf({ scenarios, postgres, ms, passed, short }: FaultReport): string {
  const heads = columns.map(([head]) => head)
  const rows = scenarios.map((result) => {
    // Of what was not done there is nothing to count.
    if (result.verdict === 'skipped') return columns.map(([head, cell]) => (numbered.has(head) ? '-' : cell(result)))
    return columns.map(([, cell]) => cell(result))
  })
  const widths = heads.map((_, column) => Math.max(...[heads, ...rows].map((row) => row[column]!.length)))
  const lines = [heads, ...rows].map((row) =>
    row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  '),
  )
  const reasons = scenarios.flatMap(({ name, verdict, reasons }) => reasons.map((why) => `${name} ${verdict}: ${why}`))
  const counted = Object.groupBy(scenarios, ({ verdict }) => verdict)
  return [
    ...lines,
    ...(reasons.length > 0 ? ['', ...reasons] : []),
    '',
    `${passed ? 'Passed' : 'FAILED'}: ${counted.passed?.length ?? 0} passed, ${counted.failed?.length ?? 0} failed, ` +
      `${counted.skipped?.length ?? 0} skipped; PostgreSQL ${postgres}${short ? ', short' : ''}, ${Math.round(ms / 1000)} s.`,
  ].join('\n')
}

/** Everything but the first two columns. */
const numbered = new Set(columns.slice(2).map(([head]) => head))
