import { ConfigError } from '../config.ts'
import { DatabaseUnavailable, DeadlineExceeded } from '../db/errors.ts'
import { FolderLocked } from '../db/lock.ts'
import { ValidationError } from '../domain/errors.ts'

/** What the exit codes of long commands say, beside 0 and Commander's 2. */
export const exitCodes = { failed: 1, refused: 3, interrupted: 130 }

/** Something that the operator can mend; its message says all there is to say. */
export class OperatorError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** What a command prints when it fails: what to mend, or where a bug is. Connection strings are never in it. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof ValidationError) return error.issues.map(({ message: fault }) => fault).join('\n')
  if (error instanceof OperatorError || error instanceof ConfigError || error instanceof FolderLocked)
    return error.message
  const { code, message } = originOf(error) as NodeJS.ErrnoException
  if (error instanceof DeadlineExceeded) return `The database took longer than ${error.limitMs} ms for a statement.`
  if (error instanceof DatabaseUnavailable && refusal.test(code ?? ''))
    return `The database refused: ${message} (${code}).`
  if (error instanceof DatabaseUnavailable && error.mayHaveRun)
    return `The connection to the database was lost (${code ?? message}).`
  if (error instanceof DatabaseUnavailable)
    return `The database cannot be reached (${code ?? message}). Check DATABASE_URL.`
  if (/^(28|3D)/.test(code ?? '')) return `The database refused the connection: ${message}. Check DATABASE_URL.`
  return originOf(error).stack ?? message
}

/** It is there, but has no resources, is told to stop, or only reads. */
const refusal = /^(53|57|58|25006|40)/

/** A driver's own error, beneath what Drizzle wraps around it: that wrapping repeats SQL and values. */
function originOf(error: Error): Error {
  return error.cause instanceof Error ? originOf(error.cause) : error
}
