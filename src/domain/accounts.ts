import { sql } from 'drizzle-orm'
import type { Database } from '../db/client.ts'
import { defineRead, defineStatement, param } from '../db/statement.ts'
import { accounts, maxLength } from '../db/tables.ts'
import { ValidationError } from './errors.ts'
import { line, parse } from './parse.ts'

/** The account that is served where callers need not authenticate. */
export const demoAccount = 'demo'

export interface Account {
  id: number
  name: string
  createdAt: Date
}

type AccountCells = [number, string, Date]
const toAccount = ([id, name, createdAt]: AccountCells): Account => ({ id, name, createdAt })

const createStatement = defineStatement<{ name: string }, Account>(
  'create_account',
  sql`insert into ${accounts} (name) values (${param('name', 'text')}) on conflict do nothing
    returning id, name, created_at`,
  toAccount,
)

const byNameStatement = defineRead<{ name: string }, Account>(
  'account_by_name',
  sql`select id, name, created_at from ${accounts} where name = ${param('name', 'text')}`,
  toAccount,
)

const accountName = line('Account name', maxLength.accountName)

/** Creates an account. Its name is how callers choose it. */
export async function createAccount(db: Database, input: unknown): Promise<Account> {
  const [created] = await db.run(createStatement, { name: parse(accountName, input) })
  if (!created) {
    throw new ValidationError([{ path: ['name'], code: 'TAKEN', message: 'Account name has already been taken.' }])
  }
  return created
}

export async function findAccount(db: Database, name: string): Promise<Account | undefined> {
  // No account has such a name, and PostgreSQL would refuse to look for it.
  if (name.includes('\0') || !name.isWellFormed()) return undefined
  const [account] = await db.run(byNameStatement, { name })
  return account
}

/** The id of the account of this name, which is created where there is none. */
export async function ensureAccount(db: Database, name: string): Promise<number> {
  const account = (await findAccount(db, name)) ?? (await db.run(createStatement, { name }))[0]
  // Another process has created it meanwhile: now it is there.
  return account?.id ?? ensureAccount(db, name)
}

const listStatement = defineRead<Record<never, never>, Account>(
  'list_accounts',
  sql`select id, name, created_at from ${accounts} order by name`,
  toAccount,
)

export function listAccounts(db: Database): Promise<Account[]> {
  return db.run(listStatement, {})
}
