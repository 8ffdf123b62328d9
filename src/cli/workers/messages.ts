import type { ToBorrower, ToLender } from '../../auth/leases.ts'
import type { Snapshot } from '../../telemetry/metrics.ts'

export type ToWorker =
  /** Comes with the connection, unless that has gone meanwhile. */
  | { kind: 'connection' }
  | { kind: 'limits'; message: ToBorrower }
  | { kind: 'metrics'; id: number }
  | { kind: 'stop'; graceMs: number }

export type ToPrimary =
  | { kind: 'ready' }
  /** It cannot serve; what to print instead. */
  | { kind: 'failed'; reason: string }
  /** It has the connection that it was sent last. */
  | { kind: 'taken' }
  | { kind: 'limits'; message: ToLender }
  | { kind: 'metrics'; id: number; snapshot: Snapshot }
