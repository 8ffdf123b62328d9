import { Argument, Command, Option } from 'commander'
import type { Database } from '../db/client.ts'
import { demoAccount, findAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import {
  countExportedContacts,
  countExportedOrganizations,
  type ExportScope,
  exportContacts,
  exportOrganizations,
  findByIdOrName,
} from '../domain/export.ts'
import type { CsvOptions, Writer } from '../exchange/write.ts'
import { withDatabase } from './database.ts'
import { exitCodes, OperatorError } from './failure.ts'
import { parseInstant } from './instant.ts'
import { ReaderGone, type Write, withOutput } from './output.ts'
import { Progress } from './progress.ts'
import { interruption } from './stop.ts'

const kinds = ['organizations', 'contacts'] as const
type Kind = (typeof kinds)[number]

interface ExportOptions extends CsvOptions {
  account: string
  format: 'csv' | 'jsonl'
  organization?: string[]
  since?: Date
  output?: string
}

export function exportCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('export')
    .description(
      'Write organizations or contacts as CSV in the vendor\'s format, which "import" reads, or as JSON Lines. Organizations are in the order of their names, contacts in that of their organizations, as lists show them. What changes meanwhile may be there as it was or as it has become; what is renamed may be missing, or there twice.',
    )
    .addArgument(new Argument('<what>', 'what to write').choices(kinds))
    .option('--account <name>', 'whose they are', demoAccount)
    .addOption(
      new Option('--format <format>', 'csv, or jsonl: an object a line, with all that there is to tell')
        .choices(['csv', 'jsonl'])
        .default('csv'),
    )
    .addOption(
      new Option('--delimiter <delimiter>', 'what stands between the cells of CSV')
        .choices(['comma', 'semicolon', 'tab'])
        .default('comma'),
    )
    .option(
      '--ids',
      'write the ids into CSV too, by which "import" finds again what has been renamed; in another account they mean nothing',
    )
    .option('--organization <id...>', 'only these, by id, or else by name, and only their contacts')
    .option(
      '--since <when>',
      'only what was created or changed then or later: a date (in UTC) or an instant; what was removed cannot be told',
      parseInstant,
    )
    .option('--output <file>', 'where to write; the file is there once it is whole (default: standard output)')
    .addHelpText(
      'after',
      `
In CSV, a text that a spreadsheet would take for a formula has a tab before it; "import" takes it away.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Examples:
  gateway export organizations --output organizations.csv
  gateway export contacts --organization 'Best IT' --format jsonl
  gateway export contacts --since 2026-01-31 --delimiter semicolon --output contacts.csv`,
    )
    .action(async (kind: Kind, options: ExportOptions) => {
      const signal = interruption()
      try {
        const { rows, rate } = await withOutput(options.output, (write) =>
          withDatabase(env, (db) => unlessAborted(signal, writeAll(db, kind, options, write, signal))),
        )
        process.stderr.write(`${rows} ${kind} were exported, ${rate} a second.\n`)
      } catch (error) {
        if (error instanceof ReaderGone) return
        if (!signal.aborted) throw error
        process.stderr.write('The export was interrupted.\n')
        process.exitCode = exitCodes.interrupted
      }
    })
}

/** Does not wait for work whose end nobody wants any more. */
async function unlessAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  const aborted = Promise.withResolvers<never>()
  const abort = () => aborted.reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort)
  return Promise.race([work, aborted.promise])
}

async function writeAll(
  db: Database,
  kind: Kind,
  options: ExportOptions,
  write: Write,
  signal: AbortSignal,
): Promise<{ rows: number; rate: number }> {
  const account = await findAccount(db, options.account)
  if (!account) throw new OperatorError(`There is no account of the name ${JSON.stringify(options.account)}.`)
  const ctx = { db, account: account.id, permissions: allPermissions }
  const scope = { organizations: await idsOf(ctx, options.organization), since: options.since }
  const { parts, count } = await exportOf[kind](ctx, scope, options)

  // On a terminal it would stand between the rows.
  const isTold = options.output !== undefined || !process.stdout.isTTY
  const progress = isTold ? new Progress(await count(), 'rows') : undefined
  const startedAt = performance.now()
  let done = 0
  // An interruption is told on a line of its own, at once.
  signal.addEventListener('abort', () => progress?.end())
  try {
    for await (const { text, rows } of parts) {
      await write(text)
      signal.throwIfAborted()
      done += rows
      if (rows > 0) progress?.update(done)
    }
  } finally {
    progress?.end()
  }
  return { rows: done, rate: Math.round(done / ((performance.now() - startedAt) / 1000)) }
}

async function idsOf(ctx: Context, given: readonly string[] | undefined): Promise<readonly number[] | undefined> {
  if (!given) return undefined
  const { ids, unknown } = await findByIdOrName(ctx, given)
  if (unknown.length > 0)
    throw new OperatorError(unknown.map((text) => `There is no organization ${JSON.stringify(text)}.`).join('\n'))
  return ids
}

/** A piece of what is written, and how many rows are in it. */
interface Part {
  text: string
  rows: number
}

interface Export {
  parts: AsyncIterable<Part>
  /** How many rows there will be, about. */
  count(): Promise<number>
}

const exportOf: Record<Kind, (ctx: Context, scope: ExportScope, options: ExportOptions) => Promise<Export>> = {
  async organizations(ctx, scope, options) {
    const { organizationsAsCsv, organizationsAsJsonLines } = await import('../exchange/write.ts')
    const writer = options.format === 'csv' ? organizationsAsCsv(options) : organizationsAsJsonLines
    return {
      parts: partsOf(exportOrganizations(ctx, scope), writer, (rows) => rows.length),
      count: () => countExportedOrganizations(ctx, scope),
    }
  },
  async contacts(ctx, scope, options) {
    const { contactsAsCsv, contactsAsJsonLines } = await import('../exchange/write.ts')
    const writer = options.format === 'csv' ? contactsAsCsv(options) : contactsAsJsonLines
    return {
      parts: partsOf(exportContacts(ctx, scope), writer, (groups) =>
        groups.reduce((sum, { contacts }) => sum + contacts.length, 0),
      ),
      count: () => countExportedContacts(ctx, scope),
    }
  },
}

async function* partsOf<Item>(
  pages: AsyncIterable<readonly Item[]>,
  { head, write }: Writer<Item>,
  rowsIn: (items: readonly Item[]) => number,
): AsyncGenerator<Part> {
  yield { text: head, rows: 0 }
  for await (const items of ahead(pages)) yield { text: write(items), rows: rowsIn(items) }
}

/** Asks for the next item while the last one is worked on. */
async function* ahead<Item>(items: AsyncIterable<Item>): AsyncGenerator<Item> {
  const iterator = items[Symbol.asyncIterator]()
  const ask = () => {
    const answer = iterator.next()
    // It is awaited in its turn; until then a failure is not to end the process.
    answer.catch(() => {})
    return answer
  }
  let next = ask()
  for (;;) {
    const { done, value } = await next
    if (done) return
    next = ask()
    yield value
  }
}
