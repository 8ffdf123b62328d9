import { Command, CommanderError } from 'commander'
import { describeFailure } from './cli/failure.ts'
import { migrateCommand } from './cli/migrate.ts'
import { openApiCommand } from './cli/openapi.ts'
import { schemaCommand } from './cli/schema.ts'
import { seedCommand } from './cli/seed.ts'
import { serveCommand } from './cli/serve.ts'

const program = new Command('gateway')
  .description('A GraphQL gateway over the contacts of organizations, on PostgreSQL.')
  .addHelpText('after', '\nSettings come from the environment: see .env.example.')
  .showHelpAfterError('(--help tells more)')
  .exitOverride()
  .configureOutput({ writeErr: (text) => process.stderr.write(text) })

program.addCommand(serveCommand(process.env), { isDefault: true })
program.addCommand(migrateCommand(process.env))
program.addCommand(seedCommand(process.env))
program.addCommand(schemaCommand())
program.addCommand(openApiCommand())

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.exitCode = 1
    process.stderr.write(`${describeFailure(error)}\n`)
  }
}
