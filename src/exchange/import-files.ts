import type { Context } from '../domain/context.ts'
import { type ImportFault, importContactsOfMany } from '../domain/import-contacts.ts'
import { faultsOfOrganization, importOrganizations } from '../domain/import-organizations.ts'
import { type ContactGroup, contactGroups, faultsOfGroup, surveyContacts } from './contact-groups.ts'
import type { CsvFile, CsvRow } from './csv-file.ts'
import { type OrganizationRow, readOrganizations } from './organization-rows.ts'
import { RefusedRows } from './refused-rows.ts'

export interface ImportSettings {
  /** Changes nothing, and counts what would be changed. */
  readonly isDry: boolean
  readonly ignoreIds: boolean
  /** Whether the import ends with the first row that is refused, or goes on without its organization. */
  readonly onError: 'stop' | 'skip'
}

/** Follows an import, and may end it. */
export interface ImportObserver {
  /** So many rows and bytes of the file have been read. */
  onProgress?(rows: number, bytes: number): void
  /** Whether to end: what has been sent is awaited. */
  isStopped?(): boolean
}

export interface FileCounts {
  created: number
  updated: number
  unchanged: number
  deleted: number
  failed: number
  addresses: number
}

/** A file that was looked through, and can be imported. */
export interface SurveyedFile {
  readonly file: CsvFile
  /** To be closed in the end. */
  readonly refused: RefusedRows
  readonly counts: FileCounts
  /** Of a file of organizations: what it holds. */
  readonly organizations: readonly OrganizationRow[]
}

export interface Import {
  readonly ctx: Context
  readonly settings: ImportSettings
  readonly observer: ImportObserver
  /** Organizations that are there in the end, also when nothing is changed. */
  readonly expected: Set<string>
}

/** Rows in one statement, about: enough to make round trips cheap, few enough to be memory for nobody. */
const rowsPerStatement = 4000
const groupsPerStatement = 1000
const organizationsPerStatement = 2000
/** One batch is read while the database works on another. */
const statementsAtOnce = 2

/**
 * Reads a file to its end before anything is imported: throws a CsvFault where it cannot be read. Where the import ends with
 * the first refusal, all that is wrong with the rows by themselves is told now, and nothing is imported.
 */
export async function survey(
  file: CsvFile,
  refusedPath: string,
  settings: ImportSettings,
  observer: ImportObserver,
): Promise<SurveyedFile> {
  const refused = new RefusedRows(refusedPath, file)
  const counts: FileCounts = { created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0, addresses: 0 }
  let rows = 0
  const options = { ignoreIds: settings.ignoreIds, onBytes: (bytes: number) => observer.onProgress?.(rows, bytes) }
  const surveyed: SurveyedFile = { file, refused, counts, organizations: [] }
  if (file.format === 'contacts') {
    await surveyContacts(file, options, async (group) => {
      rows += group.rows.length
      const faults = settings.onError === 'stop' ? faultsOfGroup(group) : []
      if (faults.length > 0) await refuse(surveyed, group, faults)
    })
    return surveyed
  }
  const { rows: organizations, refused: faults } = await readOrganizations(file, options)
  if (settings.onError === 'stop') {
    for (const { line, organization } of organizations) {
      const reasons = faultsOfOrganization(organization)
      if (reasons.length > 0) faults.set(line, reasons)
    }
  }
  await refuseLines(surveyed, faults)
  return { ...surveyed, organizations }
}

/** Imports a file that was surveyed. With `onError: 'stop'` it may end before its end, by what only the database knows. */
export function importFile(job: Import, surveyed: SurveyedFile): Promise<void> {
  return surveyed.file.format === 'contacts' ? importContacts(job, surveyed) : importTree(job, surveyed)
}

async function importTree({ ctx, settings, observer, expected }: Import, surveyed: SurveyedFile): Promise<void> {
  const { file, organizations: rows, counts } = surveyed
  const faults = new Map<number, readonly string[]>()
  // When nothing is written, the database must see all of the tree at once.
  const size = settings.isDry ? rows.length : organizationsPerStatement
  for (let from = 0; from < rows.length && !observer.isStopped?.(); from += size) {
    const batch = rows.slice(from, from + size)
    const outcomes = await importOrganizations(
      ctx,
      batch.map(({ organization }) => organization),
      settings,
    )
    for (const [i, outcome] of outcomes.entries()) {
      const { line, name } = batch[i]!
      if (typeof outcome === 'string') {
        counts[outcome] += 1
        expected.add(name)
      } else faults.set(line, outcome)
    }
    const done = from + batch.length
    observer.onProgress?.(done, (done / rows.length) * file.size)
    if (settings.onError === 'stop' && faults.size > 0) break
  }
  await refuseLines(surveyed, faults)
}

async function importContacts(job: Import, surveyed: SurveyedFile): Promise<void> {
  const { settings, observer } = job
  let rows = 0
  const options = {
    ignoreIds: settings.ignoreIds,
    onBytes: (bytes: number) => observer.onProgress?.(rows, bytes),
  }
  /** Sent, but not yet answered. */
  const sent: Promise<() => Promise<void>>[] = []
  const awaitOldest = async () => (await sent.shift()!)()
  const send = async (groups: readonly ContactGroup[]) => {
    const answer = sendGroups(job, surveyed, groups)
    // It is awaited in its turn; until then a failure is not to end the process.
    answer.catch(() => {})
    sent.push(answer)
    if (sent.length === statementsAtOnce) await awaitOldest()
  }
  const isOver = () => observer.isStopped?.() || (settings.onError === 'stop' && surveyed.refused.count > 0)

  let groups: ContactGroup[] = []
  let waiting = 0
  for await (const group of contactGroups(surveyed.file, options)) {
    if (isOver()) break
    rows += group.rows.length
    surveyed.counts.addresses += group.addresses
    if (group.faults.length > 0) await refuse(surveyed, group, faultsOfGroup(group))
    else if (group.contacts.length > 0 || group.replaces) {
      groups.push(group)
      waiting += group.contacts.length
      if (waiting >= rowsPerStatement || groups.length === groupsPerStatement) {
        await send(groups)
        groups = []
        waiting = 0
      }
    }
  }
  if (groups.length > 0 && !isOver()) await send(groups)
  while (sent.length > 0) await awaitOldest()
}

/** Resolves once the database has answered, to what remains to be done in its turn. */
async function sendGroups(
  { ctx, settings, expected }: Import,
  surveyed: SurveyedFile,
  groups: readonly ContactGroup[],
): Promise<() => Promise<void>> {
  const { counts, refused } = await importContactsOfMany(ctx, groups, settings)
  return async () => {
    for (const name of ['created', 'updated', 'unchanged', 'deleted'] as const) surveyed.counts[name] += counts[name]
    for (const [i, faults] of refused) {
      const group = groups[i]!
      const isAbsent = faults.some(({ row }) => row === undefined)
      if (settings.isDry && isAbsent && expected.has(group.name)) surveyed.counts.created += group.contacts.length
      else {
        const placed = faults.map(({ row, reasons }) => ({ row: row === undefined ? row : group.rowOf[row]!, reasons }))
        await refuse(surveyed, group, placed)
      }
    }
  }
}

/** Refuses all rows of an organization: those without a fault of their own are left out with the others. */
async function refuse({ refused, counts }: SurveyedFile, group: ContactGroup, faults: readonly ImportFault[]) {
  const reasons = new Map<number | undefined, readonly string[]>()
  for (const { row, reasons: more } of faults) reasons.set(row, [...(reasons.get(row) ?? []), ...more])
  const lines = [...reasons.keys()].flatMap((row) => (row === undefined ? [] : group.rows[row]!.line)).sort(byNumber)
  const shared = reasons.get(undefined) ?? [`Left out with ${linesText(lines)}, of the same organization.`]
  await refused.add(group.rows.map((row, i) => ({ row, reasons: reasons.get(i) ?? shared })))
  counts.failed += group.rows.length - group.addresses
}

const byNumber = (a: number, b: number) => a - b
const mostLines = 5

function linesText(lines: readonly number[]): string {
  if (lines.length === 1) return `line ${lines[0]}`
  const shown = lines.slice(0, mostLines).join(', ')
  return `lines ${shown}${lines.length > mostLines ? ` and ${lines.length - mostLines} more` : ''}`
}

/** Refuses rows that are known by their lines: they are read once more. */
async function refuseLines(
  { file, refused, counts }: SurveyedFile,
  faults: ReadonlyMap<number, readonly string[]>,
): Promise<void> {
  if (faults.size === 0) return
  counts.failed += faults.size
  for await (const batch of file.rows()) {
    const found = batch.flatMap((row: CsvRow) => {
      const reasons = faults.get(row.line)
      return reasons ? [{ row, reasons }] : []
    })
    if (found.length > 0) await refused.add(found)
  }
}
