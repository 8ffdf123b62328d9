import { Command, CommanderError } from 'commander'
import { accountCommand } from './cli/account.ts'
import { exportCommand } from './cli/export.ts'
import { describeFailure, OperatorError } from './cli/failure.ts'
import { importCommand } from './cli/import.ts'
import { migrateCommand } from './cli/migrate.ts'
import { openApiCommand } from './cli/openapi.ts'
import { pullCommand } from './cli/pull.ts'
import { schemaCommand } from './cli/schema.ts'
import { seedCommand } from './cli/seed.ts'
import { serveCommand } from './cli/serve.ts'
import { tokenCommand } from './cli/token.ts'

const program = new Command('gateway')
  .description('A gateway over the contacts of organizations, by GraphQL and REST, on PostgreSQL.')
  .addHelpText('after', '\nSettings come from the environment: see .env.example.')
  .showHelpAfterError('(--help tells more)')
  .exitOverride()
  .configureOutput({ writeErr: (text) => process.stderr.write(text) })

const commands = [
  serveCommand(process.env),
  migrateCommand(process.env),
  seedCommand(process.env),
  importCommand(process.env),
  exportCommand(process.env),
  pullCommand(process.env),
  accountCommand(process.env),
  tokenCommand(process.env),
  schemaCommand(),
  openApiCommand(),
]
for (const command of commands) program.addCommand(command)
inherit(program)

// Who reads the output may go before its end, as `head` does.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

try {
  // Not as Commander's default command: an unknown command would be an argument too many of that one.
  await program.parseAsync(process.argv.length > 2 ? process.argv : [...process.argv, 'serve'])
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.exitCode = error instanceof OperatorError ? error.exitCode : 1
    process.stderr.write(`${describeFailure(error)}\n`)
  }
}
// A connection on which PostgreSQL is still at work would keep the process.
setTimeout(() => process.exit(), 500).unref()

/** Commander hands its settings down to commands that it makes itself, and at that moment only. */
function inherit(parent: Command): void {
  for (const command of parent.commands) inherit(command.copyInheritedSettings(parent))
}
