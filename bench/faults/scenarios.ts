import { setTimeout as pause } from 'node:timers/promises'
import type { AnswerLimit } from './figures.ts'
import { fillDisk } from './full-disk.ts'
import { loseAnswers } from './lost-answers.ts'
import { type ControlledPostgres, waitUntilServing } from './postgres.ts'
import type { LinkMode } from './proxy.ts'
import type { Trial } from './trial.ts'

export interface Scenario {
  readonly name: string
  /** What is done, for the reader of the table. */
  readonly what: string
  /** How long an answer may take; `answerMs` without it. */
  readonly answersWithin?: AnswerLimit
  /** Whether it needs a stage whose data lies on a small disk. */
  readonly onSmallDisk?: boolean
  run(trial: Trial): Promise<void>
}

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [
  { name: 'lost-answer', what: 'a commit whose answer is lost, repeated with its key', run: loseAnswers },
  { name: 'kills', what: 'SIGKILL of the gateway, and a new start', answersWithin: 'processEndMs', run: kills },
  {
    name: 'losses',
    what: 'PostgreSQL stops (immediate), and starts again',
    answersWithin: 'processEndMs',
    run: losses,
  },
  { name: 'away', what: 'PostgreSQL is stopped for a while', answersWithin: 'toldMs', run: away },
  {
    name: 'terminate',
    what: 'all sessions are terminated, again and again',
    answersWithin: 'toldMs',
    run: terminate,
  },
  broken('stall', 'the link passes nothing on', { kind: 'stall' }, { isDown: true }),
  broken('refuse', 'the link refuses connections', { kind: 'refuse' }, { isDown: true }),
  broken('accept-close', 'the link accepts and closes', { kind: 'accept-and-close' }, { isDown: true }),
  broken('reset', 'the link resets connections', { kind: 'reset' }, { isDown: true }),
  broken('cut-start', 'the link cuts connections as they start', { kind: 'cut', bytes: 100 }, { isDown: true }),
  broken('cut-later', 'the link cuts connections in some answer', { kind: 'cut', bytes: 1500 }, { isDown: false }),
  broken(
    'swallow',
    'the link cuts connections after each commit',
    { kind: 'swallow-answer', containing: 'example.com', times: Number.POSITIVE_INFINITY },
    { isDown: false },
  ),
  { name: 'lock', what: 'LOCK TABLE contacts', run: lock },
  { name: 'sigterms', what: 'SIGTERM under load, and a new start', run: sigterms },
  { name: 'disk', what: 'the disk of PostgreSQL is full', onSmallDisk: true, run: fullDisk },
]

async function kills(trial: Trial): Promise<void> {
  const { gateway } = trial.stage
  const { kills } = trial.figures.scale
  await trial.startLoad()
  for (let kill = 1; kill <= kills; kill += 1) {
    trial.tell(`${kill} of ${kills}`)
    await gateway.kill()
    trial.note('readyMs', await gateway.start())
    await trial.noteFirstWrite(performance.now())
    await trial.randomPause(100, 600)
    trial.round()
  }
}

async function losses(trial: Trial): Promise<void> {
  const { postgres, proxy } = trial.stage
  const { losses } = trial.figures.scale
  await trial.startLoad()
  let returnedAt = 0
  for (let loss = 1; loss <= losses; loss += 1) {
    trial.tell(`${loss} of ${losses}`)
    await postgres.stop('immediate')
    // Without PostgreSQL the proxy resets connections once they are made. Every other time nobody listens at all.
    if (loss % 2 === 0) await proxy.set({ kind: 'refuse' })
    await trial.randomPause(100, 1000)
    await proxy.set({ kind: 'pass' })
    returnedAt = await postgres.start()
    await trial.noteFirstWrite(returnedAt)
    await trial.randomPause(100, 600)
    trial.round()
  }
  await trial.notePool(returnedAt)
}

async function away(trial: Trial): Promise<void> {
  const { postgres, proxy } = trial.stage
  await trial.startLoad()
  trial.tell('PostgreSQL stops')
  await postgres.stop('immediate')
  await proxy.set({ kind: 'refuse' })
  await trial.withProcessorTime(() => pause(trial.figures.scale.holdMs), { isDown: true })
  await proxy.set({ kind: 'pass' })
  await heal(trial, await postgres.start())
}

async function terminate(trial: Trial): Promise<void> {
  const { postgres } = trial.stage
  await trial.startLoad()
  trial.tell('sessions are terminated')
  const terminateAgainAndAgain = async () => {
    const end = performance.now() + trial.figures.scale.terminateMs
    while (performance.now() < end) {
      await postgres.terminateSessions()
      await pause(150)
    }
  }
  await trial.withProcessorTime(terminateAgainAndAgain, { isDown: false })
  await heal(trial, performance.now())
}

/** A link that is broken for a while, and then heals. */
function broken(name: string, what: string, mode: LinkMode, options: { isDown: boolean }): Scenario {
  return {
    name,
    what,
    // Whoever is only kept waiting has nothing but deadlines.
    answersWithin: mode.kind === 'stall' ? 'answerMs' : 'toldMs',
    async run(trial) {
      const { proxy } = trial.stage
      const { holdMs, stallMs } = trial.figures.scale
      await trial.startLoad()
      trial.tell('the link breaks')
      await proxy.set(mode)
      await trial.withProcessorTime(() => pause(mode.kind === 'stall' ? stallMs : holdMs), options)
      await proxy.set({ kind: 'pass' })
      await heal(trial, performance.now())
    },
  }
}

async function lock(trial: Trial): Promise<void> {
  const { postgres } = trial.stage
  const { lockMs } = trial.figures.scale
  await trial.startLoad()
  trial.tell('contacts are locked')
  await trial.withProcessorTime(() => lockContacts(postgres, lockMs), { isDown: false })
  await heal(trial, performance.now())
}

/** How late the body of a request comes at most: many have begun and are not whole when the signal comes. */
const bodyDelayMs = 150
const shortLockMs = 400

async function sigterms(trial: Trial): Promise<void> {
  const { gateway, postgres } = trial.stage
  const { sigterms } = trial.figures.scale
  await trial.startLoad({ bodyDelayMs })
  for (let signal = 1; signal <= sigterms; signal += 1) {
    trial.tell(`${signal} of ${sigterms}`)
    // Every other time everybody waits for a lock in the middle of a statement when the signal comes.
    const released = signal % 2 === 0 ? lockContacts(postgres, shortLockMs) : undefined
    if (released) await pause(shortLockMs / 2)
    trial.noteExit(await gateway.terminate())
    await released
    trial.note('readyMs', await gateway.start())
    await trial.noteFirstWrite(performance.now())
    await trial.randomPause(100, 600)
    trial.round()
  }
  trial.failFor('a request that had begun was not done', trial.load.brokenOff)
}

const lockContacts = (postgres: ControlledPostgres, ms: number) =>
  postgres.use(async (sql) => {
    await sql.begin(async (transaction) => {
      await transaction`lock table contacts`
      await pause(ms)
    })
  })

async function fullDisk(trial: Trial): Promise<void> {
  const { postgres } = trial.stage
  await trial.startLoad()
  await keepDiskFull(trial, async () => {
    if (!(await trial.waitForRefusal())) trial.fail('the disk was full, and everything was written all the same')
  })
  await keepDiskFull(trial, async () => {
    if (!(await exhaustLog(postgres))) trial.fail('the disk was full, and PostgreSQL had room for its log all the same')
  })
}

/** Fills the disk, waits until that has shown, and makes room again after a while. */
async function keepDiskFull(trial: Trial, hasShown: () => Promise<void>): Promise<void> {
  const { postgres, postgresFolder } = trial.stage
  trial.tell('the disk fills up')
  const disk = fillDisk(postgresFolder)
  try {
    await hasShown()
    await pause(trial.figures.scale.holdMs)
  } finally {
    disk.free()
  }
  await heal(trial, await bringBack(postgres))
}

const recoveryMs = 2000

/** Where even its log had no room PostgreSQL has ended, or waits for its own recovery for ever: somebody has to start it. */
async function bringBack(postgres: ControlledPostgres): Promise<number> {
  try {
    if (postgres.isRunning) return await waitUntilServing(postgres, recoveryMs)
  } catch {
    await postgres.stop('immediate')
  }
  return await postgres.start()
}

const logSwitches = 50
const switchPauseMs = 20

/** Has PostgreSQL begin files of its log until there is no room for one, which ends it: whether that was so. */
async function exhaustLog(postgres: ControlledPostgres): Promise<boolean> {
  try {
    await postgres.use(async (sql) => {
      for (let count = 0; count < logSwitches; count += 1) {
        // A file is begun only if there is something in the one before.
        await sql`select pg_logical_emit_message(false, 'fault-bench', 'something'), pg_switch_wal()`
        await pause(switchPauseMs)
      }
    })
    return false
  } catch {
    return true
  }
}

/** After a fault: how soon everything is as before, and that it stays so. */
async function heal(trial: Trial, returnedAt: number): Promise<void> {
  trial.tell('it heals')
  await Promise.all([trial.noteFirstWrite(returnedAt), trial.notePool(returnedAt)])
  await trial.calm()
  trial.round()
}
