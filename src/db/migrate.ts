import { fileURLToPath } from 'node:url'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import { migrate as runMigrations } from 'drizzle-orm/pglite/migrator'
import type { Database } from './client.ts'

export type MigratorDatabase = PgDatabase<PgQueryResultHKT>

const migrationsFolder = fileURLToPath(new URL('../../drizzle', import.meta.url))

/**
 * Brings the tables up to date: every pending migration of `drizzle/`, in one transaction. Processes that start together
 * wait for each other, and the later ones find nothing left to do.
 */
export async function migrate(database: Database): Promise<void> {
  await database.withMigrator((db) =>
    // Drizzle's migrators differ in their type only: each calls the dialect that every PostgreSQL database carries.
    runMigrations(db as unknown as PgliteDatabase, { migrationsFolder }),
  )
}
