import { basename, extname, join } from 'node:path'
import { Command, Option } from 'commander'
import { demoAccount, ensureAccount, findAccount } from '../domain/accounts.ts'
import { allPermissions } from '../domain/context.ts'
import { CsvFault, type CsvFile, openCsvFile } from '../exchange/csv-file.ts'
import { type Import, type ImportSettings, importFile, type SurveyedFile, survey } from '../exchange/import-files.ts'
import { withDatabase } from './database.ts'
import { OperatorError } from './failure.ts'
import { Progress } from './progress.ts'

const poolSize = 3
const exitCodes = { refused: 3, interrupted: 130 }

interface ImportOptions {
  account: string
  dryRun: boolean
  onError: ImportSettings['onError']
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
      const interruption = new Interruption()
      const settings = { isDry: options.dryRun, ignoreIds: options.ignoreIds, onError: options.onError }
      const files = await openAll(paths, options)
      const surveyed: SurveyedFile[] = []
      try {
        await forEach(files, async (file, i) => {
          surveyed.push(await surveyWithProgress(file, failedPath(files, i, options.failed), settings, interruption))
        })
        if (interruption.isStopped) {
          process.stderr.write('Nothing was imported.\n')
          process.exitCode = exitCodes.interrupted
        } else if (settings.onError === 'stop' && surveyed.some(({ counts }) => counts.failed > 0)) {
          for (const { file, refused, counts } of surveyed) {
            if (counts.failed === 0) continue
            process.stderr.write(`${file.path}: ${counts.failed} rows are refused; ${refused.path} has the reasons.\n`)
          }
          process.stderr.write('Nothing was imported. --on-error skip imports the other organizations.\n')
          process.exitCode = exitCodes.refused
        } else
          await withDatabase(env, (db) => importAll(db, surveyed, settings, options.account, interruption), poolSize)
      } finally {
        for (const { refused } of surveyed) await refused.close()
      }
    })
}

/** The first signal ends the work after what is under way; a second one ends the process. */
class Interruption {
  isStopped = false
  constructor() {
    const stop = () => {
      this.isStopped = true
    }
    process.once('SIGINT', stop).once('SIGTERM', stop)
  }
}

/** Opens all files, those of organizations first, or tells all that is wrong with any of them. */
async function openAll(paths: readonly string[], { ignoreUnknownColumns }: ImportOptions): Promise<CsvFile[]> {
  const files: CsvFile[] = []
  await forEach(paths, async (path) => {
    const file = await openCsvFile(path, { ignoreUnknownColumns })
    for (const [columns, what] of [
      [file.passedOver, 'not kept here'],
      [file.unknown, 'unknown'],
    ] as const) {
      if (columns.length > 0) process.stderr.write(`${path}: passing over what is ${what}: ${columns.join(', ')}.\n`)
    }
    files.push(file)
  })
  return files.sort((a, b) => Number(a.format === 'contacts') - Number(b.format === 'contacts'))
}

/** Does something for each of several, and tells the faults of all files that have one. */
async function forEach<Item>(items: readonly Item[], work: (item: Item, i: number) => Promise<void>): Promise<void> {
  const faults: CsvFault[] = []
  for (const [i, item] of items.entries()) {
    try {
      await work(item, i)
    } catch (error) {
      if (!(error instanceof CsvFault)) throw error
      faults.push(error)
    }
  }
  if (faults.length === 0) return
  const message = [...faults.map((fault) => fault.message), 'Nothing was imported.'].join('\n')
  throw new OperatorError(message, exitCodes.refused)
}

/** Files of the same name, from several folders, are told apart by their number. */
function failedPath(files: readonly CsvFile[], i: number, folder: string): string {
  const name = ({ path }: CsvFile) => basename(path, extname(path))
  const own = name(files[i]!)
  const isShared = files.some((file, other) => other !== i && name(file) === own)
  return join(folder, `${own}${isShared ? `.${i + 1}` : ''}.failed.csv`)
}

async function surveyWithProgress(
  file: CsvFile,
  failed: string,
  settings: ImportSettings,
  interruption: Interruption,
): Promise<SurveyedFile> {
  const progress = new Progress(undefined, `rows of ${file.path} looked through`)
  try {
    return await survey(file, failed, settings, observerOf(file, progress, interruption))
  } finally {
    progress.end()
  }
}

const observerOf = ({ size }: CsvFile, progress: Progress, interruption: Interruption) => ({
  onProgress: (rows: number, bytes: number) => progress.update(rows, bytes / size),
  isStopped: () => interruption.isStopped,
})

async function importAll(
  db: Import['ctx']['db'],
  files: readonly SurveyedFile[],
  settings: ImportSettings,
  accountName: string,
  interruption: Interruption,
): Promise<void> {
  // No account has the id 0: with nothing to be changed, an account that is not there is an empty one.
  const account = settings.isDry
    ? ((await findAccount(db, accountName))?.id ?? 0)
    : await ensureAccount(db, accountName)
  const ctx = { db, account, permissions: allPermissions }
  const expected = new Set<string>()
  for (const surveyed of files) {
    const { file, refused, counts } = surveyed
    const progress = new Progress(undefined, `rows of ${file.path} imported`)
    const observer = observerOf(file, progress, interruption)
    try {
      await importFile({ ctx, settings, observer, expected }, surveyed)
    } finally {
      progress.end()
    }
    const done = counts.created + counts.updated + counts.unchanged
    process.stdout.write(`${tell(surveyed, settings)}, ${progress.rate(done)} rows a second.\n`)
    if (refused.count > 0) {
      process.stdout.write(`The rows that failed are in ${refused.path}, with their lines and the reasons.\n`)
      process.exitCode = exitCodes.refused
      if (settings.onError === 'stop') {
        process.stdout.write('Stopped there. What was imported before stays; --on-error skip goes on.\n')
        return
      }
    }
    if (interruption.isStopped) {
      process.stdout.write('Stopped: the same command goes on from there.\n')
      process.exitCode = exitCodes.interrupted
      return
    }
  }
}

function tell({ file, counts }: SurveyedFile, { isDry }: ImportSettings): string {
  const { created, updated, unchanged, deleted, failed, addresses } = counts
  return [
    `${file.path}: ${isDry ? 'a dry run, nothing was changed: ' : ''}${file.format}: ${created} created`,
    ...[`${updated} updated`, `${unchanged} unchanged`],
    ...(file.format === 'contacts' ? [`${deleted} deleted`] : []),
    `${failed} failed`,
    ...(addresses > 0 ? [`${addresses} rows of addresses passed over`] : []),
  ].join(', ')
}
