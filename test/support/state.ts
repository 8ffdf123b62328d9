import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { Database } from '../../src/db/client.ts'
import { defineStatement } from '../../src/db/statement.ts'

const statement = defineStatement<Record<never, never>, string>(
  'test_state',
  sql`select t.name || ' ' || t.line from (
      select 'organization' as name, o::text as line from organizations o
      union all select 'contact', c::text from contacts c
      union all select 'lookup', l::text from contact_lookups l
      union all select 'account', a::text from accounts a
      union all select 'idempotency key', k::text from idempotency_keys k
      union all select 'event', e::text from contact_events e
    ) t order by 1`,
  ([line]) => line,
)

/** Every row of every table: equal before and after where nothing was changed. */
export function stateOf(db: Database): Promise<string[]> {
  return db.run(statement, {})
}

/** Runs what is to be refused, and holds that not a row of any table has changed by it. */
export async function unchanged<Result>({ db }: { db: Database }, attempt: () => Promise<Result>): Promise<Result> {
  const before = await stateOf(db)
  try {
    return await attempt()
  } finally {
    expect(await stateOf(db)).toEqual(before)
  }
}
