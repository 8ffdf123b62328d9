import cluster, { type Worker } from 'node:cluster'
import type { Readable } from 'node:stream'
import { OperatorError } from '../failure.ts'
import type { Log } from '../log.ts'
import type { ToPrimary, ToWorker } from './messages.ts'

/** Whom a crew tells. */
export interface CrewObserver {
  onReady(worker: Worker): void
  /** More than once, perhaps. */
  onGone(worker: Worker): void
  onMessage(worker: Worker, message: WorkMessage): void
}

/** What is not about its start. */
type WorkMessage = Exclude<ToPrimary, { kind: 'ready' | 'failed' }>

export interface Crew {
  /** Resolves when all serve; rejects with the first reason why one does not. */
  start(): Promise<void>
  /** Those that serve. */
  serving(): Worker[]
  /** How many have ended without being told to. */
  losses(): number
  /** Tells all to stop, and waits for their end. */
  stop(graceMs: number): Promise<void>
  /** Ends all at once. */
  kill(): void
}

/** One that has lived for so long has not died of its start. */
const soundMs = 10_000
/** Another takes its place at once then; after others, it waits twice as long each time. */
const firstPauseMs = 100
const longestPauseMs = 10_000

/** Keeps as many workers as there shall be. */
export function createCrew(count: number, { log, write }: Log, { onReady, onGone, onMessage }: CrewObserver): Crew {
  const ready = new Set<Worker>()
  const running = new Set<Worker>()
  const started = Promise.withResolvers<void>()
  let isStarted = false
  let isStopping = false
  let losses = 0
  let pauseMs = 0
  let whenNoneRuns = () => {}

  const begin = () => {
    if (isStopping) return
    const worker = cluster.fork()
    const begun = performance.now()
    running.add(worker)
    worker.on('message', (message: ToPrimary) => receive(worker, message))
    worker.once('disconnect', () => lose(worker))
    // One that could not even begin ends as well.
    worker.on('error', () => {})
    const { stdout, stderr } = worker.process
    stdout!.on('data', (chunk) => process.stdout.write(chunk))
    forwardLines(stderr!, write)
    // Not 'exit': after that there may still be output to read.
    worker.process.once('close', (code, signal) => {
      lose(worker)
      running.delete(worker)
      if (running.size === 0) whenNoneRuns()
      if (!isStopping) replace(worker, { code, signal, livedMs: Math.round(performance.now() - begun) })
    })
  }

  const receive = (worker: Worker, message: ToPrimary) => {
    if (message.kind === 'failed') {
      started.reject(new OperatorError(message.reason))
      if (isStarted) log.error({ worker: worker.id, reason: message.reason }, 'a worker cannot serve')
    } else if (message.kind === 'ready') {
      ready.add(worker)
      onReady(worker)
      log.info({ worker: worker.id, pid: worker.process.pid }, 'a worker serves')
      if (ready.size === count) started.resolve()
    } else onMessage(worker, message)
  }

  const lose = (worker: Worker) => {
    ready.delete(worker)
    onGone(worker)
  }

  const replace = (worker: Worker, end: { code: number | null; signal: string | null; livedMs: number }) => {
    const how = end.signal ? `signal ${end.signal}` : `code ${end.code}`
    started.reject(new OperatorError(`A worker has ended before it served (${how}).`))
    if (!isStarted) return
    losses += 1
    pauseMs = end.livedMs >= soundMs ? 0 : Math.min(Math.max(pauseMs * 2, firstPauseMs), longestPauseMs)
    log.error(
      { worker: worker.id, pid: worker.process.pid, ...end, pauseMs },
      'a worker has ended: another takes its place',
    )
    setTimeout(begin, pauseMs)
  }

  return {
    async start() {
      cluster.setupPrimary({ silent: true })
      for (let i = 0; i < count; i += 1) begin()
      await started.promise
      isStarted = true
    },
    serving: () => [...ready],
    losses: () => losses,
    async stop(graceMs) {
      isStopping = true
      const ended = new Promise<void>((resolve) => {
        whenNoneRuns = resolve
        if (running.size === 0) resolve()
      })
      for (const worker of running) worker.send({ kind: 'stop', graceMs } satisfies ToWorker, () => {})
      await ended
    },
    kill() {
      isStopping = true
      for (const worker of running) worker.process.kill('SIGKILL')
    },
  }
}

/** Passes on whole lines, so that those of several workers are not mixed. */
function forwardLines(stream: Readable, write: (lines: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const end = text.lastIndexOf('\n') + 1
    if (end > 0) write(rest + text.slice(0, end))
    rest = end > 0 ? text.slice(end) : rest + text
  })
  stream.once('end', () => {
    if (rest) write(`${rest}\n`)
  })
}
