import { Command } from 'commander'
import { readConfig } from '../config.ts'
import { openDatabase } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'

export function migrateCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('migrate')
    .description('Bring the tables of DATABASE_URL up to date, as serve does when it starts.')
    .action(async () => {
      const { databaseUrl, databasePrepare } = readConfig(env)
      const db = await openDatabase({ url: databaseUrl, poolSize: 1, prepare: databasePrepare })
      try {
        await migrate(db)
        process.stdout.write('The tables are up to date.\n')
      } finally {
        await db.close()
      }
    })
}
