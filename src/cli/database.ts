import { readConfig } from '../config.ts'
import { type Database, openDatabase } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'

/** Commands may have more to do at once than requests. */
const commandStatementMs = 600_000

/** Opens the database of the environment for one command, with its tables up to date, and closes it afterwards. */
export async function withDatabase<Result>(
  env: NodeJS.ProcessEnv,
  work: (db: Database) => Promise<Result>,
  poolSize = 1,
): Promise<Result> {
  const { databaseUrl, databasePrepare, deadlines } = readConfig(env)
  const db = await openDatabase({
    url: databaseUrl,
    poolSize,
    prepare: databasePrepare,
    deadlines: { ...deadlines, statementMs: commandStatementMs },
  })
  try {
    await migrate(db)
    return await work(db)
  } finally {
    await db.close()
  }
}
