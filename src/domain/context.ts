import type { Database } from '../db/client.ts'

/** What every verb is told: which database, and on whose behalf. */
export interface Context {
  readonly db: Database
  readonly account: number
}
