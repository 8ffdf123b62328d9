import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { check, type Findings, kindsOfFault } from './checker.ts'
import type { Figures, Limits } from './figures.ts'
import type { Exit } from './gateway.ts'
import type { Request, Write } from './ledger.ts'
import type { Stage } from './stage.ts'
import { type Load, type LoadOptions, startLoad } from './writers.ts'

/** What is timed during a fault; of several rounds the worst. Infinity stands for never. */
export interface Times {
  firstWriteMs?: number
  poolFullMs?: number
  readyMs?: number
  exitMs?: number
  /** Share of one core. */
  cpuShare?: number
}

export interface ScenarioResult {
  name: string
  what: string
  verdict: 'passed' | 'failed' | 'skipped'
  /** How often the fault was done. */
  rounds: number
  requests: number
  writes: Record<Write['outcome'], number>
  reads: { answered: number; failed: number }
  /** What was told of attempts to write that were not acknowledged, and how often. */
  told: Record<string, number>
  findings: Findings
  times: Times
  slowestMs: number
  /** How often the gateway ended by itself. */
  deaths: number
  /** Why it failed, or was skipped. */
  reasons: string[]
  ms: number
}

export interface TrialOptions {
  name: string
  what: string
  /** How long an answer may take. */
  answerMs: number
  onProgress(text: string): void
}

const organizationsOfATrial = 8
const pollMs = 50
/** How many sentences of a kind are kept: one bug makes thousands of them. */
const maxExamples = 5

/** One scenario on a stage: its load, what it does to the stage, and what comes of it. */
export class Trial {
  readonly stage: Stage
  readonly figures: Figures
  readonly answerMs: number
  readonly #name: string
  readonly #what: string
  readonly #progress: (text: string) => void
  readonly #startedAt = performance.now()
  readonly #times: Times = {}
  readonly #reasons: string[] = []
  readonly #deathsBefore: number
  #judgesProcessor = false
  #rounds = 0
  #load: Load | undefined
  #organizations: number[] = []
  /** Of what a scenario does without a load. */
  readonly writes: Write[] = []
  readonly requests: Request[] = []

  constructor(stage: Stage, figures: Figures, options: TrialOptions) {
    this.stage = stage
    this.figures = figures
    this.#deathsBefore = stage.gateway.deaths
    this.#name = options.name
    this.#what = options.what
    this.#progress = options.onProgress
    this.answerMs = options.answerMs
  }

  get load(): Load {
    if (!this.#load) throw new Error('No load was started')
    return this.#load
  }

  get organizations(): readonly number[] {
    return this.#organizations
  }

  /** Brings the stage into order, with organizations of its own for what is about to be written. */
  async begin(): Promise<void> {
    await this.stage.settle()
    this.stage.gateway.takeComplaints()
    this.#organizations = await this.stage.createOrganizations(this.#name, organizationsOfATrial)
  }

  /** Lets writers and readers begin, and waits until they are at it. */
  async startLoad(given: Pick<LoadOptions, 'bodyDelayMs'> = {}): Promise<void> {
    const { figures } = this
    this.#load = startLoad({
      origin: this.stage.gateway.origin,
      organizations: this.#organizations,
      name: this.#name,
      writers: figures.writers,
      readers: figures.readers,
      answerMs: figures.limits.answerMs,
      ...given,
    })
    const first = await this.#load.acknowledgedAfter(performance.now(), figures.limits.answerMs)
    if (first === Number.POSITIVE_INFINITY) this.fail('nothing was written before the fault')
    await this.calm()
  }

  calm(): Promise<void> {
    return pause(this.figures.scale.calmMs)
  }

  /** A pause that is never the same, so that faults meet everything that can be under way. */
  randomPause(fromMs: number, toMs: number): Promise<void> {
    return pause(fromMs + Math.random() * (toMs - fromMs))
  }

  round(): void {
    this.#rounds += 1
  }

  /** Says how far it is. */
  tell(text: string): void {
    this.#progress(`${this.#name}: ${text}`)
  }

  fail(reason: string): void {
    this.#reasons.push(reason)
  }

  /** Fails for each of the sentences, with the first of them as examples. */
  failFor(reason: string, sentences: readonly string[]): void {
    this.#reasons.push(...examplesOf(reason, sentences))
  }

  /** Notes a time; the worst one counts. */
  note(name: keyof Times, value: number | undefined): void {
    if (value === undefined) return
    this.#times[name] = Math.max(this.#times[name] ?? 0, value)
  }

  noteExit({ code, signal, ms }: Exit): void {
    this.note('exitMs', ms)
    if (code !== 0) this.fail(`the gateway ended by SIGTERM with ${signal ?? `exit code ${code}`}`)
  }

  /** Notes what processor time the gateway takes meanwhile. It is judged only where the database is down. */
  async withProcessorTime(work: () => Promise<void>, options: { isDown: boolean }): Promise<void> {
    const { gateway } = this.stage
    const startedAt = performance.now()
    const before = await gateway.processorSeconds()
    await work()
    const after = await gateway.processorSeconds()
    this.#judgesProcessor ||= options.isDown
    if (before === undefined || after === undefined) return
    this.note('cpuShare', (after - before) / ((performance.now() - startedAt) / 1000))
  }

  /** Waits until writes are acknowledged again, and notes how long after `returnedAt` that was. */
  async noteFirstWrite(returnedAt: number): Promise<void> {
    this.note('firstWriteMs', await this.load.acknowledgedAfter(returnedAt, this.figures.limits.answerMs))
  }

  /** Waits until the pool has all its connections again, and notes how long after `returnedAt` that was. */
  async notePool(returnedAt: number): Promise<void> {
    const { poolSize, limits } = this.figures
    let count: number | undefined
    do {
      count = await this.stage.countConnections()
      if (count !== undefined && count >= poolSize) return this.note('poolFullMs', performance.now() - returnedAt)
      await pause(pollMs)
    } while (performance.now() - returnedAt < limits.poolFullMs)
    this.note('poolFullMs', Number.POSITIVE_INFINITY)
    this.fail(count === undefined ? 'no metrics tell of the pool' : `the pool has ${count} connections of ${poolSize}`)
  }

  /** Whether writes are refused, or left in doubt, before long. */
  async waitForRefusal(): Promise<boolean> {
    const count = () => this.load.told.values().reduce((sum, times) => sum + times, 0)
    const before = count()
    const end = performance.now() + this.figures.limits.answerMs
    while (count() === before && performance.now() < end) await pause(pollMs)
    return count() > before
  }

  /** Ends the load, compares, and judges. */
  async end(): Promise<ScenarioResult> {
    await this.#load?.stop()
    const { stage, figures } = this
    await stage.settle()
    const writes = [...this.writes, ...(this.#load?.writes ?? [])]
    const requests = [...this.requests, ...(this.#load?.requests ?? [])]
    const stored = await stage.storedContacts(this.#organizations)
    const findings = check({ writes, stored, requests, answerMs: this.answerMs })
    const reasons = [
      ...this.#reasons,
      ...kindsOfFault.flatMap((kind) => examplesOf(kind, findings[kind])),
      ...examplesOf('in the log', stage.gateway.takeComplaints()),
      ...tooLate(this.#times, figures.limits, this.#judgesProcessor),
    ]
    const outcomes = Object.groupBy(writes, ({ outcome }) => outcome)
    return {
      name: this.#name,
      what: this.#what,
      verdict: reasons.length === 0 ? 'passed' : 'failed',
      rounds: this.#rounds,
      requests: requests.length,
      writes: {
        acknowledged: outcomes.acknowledged?.length ?? 0,
        refused: outcomes.refused?.length ?? 0,
        unknown: outcomes.unknown?.length ?? 0,
      },
      reads: this.#load?.reads ?? { answered: 0, failed: 0 },
      told: Object.fromEntries(this.#load?.told ?? []),
      findings,
      times: this.#times,
      slowestMs: Math.max(0, ...requests.map(({ ms }) => ms)),
      deaths: stage.gateway.deaths - this.#deathsBefore,
      reasons,
      ms: performance.now() - this.#startedAt,
    }
  }
}

function examplesOf(kind: string, sentences: readonly string[]): string[] {
  const shown = sentences.slice(0, maxExamples).map((sentence) => `${kind}: ${sentence}`)
  const more = sentences.length - shown.length
  return more > 0 ? [...shown, `${kind}: and ${more} more`] : shown
}

function tooLate(times: Times, limits: Limits, judgesProcessor: boolean): string[] {
  const told = (ms: number) => (ms === Number.POSITIVE_INFINITY ? 'never' : `after ${Math.round(ms)} ms`)
  const { firstWriteMs = 0, poolFullMs = 0, readyMs = 0, exitMs = 0, cpuShare = 0 } = times
  const reasons = [
    firstWriteMs > limits.firstWriteMs &&
      `the first write came ${told(firstWriteMs)}, not within ${limits.firstWriteMs}`,
    poolFullMs > limits.poolFullMs && `the pool was full ${told(poolFullMs)}, not within ${limits.poolFullMs}`,
    readyMs > limits.readyMs && `the gateway was ready ${told(readyMs)}, not within ${limits.readyMs}`,
    exitMs > limits.exitMs && `the gateway ended ${told(exitMs)}, not within ${limits.exitMs}`,
    judgesProcessor &&
      cpuShare > limits.cpuShare &&
      `the gateway took ${percent(cpuShare)} of a core while the database was down, not below ${percent(limits.cpuShare)}`,
  ].filter((reason) => reason !== false)
  // Times are those of a machine that has nothing else to do.
  const load = loadavg()[0]!
  const cores = availableParallelism()
  return load > cores + 1
    ? reasons.map((reason) => `${reason} (${cores} cores, and a load of ${load.toFixed(1)})`)
    : reasons
}

export const percent = (share: number) => `${Math.round(share * 100)} %`

/** Of a scenario that was not done. */
export function emptyResult({ name, what }: { name: string; what: string }): ScenarioResult {
  return {
    name,
    what,
    verdict: 'skipped',
    rounds: 0,
    requests: 0,
    writes: { acknowledged: 0, refused: 0, unknown: 0 },
    reads: { answered: 0, failed: 0 },
    told: {},
    findings: { lost: [], doubled: [], half: [], ghost: [], unanswered: [], unclear: [] },
    times: {},
    slowestMs: 0,
    deaths: 0,
    reasons: [],
    ms: 0,
  }
}
