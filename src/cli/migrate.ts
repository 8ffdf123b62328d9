import { Command } from 'commander'
import { withDatabase } from './database.ts'

export function migrateCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('migrate')
    .description('Bring the tables of DATABASE_URL up to date, as serve does when it starts.')
    .action(() =>
      withDatabase(env, async () => {
        process.stdout.write('The tables are up to date.\n')
      }),
    )
}
