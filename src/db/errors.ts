/** A check, unique or foreign key refused the write. The name is the constraint's, as tables.ts has it. */
export class ConstraintError extends Error {
  readonly constraint: string
  constructor(constraint: string, cause: unknown) {
    super(`constraint ${constraint}`, { cause })
    this.name = 'ConstraintError'
    this.constraint = constraint
  }
}

/** The database cannot be reached, refuses to serve, or went away before it answered. */
export class DatabaseUnavailable extends Error {
  /** Whether the statement was sent: then nobody knows whether it was committed. */
  readonly mayHaveRun: boolean
  constructor(cause: unknown, mayHaveRun = false) {
    super('the database is not available', { cause })
    this.name = 'DatabaseUnavailable'
    this.mayHaveRun = mayHaveRun
  }
}

/** Something took longer than it may: a statement, or the whole request that it was for. */
export class DeadlineExceeded extends Error {
  readonly of: 'statement' | 'request'
  readonly limitMs: number
  /** Whether a statement was sent whose end nobody waited for: then it may yet be committed. */
  readonly mayHaveRun: boolean
  constructor(of: 'statement' | 'request', limitMs: number, mayHaveRun = false, cause?: unknown) {
    super(`the ${of} took longer than ${limitMs} ms`, { cause })
    this.name = 'DeadlineExceeded'
    this.of = of
    this.limitMs = limitMs
    this.mayHaveRun = mayHaveRun
  }
}
