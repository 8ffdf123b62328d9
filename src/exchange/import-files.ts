import type { Context } from '../domain/context.ts'
import { idOf } from '../domain/ids.ts'
import { type ImportFault, importContactsOfMany, missingText } from '../domain/import-contacts.ts'
import { faultsOfOrganization, importOrganizations, type OrganizationImport } from '../domain/import-organizations.ts'
import { findOrganizations } from '../domain/organizations.ts'
import { type ContactGroup, contactGroups, faultsOfGroup, linesText, surveyContacts } from './contact-groups.ts'
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
  /** Of a file of organizations: what it holds, until it has been imported. */
  organizations: readonly OrganizationRow[]
}

export interface Import {
  readonly ctx: Context
  readonly settings: ImportSettings
  readonly observer: ImportObserver
  /** When nothing is changed: what names of organizations would stand for that would be given or taken away. */
  readonly names: Map<string, number | 'new' | 'gone'>
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
  const surveyed: SurveyedFile = { file, refused, counts, organizations: [] }
  try {
    return await (file.format === 'contacts' ? surveyGroups : surveyTree)(surveyed, settings, observer)
  } catch (error) {
    await refused.close()
    throw error
  }
}

async function surveyGroups(
  surveyed: SurveyedFile,
  { ignoreIds, onError }: ImportSettings,
  { onProgress, isStopped }: ImportObserver,
): Promise<SurveyedFile> {
  await surveyContacts(surveyed.file, { ignoreIds, onProgress }, async (group) => {
    const faults = onError === 'stop' ? faultsOfGroup(group) : []
    if (faults.length > 0) await refuse(surveyed, group, faults)
    return !isStopped?.()
  })
  return surveyed
}

async function surveyTree(
  surveyed: SurveyedFile,
  { ignoreIds, onError }: ImportSettings,
  observer: ImportObserver,
): Promise<SurveyedFile> {
  const { rows: organizations, refused: faults } = await readOrganizations(surveyed.file, { ...observer, ignoreIds })
  if (observer.isStopped?.()) return surveyed
  if (onError === 'stop') {
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

async function importTree(job: Import, surveyed: SurveyedFile): Promise<void> {
  const { ctx, settings, observer } = job
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
      if (typeof outcome === 'string') counts[outcome] += 1
      else faults.set(batch[i]!.line, outcome)
    }
    if (settings.isDry) await noteNames(job, batch, outcomes)
    const done = from + batch.length
    observer.onProgress?.(done, (done / rows.length) * file.size)
    if (settings.onError === 'stop' && faults.size > 0) break
  }
  // What comes after needs the memory.
  surveyed.organizations = []
  await refuseLines(surveyed, faults)
}

const organizationId = idOf('Organization')

/** Notes the names that organizations would be given, and those that they would lose. */
async function noteNames(
  { ctx, names }: Import,
  rows: readonly OrganizationRow[],
  outcomes: readonly OrganizationImport[],
): Promise<void> {
  const renamed = new Map<number, string>()
  for (const [i, { name, organization }] of rows.entries()) {
    if (outcomes[i] === 'created') names.set(name, 'new')
    if (outcomes[i] === 'updated' && organization.id !== undefined)
      renamed.set(organizationId.parse(organization.id), name)
  }
  for (const { id, name } of await findOrganizations(ctx, [...renamed.keys()])) {
    if (name === renamed.get(id)) continue
    names.set(name, 'gone')
    names.set(renamed.get(id)!, id)
  }
}

async function importContacts(job: Import, surveyed: SurveyedFile): Promise<void> {
  const { settings, observer } = job
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
  for await (const group of contactGroups(surveyed.file, { ...observer, ignoreIds: settings.ignoreIds })) {
    if (isOver()) break
    groups.push(group)
    waiting += group.rows.length
    if (waiting >= rowsPerStatement || groups.length === groupsPerStatement) {
      await send(groups)
      groups = []
      waiting = 0
    }
  }
  if (groups.length > 0 && !isOver()) await send(groups)
  while (sent.length > 0) await awaitOldest()
}

/** No organization has it. */
const idOfNone = 0

/** Resolves once the database has answered, to what remains to be done in its turn. */
async function sendGroups(
  { ctx, settings, names }: Import,
  surveyed: SurveyedFile,
  groups: readonly ContactGroup[],
): Promise<() => Promise<void>> {
  // The others wait with them, so that the report is in the order of the file.
  const sound = groups.filter(
    ({ faults, contacts, replaces }) => faults.length === 0 && (contacts.length > 0 || replaces),
  )
  const place = new Map(sound.map((group, i) => [group, i]))
  const named = sound.map((group) => {
    const known = names.get(group.name)
    if (known === undefined || known === 'new') return group
    return { ...group, id: known === 'gone' ? idOfNone : known }
  })
  const { counts, refused } = await importContactsOfMany(ctx, named, settings)
  return async () => {
    for (const name of ['created', 'updated', 'unchanged', 'deleted'] as const) surveyed.counts[name] += counts[name]
    for (const group of groups) {
      surveyed.counts.addresses += group.addresses
      const at = place.get(group)
      const faults = at === undefined ? faultsOfGroup(group) : placed(group, refused.get(at) ?? [])
      const isAbsent = at !== undefined && faults.some(({ row }) => row === undefined)
      if (isAbsent && names.get(group.name) === 'new') await countNew(surveyed, group)
      else if (faults.length > 0) await refuse(surveyed, group, faults)
    }
  }
}

/** The faults of contacts by the rows that they are from. */
const placed = ({ rowOf }: ContactGroup, faults: readonly ImportFault[]): ImportFault[] =>
  faults.map(({ row, reasons }) => ({ row: row === undefined ? row : rowOf[row]!, reasons }))

/** Counts the contacts of an organization that would be new, and so would have none. */
async function countNew(surveyed: SurveyedFile, group: ContactGroup): Promise<void> {
  const faults = group.contacts.flatMap(({ id }, row) =>
    id === undefined ? [] : [{ row, reasons: [missingText(id)] }],
  )
  if (faults.length > 0) await refuse(surveyed, group, placed(group, faults))
  else surveyed.counts.created += group.contacts.length
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
