import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { randomFrom } from '../../test/support/random-document.ts'
import { Cleanup } from '../faults/cleanup.ts'
import { shortFigures } from '../faults/figures.ts'
import { findPrograms } from '../faults/postgres.ts'
import { buildStage, type Stage } from '../faults/stage.ts'
import { checkHistory, type Operation, type Verdict } from './checker.ts'
import { type Chance, disturbances, sabotage } from './disturb.ts'
import { canRepeat, type Recording, startClients } from './record.ts'

export interface HistoriesOptions {
  /** One history of each organization for each of them. */
  seeds?: readonly number[]
  /** How long clients are at work, for each seed. */
  seconds?: number
  clients?: number
  organizations?: number
  /** Names of disturbances; all of them without it. */
  only?: readonly string[]
  /** Whether some mutations carry a key; without it they do where the gateway knows the directive. */
  keys?: boolean
  /** Takes contacts away behind the gateway's back, to prove that it is found. */
  isSabotaged?: boolean
  /** A major version of PostgreSQL, or the folder of its programs. */
  postgres?: string
  /** Where histories go that are not linearizable. */
  folder?: string
  onProgress?: (text: string) => void
  onResult?: (result: HistoryResult) => void
  /** Ends what was started and removes what was made: given by who has to do so from outside, e.g. on a signal. */
  cleanup?: Cleanup
}

/** What was found in the history of one organization. */
export interface HistoryResult {
  seed: number
  organization: number
  operations: number
  /** Those of them whose outcome is unknown. */
  unknown: number
  /** Those of the unknown that took effect, as far as answers tell. */
  done: number
  /** What went wrong meanwhile, in order. */
  disturbances: readonly string[]
  verdict: Verdict
  /** How long the check took. */
  ms: number
  /** Why it is not linearizable; empty where it is. */
  report: string
  /** Where the history was written that is not linearizable. */
  file?: string
}

export interface HistoryReport {
  /** Whether all histories are linearizable. */
  passed: boolean
  withKeys: boolean
  results: HistoryResult[]
  /** Calls that were repeated with their key. */
  repeated: number
  /** Answers and logged lines that no documented rule explains, each once. */
  surprises: string[]
}

export const defaults = { seconds: 10, clients: 6, organizations: 3, postgres: '18' }

/** One seed, and long enough for a few disturbances: for a test. */
export const shortOptions = { seeds: [1], seconds: 10 }

/** The deadlines of the gateway: short, so that clients come to know soon. */
const figures = shortFigures
/** Between disturbances. */
const calmMs = [50, 600] as const
/** Then clients are at work. */
const intoRoundMs = [0, 25] as const

/** Records and checks histories while things go wrong. Rejects only where the bench itself is at fault. */
export async function runHistories(options: HistoriesOptions = {}): Promise<HistoryReport> {
  const { seeds = shortOptions.seeds, cleanup = new Cleanup(), onProgress = () => {} } = options
  const { only } = options
  const unknown = only?.filter((name) => !disturbances.some((one) => one.name === name)) ?? []
  if (unknown.length > 0) throw new Error(`There is no disturbance ${unknown.join(', ')}.`)
  const results: HistoryResult[] = []
  const surprises = new Set<string>()
  let repeated = 0
  let withKeys = false
  // When somebody else cleans up, this is undone last, and what is at work below first.
  const cleaned = Promise.withResolvers<void>()
  cleanup.add(cleaned.resolve)
  let isStopped = false
  try {
    onProgress('PostgreSQL, the link and the gateway start')
    const programs = await findPrograms(options.postgres ?? defaults.postgres)
    const stage = await buildStage(cleanup, { figures, postgres: { programs } })
    await stage.gateway.start()
    withKeys = options.keys ?? (await canRepeat(stage.gateway.origin, figures.limits.answerMs))
    for (const seed of seeds) {
      onProgress(`seed ${seed}`)
      const trouble = startTrouble(stage, seed, withKeys, options)
      cleanup.add(() => {
        isStopped = true
        return trouble.stop()
      })
      const { recording, disturbed } = await trouble.ended
      repeated += recording.repeated
      for (const surprise of [...recording.surprises, ...stage.gateway.takeComplaints()]) surprises.add(surprise)
      for (const [organization, operations] of recording.histories) {
        const result = { ...(await check(seed, organization, operations, options.folder)), disturbances: disturbed }
        results.push(result)
        options.onResult?.(result)
      }
    }
  } finally {
    if (isStopped) await cleaned.promise
    else await cleanup.run()
  }
  return {
    passed: results.every(({ verdict }) => verdict === 'linearizable'),
    withKeys,
    results,
    repeated,
    surprises: [...surprises],
  }
}

interface Trouble {
  ended: Promise<{ recording: Recording; disturbed: string[] }>
  /** Ends it early: `ended` rejects. Resolves when nothing is started any more. */
  stop(): Promise<void>
}

/** Lets clients work while things go wrong, one after the other, and heal again. */
function startTrouble(stage: Stage, seed: number, withKeys: boolean, options: HistoriesOptions): Trouble {
  const { seconds = defaults.seconds, clients = defaults.clients, only, isSabotaged = false } = options
  const { answerMs } = figures.limits
  const chosen = disturbances.filter(({ name }) => !only || only.includes(name))
  let isStopped = false
  const unlessStopped = () => {
    if (isStopped) throw new Error('It was stopped.')
  }

  const work = async () => {
    await stage.settle()
    const count = options.organizations ?? defaults.organizations
    const organizations = await stage.createOrganizations(`Seed ${seed}`, count)
    const chance = chanceFrom(seed, organizations)
    const load = startClients({ origin: stage.gateway.origin, organizations, clients, seed, withKeys, answerMs })
    const disturbed: string[] = []
    try {
      for (const end = performance.now() + seconds * 1000; performance.now() < end; unlessStopped()) {
        await pause(chance.between(...calmMs))
        await load.untilBusy()
        await pause(chance.between(...intoRoundMs))
        unlessStopped()
        if (isSabotaged) await sabotage(stage, organizations)
        if (chosen.length === 0) continue
        const disturbance = chance.pick(chosen)
        disturbed.push(disturbance.name)
        await disturbance.run(stage, chance)
      }
      await stage.settle()
      await pause(calmMs[1])
      return { recording: await load.stop(), disturbed }
    } finally {
      load.abandon()
    }
  }
  const ended = work()
  return {
    ended,
    async stop() {
      isStopped = true
      await ended.catch(() => {})
    },
  }
}

function chanceFrom(seed: number, organizations: readonly number[]): Chance {
  const random = randomFrom(-seed)
  return {
    between: (low, high) => low + random() * (high - low),
    pick: (items) => items[Math.floor(random() * items.length)]!,
    organizations,
  }
}

async function check(
  seed: number,
  organization: number,
  operations: Operation[],
  folder = join(tmpdir(), 'histories'),
): Promise<Omit<HistoryResult, 'disturbances'>> {
  const startedAt = performance.now()
  const { verdict, report, order } = checkHistory(operations)
  const ms = performance.now() - startedAt
  const unknown = operations.filter(({ answer }) => answer === null).length
  const done = order.filter((index) => operations[index]!.answer === null).length
  const result = { seed, organization, operations: operations.length, unknown, done, verdict, ms, report }
  if (verdict === 'linearizable') return result
  await mkdir(folder, { recursive: true })
  const file = join(folder, `seed-${seed}-organization-${organization}.json`)
  await writeFile(file, `[\n${operations.map((operation) => JSON.stringify(operation)).join(',\n')}\n]\n`)
  return { ...result, file }
}

/** Checks a history that was written to a file. */
export async function checkFile(file: string): Promise<{ verdict: Verdict; report: string }> {
  return checkHistory(JSON.parse(await readFile(file, 'utf8')) as Operation[])
}
