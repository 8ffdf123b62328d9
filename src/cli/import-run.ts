import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { getSystemErrorMessage } from 'node:util'
import type { Database } from '../db/client.ts'
import { createAccount, findAccount } from '../domain/accounts.ts'
import { allPermissions } from '../domain/context.ts'
import { CsvFault, type CsvFile, openCsvFile } from '../exchange/csv-file.ts'
import { type Import, type ImportSettings, importFile, type SurveyedFile, survey } from '../exchange/import-files.ts'
import { withDatabase } from './database.ts'
import { describeFailure, exitCodes, OperatorError } from './failure.ts'
import type { ImportOptions } from './import.ts'
import { Progress, say } from './progress.ts'
import { interruption } from './stop.ts'

const poolSize = 3

/** Imports files: all of them are looked through before the first is imported. */
export async function runImport(env: NodeJS.ProcessEnv, paths: readonly string[], options: ImportOptions) {
  const signal = interruption()
  signal.addEventListener('abort', () => say('Ending after what is under way. Once more ends it at once.'))
  const settings = { isDry: options.dryRun, ignoreIds: options.ignoreIds, onError: options.onError }
  await requireFolder(options.failed)
  const files = await openAll(paths, options)
  requireApart(files, options.failed)
  const surveyed: SurveyedFile[] = []
  try {
    await forEach(files, async (file, i) => {
      if (signal.aborted) return
      surveyed.push(await surveyWithProgress(file, failedPath(files, i, options.failed), settings, signal))
    })
    const isRefused = settings.onError === 'stop' && surveyed.some(({ counts }) => counts.failed > 0)
    if (signal.aborted) {
      say('Stopped. Nothing was imported.')
      process.exitCode = exitCodes.interrupted
    } else if (isRefused) {
      for (const { file, refused, counts } of surveyed) {
        if (counts.failed > 0) say(`${file.path}: ${refusedText(counts.failed)}; ${refused.path} has the reasons.`)
      }
      say('Nothing was imported. --on-error skip imports the other organizations.')
      process.exitCode = exitCodes.refused
    } else await withDatabase(env, (db) => importAll(db, surveyed, settings, options.account, signal), poolSize)
  } finally {
    for (const { refused } of surveyed) await refused.close()
  }
}

const refusedText = (rows: number) => (rows === 1 ? '1 row is refused' : `${rows} rows are refused`)

/** That rows cannot be reported is told before there are any. */
async function requireFolder(folder: string): Promise<void> {
  try {
    if (!(await stat(folder)).isDirectory()) throw new OperatorError(`${folder} is not a folder.${another}`)
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException
    if (errno === undefined) throw error
    throw new OperatorError(`The folder ${folder} cannot be written: ${getSystemErrorMessage(errno)}.${another}`)
  }
}

const another = ' --failed names the folder for the rows that are refused.'

/** Opens all files, those of organizations first, or tells all that is wrong with any of them. */
async function openAll(paths: readonly string[], { ignoreUnknownColumns }: ImportOptions): Promise<CsvFile[]> {
  const files: CsvFile[] = []
  await forEach(paths, async (path) => {
    const file = await openCsvFile(path, { ignoreUnknownColumns })
    for (const [columns, what] of [
      [file.passedOver, 'not kept here'],
      [file.unknown, 'unknown'],
    ] as const) {
      if (columns.length > 0) say(`${path}: passing over what is ${what}: ${columns.join(', ')}.`)
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

/** A report must not take the place of a file that is to be read, such as the mended report of an earlier import. */
function requireApart(files: readonly CsvFile[], folder: string): void {
  const reports = files.map((_, i) => resolve(failedPath(files, i, folder)))
  const file = files.find(({ path }) => reports.includes(resolve(path)))
  if (!file) return
  throw new OperatorError(
    `${file.path} is to be imported, and would be written over by rows that are refused. Import it by itself, or name another folder by --failed.`,
  )
}

async function surveyWithProgress(
  file: CsvFile,
  failed: string,
  settings: ImportSettings,
  signal: AbortSignal,
): Promise<SurveyedFile> {
  const progress = new Progress(undefined, `rows of ${file.path} looked through`)
  try {
    return await survey(file, failed, settings, observerOf(file, progress, signal))
  } finally {
    progress.end()
  }
}

const observerOf = ({ size }: CsvFile, progress: Progress, signal: AbortSignal) => ({
  onProgress: (rows: number, bytes: number) => progress.update(rows, bytes / size),
  isStopped: () => signal.aborted,
})

async function importAll(
  db: Database,
  files: readonly SurveyedFile[],
  settings: ImportSettings,
  accountName: string,
  signal: AbortSignal,
): Promise<void> {
  const existing = await findAccount(db, accountName.trim())
  // No account has the id 0: with nothing to be changed, an account that is not there is an empty one.
  const account = existing?.id ?? (settings.isDry ? 0 : (await createAccount(db, accountName)).id)
  const ctx = { db, account, permissions: allPermissions }
  const names: Import['names'] = new Map()
  for (const surveyed of files) {
    const { file, refused, counts } = surveyed
    const progress = new Progress(undefined, `rows of ${file.path} imported`)
    const observer = observerOf(file, progress, signal)
    try {
      await importFile({ ctx, settings, observer, names }, surveyed)
    } catch (error) {
      progress.end()
      process.stdout.write(`${tell(surveyed, settings)}.\n`)
      throw settings.isDry ? failureOf(error) : goingOn(error)
    }
    progress.end()
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
    if (signal.aborted) {
      process.stdout.write('Stopped: the same command goes on from there.\n')
      process.exitCode = exitCodes.interrupted
      return
    }
  }
}

const failureOf = (error: unknown) => (error instanceof CsvFault ? new OperatorError(error.message) : error)

const goingOn = (error: unknown) =>
  new OperatorError(
    `${describeFailure(failureOf(error))}\nWhat was imported before stays. The same command goes on from there.`,
  )

function tell({ file, counts }: SurveyedFile, { isDry }: ImportSettings): string {
  const { created, updated, unchanged, deleted, failed, addresses } = counts
  return [
    `${file.path}: ${isDry ? 'a dry run, nothing was changed: ' : ''}${file.format}: ${created} created`,
    ...[`${updated} updated`, `${unchanged} unchanged`],
    ...(file.format === 'contacts' ? [`${deleted} deleted`] : []),
    `${failed} failed`,
    ...(addresses > 0 ? [`${addresses} ${addresses === 1 ? 'row' : 'rows'} of addresses passed over`] : []),
  ].join(', ')
}
