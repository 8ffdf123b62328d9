import type { Database } from '../db/client.ts'
import { type Permission, permission } from '../db/tables.ts'
import { ForbiddenError } from './errors.ts'

/** What every verb is told: which database, on whose behalf, and what that caller may do. */
export interface Context {
  readonly db: Database
  readonly account: number
  readonly permissions: ReadonlySet<Permission>
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
