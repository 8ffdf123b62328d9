import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { Cleanup } from '../faults/cleanup.ts'
import { chartOf } from './chart.ts'
import { type ComparisonResult, compareStacks, type Row } from './comparison.ts'
import { pinSelf, planCpus } from './cpus.ts'
import { type Server, startPostgres } from './dataset.ts'
import { growthTable, measureGrowth } from './growth.ts'
import { startLoader } from './loader.ts'
import { profileStack } from './profile.ts'
import { describeRun, writeResult } from './results.ts'
import { floorName, oursName, type Stack, stacks, versionsOf } from './stacks.ts'
import { tableOf } from './table.ts'
import type { Bench, Effort } from './trial.ts'
import { compareWorkers, workerCounts, workersTable } from './workers.ts'
import { type WorkloadName, workloadNames, workloads } from './workloads.ts'

interface Options {
  quick: boolean
  only?: Stack[]
  workloads?: WorkloadName[]
  rounds?: number
  seconds?: number
  connections: number
  pool: number
  results: string
  profile: boolean
  growth: boolean
  workers: boolean
}

const usual = { rounds: 5, seconds: 5, warmupMs: 3000 }
/** To see that everything runs; the figures are not to be kept. */
const quick = { rounds: 2, seconds: 2, warmupMs: 1000 }
const full = { organizations: 20_000, contacts: 7 }
const tableSizes = { small: 2000, large: 200_000 }
const quickTableSizes = { small: 2000, large: 20_000 }
const resultsFolder = fileURLToPath(new URL('../results', import.meta.url))
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }

const program = new Command('bench')
  .description(
    'Compares the gateway with a hand-written floor and with other GraphQL servers: the same data, the same queries, and answers that are compared before anything is timed. It starts a PostgreSQL of its own and every server in turn, on 127.0.0.1.',
  )
  .option('--quick', 'two short rounds, to see that everything runs; its figures are kept apart', false)
  .option('--only <stacks>', 'these stacks, separated by commas, and the floor', listOf('stack', byName(stacks)))
  .option('--workloads <names>', 'these workloads, separated by commas', listOf('workload', itself(workloadNames)))
  .option('--rounds <n>', `how often each stack is measured (${usual.rounds})`, integer(1, 1000))
  .option('--seconds <n>', `how long each time (${usual.seconds}); as long again at 70 % load`, integer(1, 3600))
  .option('--connections <n>', 'how many requests at a time', integer(1, 128), 32)
  .option('--pool <n>', 'how many connections to PostgreSQL every server has', integer(1, 100), 10)
  .option('--profile', 'tell where the CPU time of a server goes, by package and function (ours, W1 and W2)', false)
  .option('--growth', 'tell what ten times the rows, and a hundred times the table, cost the gateway', false)
  .option('--workers', 'compare the gateway with WORKERS=1 and WORKERS=2', false)
  .option('--results <folder>', 'where JSON, chart and profiles go', resultsFolder)
  .addHelpText('after', () =>
    [
      '\nStacks:',
      ...stacks.map(({ name, settings }) => `  ${name.padEnd(13)} ${settings}`),
      '\nWorkloads:',
      ...workloadNames.map((name) => `  ${name.padEnd(13)} ${workloads[name].title}`),
    ].join('\n'),
  )
  .showHelpAfterError('(--help tells more)')
  .action(async (options: Options) => {
    const cleanup = new Cleanup()
    const interrupted = new Promise<void>((resolve) => {
      for (const [signal, code] of Object.entries(exitCodes)) {
        process.once(signal, () => {
          tell(`${signal}: cleaning up`)
          process.exitCode = code
          resolve()
        })
      }
    })
    try {
      // What an interrupted run still does fails, for want of what is cleaned up, and nobody listens.
      await Promise.race([runBench(options, cleanup), interrupted])
    } finally {
      await cleanup.run()
    }
    process.exit()
  })

async function runBench(options: Options, cleanup: Cleanup): Promise<void> {
  const startedAt = new Date()
  // What is missing is said before anything is started.
  for (const stack of stacks) versionsOf(stack)
  const cpus = await planCpus(options.workers ? Math.max(...workerCounts) : 1)
  // PostgreSQL is started by this process, and has its CPUs from it.
  await pinSelf(cpus.database)
  tell(cpus.note)
  const server = await startPostgres(cleanup)
  const { rounds, seconds, warmupMs } = options.quick ? quick : usual
  const effort: Effort = {
    rounds: options.rounds ?? rounds,
    connections: options.connections,
    poolSize: options.pool,
    warmupMs,
    measureMs: (options.seconds ?? seconds) * 1000,
  }
  const loader = startLoader(cleanup, cpus.load)
  const bench: Bench = { cleanup, cpus, loader, databasePid: server.pid, effort, tell }
  const mode = options.growth ? growth : options.workers ? workers : options.profile ? profiles : comparison
  await mode({ bench, server, options, startedAt })
}

interface Run {
  bench: Bench
  server: Server
  options: Options
  startedAt: Date
}

const ours = stacks.find(({ name }) => name === oursName)!

async function comparison({ bench, server, options, startedAt }: Run): Promise<void> {
  const data = await seed(server)
  const chosen = stacks.filter((stack) => stack.name === floorName || (options.only?.includes(stack) ?? true))
  const names = options.workloads ?? workloadNames
  const result: ComparisonResult = { answersCompared: {}, rows: [], trials: [] }
  const onWorkload = (name: WorkloadName, rows: readonly Row[]) => print(`${tableOf(name, rows)}\n`)
  try {
    await compareStacks({ bench, data, chosen, workloadNames: names, result, onWorkload })
  } finally {
    const about = describeRun(bench, server.version, data, chosen, startedAt)
    print(aboutOf(about))
    // A part of it is not to take the place of the whole.
    const isPart = options.quick || options.only || options.workloads || names.some((name) => !isDone(name, result))
    const name = isPart ? 'part' : 'latest'
    tell(await writeResult(options.results, `${name}.json`, { ...about, ...result }))
    tell(await writeResult(options.results, `${name}.svg`, chartOf(result.rows, captionOf(about))))
  }
}

const isDone = (name: WorkloadName, { rows }: ComparisonResult) => rows.some(({ workload }) => workload === name)

async function profiles({ bench, server, options }: Run): Promise<void> {
  const data = await seed(server)
  for (const workload of options.workloads ?? (['W1', 'W2'] as const)) {
    for (const stack of options.only ?? [ours]) {
      print(`${await profileStack(bench, stack, workload, data, `${options.results}/profiles`)}\n`)
    }
  }
}

async function growth({ bench, server, options, startedAt }: Run): Promise<void> {
  const grown = await measureGrowth(bench, server, ours, options.quick ? quickTableSizes : tableSizes)
  print(growthTable(grown))
  const about = describeRun(bench, server.version, undefined, [ours], startedAt)
  print(aboutOf(about))
  tell(await writeResult(options.results, options.quick ? 'part-growth.json' : 'growth.json', { ...about, grown }))
  if (grown.some(({ isWithin }) => !isWithin)) process.exitCode = 1
}

async function workers({ bench, server, options, startedAt }: Run): Promise<void> {
  const data = await seed(server)
  const rows = await compareWorkers(bench, data, ours, options.workloads ?? ['W1', 'W2', 'W3'])
  print(workersTable(rows))
  const about = describeRun(bench, server.version, data, [ours], startedAt)
  print(aboutOf(about))
  tell(await writeResult(options.results, options.quick ? 'part-workers.json' : 'workers.json', { ...about, rows }))
}

async function seed(server: Server) {
  tell(`seeding ${full.organizations} organizations with ${full.contacts} contacts each`)
  return server.seed('bench', full.organizations, full.contacts)
}

type About = ReturnType<typeof describeRun>

function aboutOf({ machine, node, postgres, pinning, effort, data, stacks: described }: About): string {
  const { cpus, cpu, loadAverage } = machine
  return [
    `${cpus} × ${cpu}, load ${loadAverage!.toFixed(1)}; Node ${node}, PostgreSQL ${postgres}. ${pinning}`,
    `${effort.rounds} rounds of ${effort.measureMs / 1000} s after ${effort.warmupMs / 1000} s of warming up; ` +
      `${effort.connections} requests at a time; ${effort.poolSize} connections to PostgreSQL each.`,
    ...(data ? [`${data.organizations} organizations, ${data.contacts} contacts.`] : []),
    ...described.map(
      ({ title, settings, versions }) =>
        `${title}: ${Object.entries(versions)
          .map(([name, version]) => `${name} ${version}`)
          .join(', ')}. ${settings}.`,
    ),
  ].join('\n')
}

const captionOf = ({ machine, startedAt }: About) =>
  `Requests per second, of what a hand-written server does (medians; lines: quartiles). ${machine.cpus} CPUs, ${startedAt.slice(0, 10)}`

function integer(min: number, max: number) {
  return (text: string) => {
    if (/^\d{1,6}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
    throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
  }
}

function listOf<Item>(what: string, known: Record<string, Item>) {
  return (text: string) =>
    text.split(',').map((name) => {
      const item = known[name.trim()]
      if (item === undefined)
        throw new InvalidArgumentError(`There is no ${what} "${name}", but ${Object.keys(known).join(', ')}.`)
      return item
    })
}

function byName<Item extends { name: string }>(items: readonly Item[]): Record<string, Item> {
  return Object.fromEntries(items.map((item) => [item.name, item]))
}

function itself<Name extends string>(names: readonly Name[]): Record<string, Name> {
  return Object.fromEntries(names.map((name) => [name, name]))
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function tell(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
}

await program.parseAsync()
