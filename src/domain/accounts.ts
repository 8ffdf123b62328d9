import { sql } from 'drizzle-orm'
import type { Database } from '../db/client.ts'
import { defineStatement, param } from '../db/statement.ts'
import { accounts } from '../db/tables.ts'

/** The one account there is until accounts can be created. */
export const demoAccount = 'demo'

const ensureStatement = defineStatement<{ name: string }, number>(
  'ensure_account',
  sql`with created as (
      insert into ${accounts} (name) values (${param('name', 'text')}) on conflict do nothing returning id
    )
    select id from created
    union all
    select id from ${accounts} where name = ${param('name', 'text')}`,
  ([id]) => id,
)

/** The id of the account of this name, which is created where there is none. */
export async function ensureAccount(db: Database, name: string): Promise<number> {
  const [id] = await db.run(ensureStatement, { name })
  // Another process has created it after this statement began: the second time it is there.
  return id ?? ensureAccount(db, name)
}
