import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { RequestTrace } from './tracing.ts'

/** How a request can end, from what needs no attention to what needs it most. */
export const outcomes = [
  'ok',
  'refused',
  'unauthenticated',
  'forbidden',
  'rate_limited',
  'shed',
  'timeout',
  'unavailable',
  'error',
] as const
export type Outcome = (typeof outcomes)[number]

export type ShedReason = 'requests' | 'event_loop'

/** A request on its way, with all that the log, the metrics and the traces tell of it. */
export interface Visit {
  /** Given by the caller, or made. */
  readonly id: string
  readonly method: string
  /** Without the query, which may hold what is nobody's business. */
  readonly path: string
  /** By `performance.now()`. */
  readonly startedAt: number
  /** The caller's trace, as the headers of these names have it. */
  readonly traceparent: string | undefined
  readonly tracestate: string | undefined
  /** What the caller says that it is, as the clients of GraphOS do. */
  readonly client: string | undefined
  door: 'graphql' | 'rest' | undefined
  /** The name of a GraphQL operation, or the template of a REST route. */
  operation: string | undefined
  /** The worst that was noted on the way; the status tells the rest. */
  outcome: Outcome
  shed: ShedReason | undefined
  account: number | undefined
  statements: number
  /** Whether it has come so far that something may have been changed by it. */
  mayChange: boolean
  /** Undefined as long as no answer has begun. */
  status: number | undefined
  trace: RequestTrace | undefined
}

const usableId = /^[A-Za-z0-9._:/+=-]{1,128}$/

interface Head {
  method: string
  path: string
  requestId?: string | null | undefined
  traceparent?: string | null | undefined
  tracestate?: string | null | undefined
  client?: string | null | undefined
}

export function beginVisit({ method, path, requestId, traceparent, tracestate, client }: Head): Visit {
  return {
    id: requestId && usableId.test(requestId) ? requestId : randomUUID(),
    method,
    path,
    startedAt: performance.now(),
    traceparent: traceparent ?? undefined,
    tracestate: tracestate ?? undefined,
    client: client ?? undefined,
    door: undefined,
    operation: undefined,
    outcome: 'ok',
    shed: undefined,
    account: undefined,
    statements: 0,
    mayChange: false,
    status: undefined,
    trace: undefined,
  }
}

const visits = new AsyncLocalStorage<Visit>()

/** Runs the work for a request, so that whatever is called on the way can tell whom it is for. */
export const during = <Result>(visit: Visit, work: () => Result): Result => visits.run(visit, work)

/** The request that is being worked for; undefined outside of any. */
export const currentVisit = (): Visit | undefined => visits.getStore()

export function noteOutcome(visit: Visit, outcome: Outcome): void {
  if (outcomes.indexOf(outcome) > outcomes.indexOf(visit.outcome)) visit.outcome = outcome
}

const outcomesByStatus: Partial<Record<number, Outcome>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  429: 'rate_limited',
  503: 'unavailable',
  504: 'timeout',
}

/** How a request has ended. Who went away before there was an answer has refused it. */
export function outcomeOf(visit: Visit): Outcome {
  if (visit.shed) return 'shed'
  const { status = 400 } = visit
  noteOutcome(visit, outcomesByStatus[status] ?? (status >= 500 ? 'error' : status >= 400 ? 'refused' : 'ok'))
  return visit.outcome
}
