import { write, writeSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import type { Config } from '../config.ts'
import type { DatabaseObserver } from '../db/client.ts'
import { describeError } from '../telemetry/describe-error.ts'
import { currentVisit } from '../telemetry/visit.ts'

/** How much may wait for a reader that is slow. What is beyond is dropped and counted: serving goes before the log. */
const maxWaiting = 16 * 1024 * 1024
const retryMs = 20
/** Each write costs as much as several lines, so lines gather for a moment, unless there are plenty of them. */
const gatherMs = 10
const plenty = 64 * 1024
/** How long the end of the process waits for a reader that takes nothing. */
const lastMs = 500

export interface Log {
  log: Logger
  /** Lines from elsewhere, as they are. */
  write(lines: string): void
  /** Waits until everything is written, within reason. */
  flush(): Promise<void>
}

/** JSON lines on standard error. */
export function createLog(level: Config['logLevel']): Log {
  const output = createOutput(2, (lines) => log.warn({ lines }, 'log lines were dropped: their reader is too slow'))
  const log = pino({ level, base: undefined }, output)
  // Whatever ends the process.
  process.on('exit', output.flushSync)
  return { log, write: output.write, flush: output.flush }
}

/**
 * Writes beside serving: what comes within a moment, or while a write is under way, goes out together. `onDropped` is told
 * how many lines did not find a place, as soon as there is place again.
 */
export function createOutput(fd: number, onDropped: (lines: number) => void) {
  let waiting = ''
  let dropped = 0
  /** What is being written; empty when nothing is. */
  let chunk = Buffer.alloc(0)
  let isUnderWay = false
  /** Of the next write; none is under way then. */
  let timer: NodeJS.Timeout | undefined
  let whenDone: (() => void) | undefined

  const take = () => {
    chunk = Buffer.concat([chunk, Buffer.from(waiting)])
    waiting = ''
  }
  const next = () => {
    if (chunk.length > 0) return send()
    if (waiting.length === 0) return whenDone?.()
    if (whenDone || waiting.length >= plenty) return send()
    timer ??= setTimeout(send, gatherMs)
  }
  const send = () => {
    clearTimeout(timer)
    timer = undefined
    if (chunk.length === 0) take()
    isUnderWay = true
    write(fd, chunk, (error, written) => {
      isUnderWay = false
      if (error?.code === 'EAGAIN') {
        timer = setTimeout(send, retryMs)
        return
      }
      // A log that cannot be written, for a full disk or a reader that has gone, is no reason to stop serving.
      chunk = error ? Buffer.alloc(0) : chunk.subarray(written)
      next()
      if (dropped === 0 || waiting.length >= plenty) return
      const count = dropped
      dropped = 0
      onDropped(count)
    })
  }
  return {
    write(line: string) {
      if (waiting.length + line.length > maxWaiting) {
        dropped += 1
        return
      }
      waiting += line
      if (chunk.length === 0 && (!timer || waiting.length >= plenty)) next()
    },
    flush() {
      const written = Promise.withResolvers<void>()
      const giveUp = setTimeout(written.resolve, lastMs)
      whenDone = () => {
        whenDone = undefined
        clearTimeout(giveUp)
        written.resolve()
      }
      if (!isUnderWay) next()
      return written.promise
    },
    flushSync() {
      // What is under way is written before the process ends.
      if (isUnderWay) chunk = Buffer.alloc(0)
      take()
      const until = performance.now() + lastMs
      while (chunk.length > 0 && performance.now() < until) {
        try {
          chunk = chunk.subarray(writeSync(fd, chunk))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs)
        }
      }
    },
  }
}

/** Logs what the database tells of itself: slow statements by their names alone, and when it goes away or is back. */
export function logDatabase(log: Logger, slowStatementMs: number): DatabaseObserver {
  return {
    onStatement(statement, ms) {
      if (ms <= slowStatementMs) return
      log.warn({ requestId: currentVisit()?.id, statement, ms: Math.round(ms) }, 'slow statement')
    },
    onBreaker(isOpen, cause) {
      if (isOpen) log.error(describeError(cause), 'the database is away: statements are refused until it is back')
      else log.info('the database is back')
    },
  }
}

/** Goes on after what the driver throws from timers of its own when a connection is lost; anything else ends the process. */
export function guardProcess(log: Logger): void {
  process.on('unhandledRejection', (cause) => log.error(describeError(cause), 'unhandled rejection'))
  process.on('uncaughtException', (error) => {
    if (isOfDriver(error)) return log.error(describeError(error), 'the database driver has thrown')
    log.fatal(describeError(error), 'uncaught exception')
    process.exit(1)
  })
}

/** Whether the first frame that is not of Node itself is one of the driver. */
function isOfDriver(error: unknown): boolean {
  const frames = (error instanceof Error ? (error.stack ?? '') : '').split('\n').filter((line) => /^\s+at /.test(line))
  const first = frames.find((frame) => !/[ (]node:/.test(frame))
  return first !== undefined && /[\\/]node_modules[\\/]postgres[\\/]/.test(first)
}
