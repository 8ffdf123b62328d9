import { organizationOrderings } from '../../src/domain/organization-lists.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { encodeCursor } from '../../src/domain/page.ts'
import type { Dataset, Server } from './dataset.ts'
import { startServer } from './server.ts'
import type { Stack } from './stacks.ts'
import { median, type Quartiles, quartiles } from './statistics.ts'
import { alignColumns, milliseconds } from './table.ts'
import { type Bench, figuresOf, inTurn } from './trial.ts'
import { type Call, documentOf, graphql, organizationsInPage, rootsInPage, wireOf, workloads } from './workloads.ts'

// What a request costs as there is more: more rows in its answer, and more rows in the tables. One request at a time, so that
// its time is the sum of what the gateway, the driver and PostgreSQL take. It is judged by the processor time of gateway and
// PostgreSQL, which tells the same and minds less what else the machine is doing.

/** One thing that is asked, of the data of one size. */
interface Case {
  data: Dataset
  size: string
  requests: string[]
}

interface Measured {
  /** In milliseconds. */
  p50: number
  serverCpuMs: number
  databaseCpuMs: number
}

export interface Grown {
  question: string
  from: string
  to: string
  /** Medians over the rounds. */
  before: Measured
  after: Measured
  /** How many times as much processor time a request took, within each round. */
  ratio: Quartiles
  allowed: { min: number; max: number }
  isWithin: boolean
}

export interface Sizes {
  small: number
  large: number
}

/** With a hundred contacts each: pages are full, and what a request costs besides its rows is small. */
const wide = { organizations: 200, contacts: 100 }
/** Rows ten times as many cost ten times as much, less what a request costs besides its rows, which tells where they are few. */
const allowedForFewRows = { min: 1, max: 12 }
const allowedForRows = { min: 8, max: 12 }
/** A table a hundred times as large costs nothing. */
const allowedForTables = { min: 0.85, max: 1.15 }
/**
 * Where a deep page begins: about half way through the organizations, with names in the same letters in every size, since
 * other letters cost something else.
 */
const deepName = 'Redwood'
/** How many requests at a time warm a server up. */
const warmingConnections = 8
const settleMs = 300

export async function measureGrowth(bench: Bench, server: Server, ours: Stack, sizes: Sizes): Promise<Grown[]> {
  const { tell } = bench
  tell(`seeding ${wide.organizations} organizations with ${wide.contacts} contacts each`)
  const wideData = await server.seed('wide', wide.organizations, wide.contacts)
  const [one, ten, hundred] = [1, 10, 100].map((first) => rowsCase(ours, wideData, first)) as [Case, Case, Case]
  const grown = [
    await compareCases(bench, ours, 'rows: few', allowedForFewRows, [one, ten]),
    await compareCases(bench, ours, 'rows: many', allowedForRows, [ten, hundred]),
  ]
  tell(`seeding ${sizes.small} and ${sizes.large} organizations`)
  const small = await server.seed('small', sizes.small, 7)
  const large = await server.seed('large', sizes.large, 7)
  for (const [question, callsFor] of Object.entries(questions)) {
    const cases = [tableCase(ours, small, callsFor), tableCase(ours, large, callsFor)] as const
    grown.push(await compareCases(bench, ours, `table: ${question}`, allowedForTables, cases))
  }
  return grown
}

const rowsCase = (ours: Stack, data: Dataset, first: number): Case => ({
  data,
  size: `${first * (1 + wide.contacts)} objects`,
  requests: [wireOf(graphql(documentOf.nested(first)), ours.headers?.(data))],
})

type CallsFor = (data: Dataset) => Call[]

const deepCursor = encodeCursor(organizationOrderings.NAME, { name: deepName } as Organization)

const questions: Record<string, CallsFor> = {
  'W1, first page': (data) => workloads.W1.calls('gateway', data)!,
  'W1, deep page': () => [graphql(documentOf.nested(organizationsInPage, deepCursor))],
  W2: (data) => workloads.W2.calls('gateway', data)!,
  'W4, first page': (data) => workloads.W4.calls('gateway', data)!,
  'W4, deep page': () => [graphql(documentOf.threeLevels(rootsInPage, deepCursor))],
}

function tableCase(ours: Stack, data: Dataset, callsFor: CallsFor): Case {
  const requests = callsFor(data).map((call) => wireOf(call, ours.headers?.(data)))
  return { data, size: `${data.size.organizations} organizations`, requests }
}

/** Measures the smaller and the larger in turn, in each round. */
async function compareCases(
  bench: Bench,
  ours: Stack,
  question: string,
  allowed: Grown['allowed'],
  cases: readonly [Case, Case],
): Promise<Grown> {
  const [smaller, larger] = cases
  const measured = new Map<Case, Measured[]>(cases.map((each) => [each, []]))
  for (let round = 0; round < bench.effort.rounds; round += 1) {
    for (const each of inTurn(cases, round)) measured.get(each)!.push(await measure(bench, ours, each))
  }
  const [before, after] = [measured.get(smaller)!, measured.get(larger)!]
  const ratio = quartiles(after.map((each, round) => cpuOf(each) / cpuOf(before[round]!)))
  const isWithin = ratio.median >= allowed.min && ratio.median <= allowed.max
  bench.tell(`${question}: × ${ratio.median.toFixed(2)}`)
  const sizes = { from: smaller.size, to: larger.size, before: medians(before), after: medians(after) }
  return { question, ...sizes, ratio, allowed, isWithin }
}

const cpuOf = ({ serverCpuMs, databaseCpuMs }: Measured) => serverCpuMs + databaseCpuMs

async function measure(bench: Bench, ours: Stack, { data, requests }: Case): Promise<Measured> {
  const { cleanup, cpus, loader, databasePid, effort } = bench
  const { poolSize, warmupMs, measureMs } = effort
  const start = { data, cpus: cpus.server, poolSize, cleanup, firstRequest: requests[0]! }
  const server = await startServer(ours, start)
  try {
    const watched = { server: server.pid, database: databasePid }
    const { expected } = workloads.W1
    const job = { port: server.port, requests, expected, watched }
    await loader.run({ ...job, connections: warmingConnections, warmupMs: 0, measureMs: warmupMs })
    return figuresOf(await loader.run({ ...job, connections: 1, warmupMs: settleMs, measureMs }))
  } finally {
    await server.stop()
  }
}

const medians = (all: readonly Measured[]): Measured => ({
  p50: median(all.map(({ p50 }) => p50)),
  serverCpuMs: median(all.map(({ serverCpuMs }) => serverCpuMs)),
  databaseCpuMs: median(all.map(({ databaseCpuMs }) => databaseCpuMs)),
})

export function growthTable(grown: readonly Grown[]): string {
  const pair = (before: number, after: number) => `${milliseconds(before)} → ${milliseconds(after)}`
  return alignColumns([
    ['', 'from', 'to', 'CPU times', 'quartiles', 'allowed', '', 'p50', 'gateway CPU', 'PostgreSQL CPU'],
    ...grown.map(({ question, from, to, ratio, allowed, isWithin, before, after }) => [
      question,
      from,
      to,
      ratio.median.toFixed(2),
      `${ratio.q1.toFixed(2)}–${ratio.q3.toFixed(2)}`,
      `${allowed.min}–${allowed.max}`,
      isWithin ? 'ok' : 'OUTSIDE',
      pair(before.p50, after.p50),
      pair(before.serverCpuMs, after.serverCpuMs),
      pair(before.databaseCpuMs, after.databaseCpuMs),
    ]),
  ]).join('\n')
}
