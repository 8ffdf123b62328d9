import { writeFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { Cleanup } from './cleanup.ts'
import { defaultPostgres, runFaults } from './faults.ts'
import { findPrograms } from './postgres.ts'
import { scenarios } from './scenarios.ts'
import { tableOf } from './table.ts'

interface Options {
  short: boolean
  only?: string[]
  postgres: string
  json?: string
  logs?: string
}

const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }

const program = new Command('faults')
  .description(
    'Breaks the gateway, its database and the link between them in every way we know, under load, and compares what was acknowledged with what is there. Everything happens on 127.0.0.1. Exits with 1 when something was found.',
  )
  .option('--short', 'fewer and shorter faults, in less than a minute', false)
  .option('--only <names>', 'scenarios, separated by commas', namesOfScenarios)
  .option('--postgres <version>', 'a major version (of Debian or npm), or a folder of programs', defaultPostgres)
  .option('--json <file>', 'write the report to a file, too')
  .option('--logs <folder>', 'keep the logs of the gateway and of PostgreSQL')
  .addHelpText('after', `\nScenarios:\n${scenarios.map(({ name, what }) => `  ${name.padEnd(14)}${what}`).join('\n')}`)
  .showHelpAfterError('(--help tells more)')
  .action(async ({ json, ...options }: Options) => {
    const postgres = await findPrograms(options.postgres).catch((error: Error) => program.error(error.message))
    const cleanup = new Cleanup()
    for (const [signal, code] of Object.entries(exitCodes)) {
      process.once(signal, () => {
        tell(`${signal}: cleaning up`)
        cleanup.run().finally(() => process.exit(code))
      })
    }
    const report = await runFaults({ ...options, postgres, cleanup, onProgress: tell })
    if (json) await writeFile(json, `${JSON.stringify(report, null, 2)}\n`)
    process.stdout.write(`${tableOf(report)}\n`)
    process.exitCode = report.passed ? 0 : 1
  })

function namesOfScenarios(text: string): string[] {
  const names = text.split(',')
  const unknown = names.filter((name) => !scenarios.some((scenario) => scenario.name === name))
  if (unknown.length > 0) throw new InvalidArgumentError(`There is no scenario ${unknown.join(', ')}.`)
  return names
}

function tell(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
}

await program.parseAsync()
