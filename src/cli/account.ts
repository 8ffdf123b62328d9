import { Command } from 'commander'
import { createAccount, listAccounts } from '../domain/accounts.ts'
import { withDatabase } from './database.ts'
import { printTable } from './table.ts'

export function accountCommand(env: NodeJS.ProcessEnv): Command {
  const command = new Command('account').description('Create and list accounts: each has data of its own.')
  command
    .command('create <name>')
    .description('Create an account. Callers choose it by its name, in X-Xurrent-Account.')
    .action((name: string) =>
      withDatabase(env, async (db) => {
        const account = await createAccount(db, name)
        process.stdout.write(`Account ${account.name} was created.\n`)
      }),
    )
  command
    .command('list')
    .description('List the accounts.')
    .action(() =>
      withDatabase(env, async (db) => {
        const rows = (await listAccounts(db)).map(({ name, createdAt }) => [name, createdAt.toISOString()])
        printTable(['name', 'created'], rows)
      }),
    )
  return command
}
