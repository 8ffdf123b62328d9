import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, inject } from 'vitest'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions, type Context } from '../../src/domain/context.ts'
import { testDeadlines } from './deadlines.ts'

export interface TestDatabase {
  db: Database
  url: string
  /** Two accounts: the one that a test acts for, and one that must notice nothing. */
  ctx: Context
  otherCtx: Context
  /** The texts of the statements that reached the driver since the last `takeStatements`. */
  takeStatements(): string[]
}

/** A migrated database of its own for each test file, on the engine of the project that runs it. */
export function useDatabase(options: { poolSize?: number } = {}): TestDatabase {
  const test = { statements: [] as string[] } as unknown as TestDatabase & { statements: string[] }
  test.takeStatements = () => test.statements.splice(0)
  let drop = async () => {}

  beforeAll(async () => {
    const created = inject('engine') === 'postgres' ? await createPostgresDatabase() : { url: 'pglite:memory', drop }
    drop = created.drop
    test.url = created.url
    test.db = await openDatabase({
      url: created.url,
      poolSize: options.poolSize ?? 4,
      prepare: true,
      deadlines: testDeadlines,
      onStatement: (text) => test.statements.push(text),
    })
    await migrate(test.db)
    test.ctx = { db: test.db, account: await ensureAccount(test.db, 'demo'), permissions: allPermissions }
    test.otherCtx = { db: test.db, account: await ensureAccount(test.db, 'other'), permissions: allPermissions }
  })

  afterAll(async () => {
    await test.db?.close()
    await drop()
  })

  return test
}

/** An empty database on the PostgreSQL of the tests. */
export async function createPostgresDatabase(): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `test_${randomBytes(8).toString('hex')}`
  const admin = inject('postgresUrl')
  await execute(admin, `create database ${name}`)
  const url = new URL(admin)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => execute(admin, `drop database ${name} with (force)`) }
}

async function execute(url: string, statement: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await client.unsafe(statement)
  } finally {
    await client.end()
  }
}
