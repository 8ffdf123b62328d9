import { Command, Option } from 'commander'
import { demoAccount } from '../domain/accounts.ts'

export interface ImportOptions {
  account: string
  dryRun: boolean
  onError: 'stop' | 'skip'
  ignoreIds: boolean
  ignoreUnknownColumns: boolean
  failed: string
}

export function importCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('import')
    .description(
      "Read organizations and contacts from CSV files in the vendor's formats, which are told by their header: with commas, semicolons or tabs, in UTF-8 or UTF-16LE. Organizations are imported first. An organization's contacts are imported whole or not at all; where a row of them has Integration true, its contacts of the integration that the file does not name are removed. What is there already stays as it is, so an import can be repeated, and goes on where it was interrupted.",
    )
    .argument('<file...>', 'the files')
    .option('--account <name>', 'whose they become; the account is created where there is none', demoAccount)
    .option('--dry-run', 'change nothing, and tell what would be changed', false)
    .addOption(
      new Option(
        '--on-error <what>',
        'stop: import nothing if a row is wrong by itself, and end with the first that the database refuses; skip: leave out the organizations that have such rows',
      )
        .choices(['stop', 'skip'])
        .default('stop'),
    )
    .option('--ignore-ids', "take no notice of the column ID: the ids are another system's", false)
    .option('--ignore-unknown-columns', 'pass over columns that nobody knows', false)
    .option('--failed <folder>', 'where FILE.failed.csv is written: the rows that failed, with line and reasons', '.')
    .addHelpText(
      'after',
      `
Columns of organizations: Name, and ID, Source, Source ID, Disabled, Parent Organization (by name). Columns of contacts:
Organization (by name), Contact Protocol, Contact Label, Contact URI, and ID, Integration. The vendor's other columns, and
rows of addresses, are passed over. A row with an ID changes what has it here.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 rows or files were refused, 130 interrupted.

Examples:
  gateway import organizations.csv contacts.csv --account acme --ignore-ids --dry-run
  gateway import contacts.csv --account acme --on-error skip`,
    )
    .action(async (paths: string[], options: ImportOptions) => {
      // Loaded only now: nobody else has a use for what reads files.
      const { runImport } = await import('./import-run.ts')
      await runImport(env, paths, options)
    })
}
