import type { Database } from '../db/client.ts'
import { type Permission, permission } from '../db/tables.ts'
import { ForbiddenError } from './errors.ts'

/** What every verb is told: which database, on whose behalf, and what that caller may do. */
export interface Context {
  readonly db: Database
  readonly account: number
  readonly permissions: ReadonlySet<Permission>
  /** For a write that is to have one effect, however often it is sent. */
  readonly once?: Once
}

export interface Once {
  /** Chosen by the caller: the same for each repeat. */
  readonly key: string
  /** Of all that the caller asked for, so that the same key with another input is noticed. */
  readonly fingerprint: string
}

export const allPermissions: ReadonlySet<Permission> = new Set(permission.enumValues)

/** The permissions with what they include: to write includes to read. */
export function withIncluded(given: readonly Permission[]): ReadonlySet<Permission> {
  return new Set(given.flatMap((name) => [name, name.replace(':write', ':read') as Permission]))
}

/** Every verb and every read begins with this. */
export function requirePermission({ permissions }: Context, needed: Permission): void {
  if (!permissions.has(needed)) throw new ForbiddenError(needed)
}
