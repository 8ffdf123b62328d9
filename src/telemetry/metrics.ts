import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { DatabaseObserver, DatabaseStatus } from '../db/client.ts'
import { type Observations, registerCounter, registerHistogram, type Tally } from './accumulators.ts'
import type { Outcome, Visit } from './visit.ts'

export interface Metrics {
  /** To be told by the database. */
  readonly observer: DatabaseObserver
  /** A request has ended. */
  onRequest(visit: Visit, ms: number, outcome: Outcome): void
  /** Whom to ask for the state of the connections, as soon as there is somebody. */
  watch(status: () => DatabaseStatus): void
  /** Whom to ask how many streams are open. */
  watchStreams(count: () => number): void
  readonly contentType: string
  /** Everything, as Prometheus reads it. */
  render(): Promise<string>
  /** Everything, to be rendered together with that of other processes. */
  snapshot(): Promise<Snapshot>
}

export type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** What several processes have counted, added up, as Prometheus reads it. */
export const renderAll = (snapshots: readonly Snapshot[]): Promise<string> =>
  AggregatorRegistry.aggregate([...snapshots]).metrics()

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const counts = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55]

const maxNames = 100
const usableName = /^[_A-Za-z]\w{0,63}$/

/** Callers choose the names of their operations: only so many are told apart, since each is kept for ever. */
export function createNames(): (name: string | undefined) => string {
  const known = new Set<string>()
  return (name) => {
    if (name === undefined) return 'anonymous'
    if (known.has(name)) return name
    if (known.size >= maxNames || !usableName.test(name)) return 'other'
    known.add(name)
    return name
  }
}

const maxClients = 50
/** Each client may use each operation: only so many of these pairs are told apart. */
const maxClientOperations = 1000

/** The names of clients as the metrics have them: only so many, as with operations. */
export function createClients(): (name: string | undefined, operation: string) => string {
  const known = new Set<string>()
  const pairs = new Set<string>()
  return (given, operation) => {
    const name = visible(given)
    if (!name) return 'none'
    if (!known.has(name)) {
      if (known.size >= maxClients) return 'other'
      known.add(name)
    }
    const pair = `${operation} ${name}`
    if (pairs.has(pair)) return name
    if (pairs.size >= maxClientOperations) return 'other'
    pairs.add(pair)
    return name
  }
}

const visible = (name: string | undefined) =>
  name
    ?.replace(/[^ -~]+/g, '')
    .trim()
    .slice(0, 64)
    .trimEnd()

export function createMetrics(): Metrics {
  const register = new Registry()
  const registers = [register]
  collectDefaultMetrics({ register })

  const requests = createEndings(
    registerCounter(register, 'gateway_requests_total', 'Requests that have ended, by door, operation and outcome.'),
    registerHistogram(
      register,
      'gateway_request_duration_seconds',
      'From the head of a request to the end of its answer.',
      seconds,
    ),
  )
  const requestsOf = {
    graphql: onceEach((operation) => requests({ door: 'graphql', operation })),
    rest: onceEach((operation) => requests({ door: 'rest', operation })),
  }
  const clientOperations = registerCounter(
    register,
    'gateway_client_operations_total',
    'GraphQL requests that have ended, by what the client calls itself, operation and outcome.',
  )
  const clientOperationsOf = onceEach((client) =>
    onceEach((operation) => onceEach((outcome) => clientOperations({ client, operation, outcome }))),
  )
  const statementsOfRequests = registerHistogram(
    register,
    'gateway_request_statements',
    'Statements that one request sent to the database.',
    counts,
  )({})
  const shed = new Counter({
    name: 'gateway_shed_total',
    help: 'Requests that were turned away because there was too much to do.',
    labelNames: ['reason'],
    registers,
  })
  const rateLimited = new Counter({
    name: 'gateway_rate_limited_total',
    help: 'Requests of callers who had used up a limit.',
    registers,
  })
  const statementDurations = registerHistogram(
    register,
    'gateway_statement_duration_seconds',
    'How long statements took, by their name.',
    seconds,
  )
  const statements = createEndings(
    registerCounter(register, 'gateway_statements_total', 'Statements that have ended, by name and outcome.'),
    statementDurations,
  )
  const statementsOf = onceEach((statement) => statements({ statement }))
  const retries = new Counter({
    name: 'gateway_database_retries_total',
    help: 'Statements that were sent once more, by SQLSTATE, or connection_lost.',
    labelNames: ['reason'],
    registers,
  })
  const lost = new Counter({
    name: 'gateway_database_connections_lost_total',
    help: 'Connections to the database that ended without our doing.',
    registers,
  })
  // What never happened is told as well: a rate needs a zero to begin with.
  for (const reason of ['requests', 'event_loop']) shed.inc({ reason }, 0)

  let statusOf: (() => DatabaseStatus) | undefined
  const connectionStates = ['idle', 'busy', 'connecting'] as const
  new Gauge({
    name: 'gateway_database_connections',
    help: 'Connections to the database, by what they are doing.',
    labelNames: ['state'],
    registers,
    collect() {
      const pool = statusOf?.().pool
      if (pool) for (const state of connectionStates) this.set({ state }, pool[state])
    },
  })
  new Gauge({
    name: 'gateway_database_waiting',
    help: 'Statements that wait for a connection.',
    registers,
    collect() {
      this.set(statusOf?.().pool.waiting ?? 0)
    },
  })
  new Gauge({
    name: 'gateway_breaker_open',
    help: '1 while statements are refused at once because the database is away.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(statusOf?.().isBreakerOpen ? 1 : 0)
    },
  })

  let streamsOf: (() => number) | undefined
  new Gauge({
    name: 'gateway_streams',
    help: 'Streams of changes that are open.',
    registers,
    collect() {
      this.set(streamsOf?.() ?? 0)
    },
  })

  const nameOf = createNames()
  const clientOf = createClients()
  return {
    observer: {
      onStatement(statement, ms, outcome) {
        const endings = statementsOf(statement)
        endings.count(outcome)
        endings.time(ms)
      },
      onRetry: (_statement, reason) => retries.inc({ reason }),
      onConnectionLost: () => lost.inc(),
    },
    onRequest({ door, operation: given, client, statements: sent, shed: reason }, ms, outcome) {
      if (reason) shed.inc({ reason })
      if (outcome === 'rate_limited') rateLimited.inc()
      if (!door) return
      // Routes are ours, and few.
      const operation = door === 'rest' ? (given ?? 'other') : nameOf(given)
      const endings = requestsOf[door](operation)
      endings.count(outcome)
      if (door === 'graphql') clientOperationsOf(clientOf(client, operation))(operation)(outcome).value += 1
      // What was turned away at once says nothing of how long requests take.
      if (reason) return
      endings.time(ms)
      statementsOfRequests.observe(sent)
    },
    watch(status) {
      statusOf = status
    },
    watchStreams(count) {
      streamsOf = count
    },
    contentType: register.contentType,
    render: () => register.metrics(),
    snapshot: () => register.getMetricsAsJSON(),
  }
}

/** Makes a value for each name when it is first asked for. */
function onceEach<Value extends object>(make: (name: string) => Value): (name: string) => Value {
  const made = new Map<string, Value>()
  return (name) => {
    const known = made.get(name)
    if (known) return known
    const value = make(name)
    made.set(name, value)
    return value
  }
}

type Labels = Record<string, string>

/** Makes what is told of the endings of something, by its labels: each with its outcome, and how long it took. */
const createEndings = (counterFor: (labels: Labels) => Tally, histogramFor: (labels: Labels) => Observations) => {
  return (labels: Labels) => {
    const counterOf = onceEach((outcome) => counterFor({ ...labels, outcome }))
    let durations: Observations | undefined
    return {
      count(outcome: string) {
        counterOf(outcome).value += 1
      },
      time(ms: number) {
        durations ??= histogramFor(labels)
        durations.observe(ms / 1000)
      },
    }
  }
}
