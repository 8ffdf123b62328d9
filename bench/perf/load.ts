import { Connection } from './connection.ts'
import { Histogram, type Latency } from './histogram.ts'
import { type Usage, usageOf } from './processes.ts'

// The load generator, as a process of its own: it is sent jobs by its parent (see loader.ts) and answers each with what it
// measured. Plain sockets, one request at a time on each: it is to cost less than what it measures.

export interface LoadJob {
  port: number
  connections: number
  /** Whole requests, as they go over the wire; they are sent in turn. */
  requests: string[]
  expected: Expected
  /** Load whose answers are checked, but not measured. */
  warmupMs: number
  measureMs: number
  /** Requests in a second, whether answers have come or not. Without it, each connection sends the next when it has one. */
  rate?: number | undefined
  /** Processes whose usage is read when measuring begins and ends. */
  watched: Record<string, number>
}

/** What every answer is held to. Cheap, since it is done all the time; all of an answer is compared before. */
export interface Expected {
  status: number
  includes: string
  excludes: string
}

export interface LoadResult {
  /** Completed while it was measured, and for how long that was, in milliseconds. */
  requests: number
  ms: number
  /** From the moment that a request was due. */
  latency: Latency
  bytesPerReply: number
  /** What each watched process, and this one as `load`, has used while it was measured. */
  used: Record<string, Usage>
  /** When measuring began and ended, in microseconds by the clock of the system that all processes share. */
  from: number
  to: number
}

process.on('message', async (job: LoadJob) => {
  try {
    process.send!({ result: await generate(job) })
  } catch (error) {
    process.send!({ failure: (error as Error).message })
  }
})

async function generate(job: LoadJob): Promise<LoadResult> {
  const requests = job.requests.map((request) => Buffer.from(request))
  const connections = await Promise.all(Array.from({ length: job.connections }, () => Connection.open(job.port)))
  try {
    return await new Promise((resolve, reject) => {
      const measuring = new Measuring(job, resolve)
      const drive = job.rate === undefined ? driveClosed : driveOpen
      drive({ connections, requests, measuring, job, fail: reject })
    })
  } finally {
    await Promise.all(connections.map((connection) => connection.close()))
  }
}

interface Drive {
  connections: readonly Connection[]
  requests: readonly Buffer[]
  measuring: Measuring
  job: LoadJob
  fail: (error: Error) => void
}

/** Each connection sends the next request when it has its answer. */
function driveClosed({ connections, requests, measuring, job, fail }: Drive): void {
  let turn = 0
  for (const connection of connections) {
    const next = () => {
      if (measuring.isOver) return
      const due = performance.now()
      connection.send(requests[turn++ % requests.length]!).then((reply) => {
        const fault = faultOf(reply, job.expected)
        if (fault) return fail(fault)
        measuring.note(due, reply.bytes)
        next()
      }, fail)
    }
    next()
  }
}

const tickMs = 1

/**
 * Requests become due at an even rate, whatever has become of those before; one that finds no connection free waits, and
 * its wait counts. What is late for the timer's sake alone does not count: that is this process's fault.
 */
function driveOpen({ connections, requests, measuring, job, fail }: Drive): void {
  const idle = [...connections]
  /** When each was due. */
  const waiting: number[] = []
  const startedAt = performance.now()
  let turn = 0
  let released = 0

  const release = () => {
    const now = performance.now()
    const due = Math.floor(((now - startedAt) / 1000) * job.rate!)
    for (; released < due; released += 1) waiting.push(now)
    while (waiting.length > 0 && idle.length > 0) send(idle.pop()!, waiting.shift()!)
  }
  const send = (connection: Connection, due: number) => {
    connection.send(requests[turn++ % requests.length]!).then((reply) => {
      const fault = faultOf(reply, job.expected)
      if (fault) return fail(fault)
      measuring.note(due, reply.bytes)
      idle.push(connection)
      if (!measuring.isOver) release()
    }, fail)
  }
  const timer = setInterval(() => (measuring.isOver ? clearInterval(timer) : release()), tickMs)
}

/** Counts what is completed between the end of the warming up and the end of the job. */
class Measuring {
  isOver = false
  readonly #job: LoadJob
  readonly #latency = new Histogram()
  #isOn = false
  #startedAt = 0
  #bytes = 0

  constructor(job: LoadJob, resolve: (result: LoadResult) => void) {
    this.#job = job
    setTimeout(() => this.#begin(resolve), job.warmupMs)
  }

  note(due: number, bytes: number): void {
    if (!this.#isOn) return
    this.#latency.record((performance.now() - due) * 1000)
    this.#bytes += bytes
  }

  #begin(resolve: (result: LoadResult) => void): void {
    const before = this.#usage()
    const from = clock()
    this.#startedAt = performance.now()
    this.#isOn = true
    setTimeout(() => {
      this.#isOn = false
      this.isOver = true
      const ms = performance.now() - this.#startedAt
      const to = clock()
      const latency = this.#latency.summary()
      const used = difference(before, this.#usage())
      const { count: requests } = latency
      resolve({ requests, ms, latency, bytesPerReply: Math.round(this.#bytes / requests), used, from, to })
    }, this.#job.measureMs)
  }

  #usage(): Record<string, Usage> {
    const watched = { ...this.#job.watched, load: process.pid }
    return Object.fromEntries(Object.entries(watched).map(([name, pid]) => [name, usageOf(pid)]))
  }
}

/** Processor time is what was used between the two; the rest is as it was in the end. */
function difference(before: Record<string, Usage>, after: Record<string, Usage>): Record<string, Usage> {
  return Object.fromEntries(
    Object.entries(after).map(([name, usage]) => [name, { ...usage, cpuMs: usage.cpuMs - before[name]!.cpuMs }]),
  )
}

const clock = () => Number(process.hrtime.bigint() / 1000n)

function faultOf({ status, body }: { status: number; body: Buffer }, expected: Expected): Error | undefined {
  const isGood =
    status === expected.status &&
    body.includes(expected.includes, 0, 'latin1') &&
    !body.includes(expected.excludes, 0, 'latin1')
  if (isGood) return undefined
  return new Error(`an answer that was not expected, under load: ${status} ${body.subarray(0, 500).toString()}`)
}
