import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Cleanup } from './cleanup.ts'
import { type Figures, fullFigures, shortFigures } from './figures.ts'
import { findPrograms, mountSmallDisk } from './postgres.ts'
import { type Scenario, scenarios } from './scenarios.ts'
import { buildStage, type Stage } from './stage.ts'
import { emptyResult, type ScenarioResult, Trial } from './trial.ts'

export interface FaultOptions {
  /** Fewer and shorter faults; see figures.ts. */
  short?: boolean
  /** Names of scenarios; all of them without it. */
  only?: readonly string[]
  /** A major version, or the folder of its programs. */
  postgres?: string
  /** A folder for the logs of the gateway and of PostgreSQL. */
  logs?: string
  onProgress?: (text: string) => void
  /** Ends what was started and removes what was made: given by who has to do so from outside, e.g. on a signal. */
  cleanup?: Cleanup
}

export interface FaultReport {
  passed: boolean
  short: boolean
  /** The version of PostgreSQL. */
  postgres: string
  startedAt: string
  ms: number
  figures: Figures
  scenarios: ScenarioResult[]
}

export const defaultPostgres = '18'
const smallDiskMegabytes = 128

/** Runs the scenarios one after the other, and cleans up behind them. Rejects only where the bench itself is at fault. */
export async function runFaults(options: FaultOptions = {}): Promise<FaultReport> {
  const { short = false, only, onProgress = () => {}, cleanup = new Cleanup() } = options
  const figures = short ? shortFigures : fullFigures
  const chosen = scenarios.filter(({ name }) => !only || only.includes(name))

  const started = performance.now()
  const startedAt = new Date().toISOString()
  const programs = await findPrograms(options.postgres ?? defaultPostgres)
  const onLog = options.logs === undefined ? undefined : logsIn(options.logs)
  const build = (own: Cleanup, folder?: string) =>
    buildStage(own, { figures, postgres: { programs, folder, isSmall: folder !== undefined }, onLog })

  const results: ScenarioResult[] = []
  let version = 'unknown'
  try {
    let shared: Stage | undefined
    for (const scenario of chosen) {
      if (!scenario.onSmallDisk) {
        onProgress(`${scenario.name}: ${scenario.what}`)
        shared ??= await build(cleanup)
        version = shared.postgres.version
        results.push(await tryScenario(shared, figures, scenario, onProgress))
        continue
      }
      const own = new Cleanup()
      cleanup.add(() => own.run())
      const folder = await mountSmallDisk(own, smallDiskMegabytes)
      if (folder === undefined) {
        results.push({ ...emptyResult(scenario), reasons: ['needs root, to mount a small disk'] })
        continue
      }
      onProgress(`${scenario.name}: ${scenario.what}`)
      const stage = await build(own, folder)
      version = stage.postgres.version
      results.push(await tryScenario(stage, figures, scenario, onProgress))
      await own.run()
    }
  } finally {
    await cleanup.run()
  }
  return {
    passed: results.every(({ verdict }) => verdict !== 'failed'),
    short,
    postgres: version,
    startedAt,
    ms: performance.now() - started,
    figures,
    scenarios: results,
  }
}

/** A scenario that cannot go on has failed; the others run all the same. */
async function tryScenario(
  stage: Stage,
  figures: Figures,
  scenario: Scenario,
  onProgress: (text: string) => void,
): Promise<ScenarioResult> {
  const { name, what, answersWithin = 'answerMs' } = scenario
  const trial = new Trial(stage, figures, { name, what, answerMs: figures.limits[answersWithin], onProgress })
  try {
    await trial.begin()
    await scenario.run(trial)
  } catch (error) {
    trial.fail(`it could not go on: ${messageOf(error)}`)
  }
  try {
    return await trial.end()
  } catch (error) {
    return {
      ...emptyResult(scenario),
      verdict: 'failed',
      reasons: [`what is there could not be read: ${messageOf(error)}`],
    }
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

function logsIn(folder: string): (source: string, line: string) => void {
  mkdirSync(folder, { recursive: true })
  const files = new Map<string, ReturnType<typeof createWriteStream>>()
  return (source, line) => {
    let file = files.get(source)
    if (!file) {
      file = createWriteStream(join(folder, `${source}.log`))
      files.set(source, file)
    }
    file.write(`${line}\n`)
  }
}
