import { channelNames } from '../domain/channels.ts'
import { contactId, partsWithoutChannel } from '../domain/contacts.ts'
import { faultsOf, type ImportFault } from '../domain/import-contacts.ts'
import { issuesOf, quote, readFlag } from '../domain/parse.ts'
import { CsvFault, type CsvFile, type CsvRow } from './csv-file.ts'
import { formats } from './formats.ts'
import { hashOf, NameSet } from './name-set.ts'

/** More rows of one organization than this would not fit into one statement, by which they are imported. */
export const maxRowsOfOrganization = 10_000

/** The rows of one organization, which are together in the file. */
export interface ContactGroup {
  readonly name: string
  readonly rows: readonly CsvRow[]
  /** Whether the contacts of the integration that are not named are removed: a row is of the integration. */
  readonly replaces: boolean
  /** As the rules take them; `rowOf` tells of each which row it is. */
  readonly contacts: readonly { readonly id: string | undefined; readonly contact: object }[]
  readonly rowOf: readonly number[]
  /** Why rows cannot even be read as contacts. */
  readonly faults: readonly ImportFault[]
  readonly addresses: number
}

export interface ReadOptions {
  /** Takes no notice of the ids: they are another system's. */
  ignoreIds: boolean
  /** So many rows and bytes of the file have been read. */
  onProgress?: (rows: number, bytes: number) => void
}

/** So many rows in a row may belong to a neighbour of theirs. */
const maxStrays = 1000

/**
 * Reads a file of contacts by organizations, in the order of the file. Rows that do not tell whose they are spoil the
 * organizations between which they stand: to leave them out could remove what they name.
 */
export async function* contactGroups(
  file: CsvFile,
  { ignoreIds, onProgress }: ReadOptions,
): AsyncGenerator<ContactGroup> {
  let count = 0
  let name = ''
  let rows: CsvRow[] = []
  /** Rows after these that do not tell whose they are. */
  let strays: CsvRow[] = []
  /** Why the organization is spoiled by rows before it. */
  let spoiled: ImportFault[] = []
  const take = (more: readonly CsvRow[]) => {
    const own = more.length > 0 ? [spoiledBy(more)] : []
    const group = toGroup(name, [...rows, ...more], [...spoiled, ...own], ignoreIds)
    spoiled = own
    return group
  }
  for await (const batch of file.rows((bytes) => onProgress?.(count, bytes))) {
    for (const row of batch) {
      if (isEmpty(row)) continue
      count += 1
      const named = nameIn(row)
      if (named !== '' && named === name) rows.push(...strays.splice(0), row)
      else if (isStray(row, file) && strays.length < maxStrays) strays.push(row)
      else {
        const theirs = strays.findLastIndex((stray) => nameIn(stray) !== named) + 1
        const lost = strays.slice(0, theirs)
        if (rows.length + lost.length > 0) yield take(lost)
        rows = [...strays.slice(theirs), row]
        name = named
        strays = []
      }
      if (rows.length > maxRowsOfOrganization) {
        const limit = `at most ${maxRowsOfOrganization} are allowed for one organization`
        throw new CsvFault(file.path, row.line, `this is row ${rows.length} of ${quote(name)}; ${limit}.`)
      }
    }
  }
  if (rows.length + strays.length > 0) yield take(strays)
}

const nameIn = ({ cells }: CsvRow) => cells[at.organization]?.trim() ?? ''

/** Whether a row may be of another organization than it says: there may be a delimiter in the name. */
const isStray = (row: CsvRow, { header }: CsvFile) => {
  const name = nameIn(row)
  return name === '' || name.includes('\0') || row.raw.length !== header.length
}

const spoiledBy = (strays: readonly CsvRow[]): ImportFault => ({
  row: undefined,
  reasons: [`Left out with ${linesText(strays.map(({ line }) => line))}, which may be of the same organization.`],
})

const mostLines = 5

/** Lines, for a message. */
export function linesText(lines: readonly number[]): string {
  if (lines.length === 1) return `line ${lines[0]}`
  const shown = lines.slice(0, mostLines).join(', ')
  return `lines ${shown}${lines.length > mostLines ? ` and ${lines.length - mostLines} more` : ''}`
}

const column = (name: string) => formats.contacts.columns.indexOf(name)

const at = {
  id: column('ID'),
  organization: column('Organization'),
  protocol: column('Contact Protocol'),
  label: column('Contact Label'),
  uri: column('Contact URI'),
  integration: column('Integration'),
}
const addressColumns = formats.contacts.columns.flatMap((name, i) => (name.startsWith('Address ') ? [i] : []))

const isBlank = (cell: string | undefined) => cell === undefined || cell.trim() === ''
const isEmpty = ({ fault, cells }: CsvRow) => fault === undefined && cells.every(isBlank)

function toGroup(
  name: string,
  rows: readonly CsvRow[],
  spoiled: readonly ImportFault[],
  ignoreIds: boolean,
): ContactGroup {
  const contacts: { id: string | undefined; contact: object }[] = []
  const rowOf: number[] = []
  const faults = [...spoiled]
  let addresses = 0
  let replaces = false
  for (const [row, { cells, fault }] of rows.entries()) {
    const integration = isBlank(cells[at.integration]) ? undefined : readFlag(cells[at.integration])
    replaces ||= integration === true
    if (fault !== undefined) {
      faults.push({ row, reasons: [fault] })
      continue
    }
    const isOwned = !isBlank(cells[at.organization])
    if (!isOwned) faults.push({ row, reasons: ["Organization can't be blank."] })
    if (isAddress(cells)) {
      // Where it spoils the organization, it counts as a row that failed.
      if (isOwned) addresses += 1
      continue
    }
    const id = ignoreIds || isBlank(cells[at.id]) ? undefined : cells[at.id]!.trim()
    const label = cells[at.label]?.trim().toLowerCase() || undefined
    const protocol = cells[at.protocol]?.trim().toLowerCase() ?? ''
    if (channelNames.some((channel) => channel === protocol)) {
      contacts.push({ id, contact: { [protocol]: { label, value: cells[at.uri], integration } } })
      rowOf.push(row)
    } else {
      const others = issuesOf(rowWithoutChannel, { id, label, integration }).map(({ message }) => message)
      faults.push({ row, reasons: [protocolText(protocol), ...others] })
    }
  }
  return { name, rows, replaces, contacts, rowOf, faults, addresses }
}

/** What can be judged of a row all the same where its channel is unknown. */
const rowWithoutChannel = partsWithoutChannel.extend({ id: contactId.optional() })

const protocolText = (protocol: string) =>
  protocol === ''
    ? "Contact Protocol can't be blank."
    : `Contact Protocol ${quote(protocol)} is not one of ${channelNames.join(', ')}.`

const isAddress = (cells: CsvRow['cells']) =>
  isBlank(cells[at.protocol]) &&
  isBlank(cells[at.label]) &&
  isBlank(cells[at.uri]) &&
  addressColumns.some((i) => !isBlank(cells[i]))

/** All that is wrong with a group, whatever is stored; `row` is the position in its rows. */
export function faultsOfGroup({ faults, contacts, rowOf }: ContactGroup): ImportFault[] {
  return [...faults, ...faultsOf(contacts).map(({ row, reasons }) => ({ row: rowOf[row!]!, reasons }))]
}

/**
 * Reads a file to its end before anything is imported: throws a CsvFault where it cannot be read, or where the rows of an
 * organization are not together. `onGroup` is shown each organization, and may end it by false.
 */
export async function surveyContacts(
  file: CsvFile,
  options: ReadOptions,
  onGroup: (group: ContactGroup) => Promise<boolean>,
  hash = hashOf,
): Promise<void> {
  const seen = new NameSet(hash)
  /** Names that seem to have been there before, by their hash. */
  const suspects = new Set<number>()
  for await (const group of contactGroups(file, options)) {
    if (group.name !== '' && seen.add(group.name)) suspects.add(hash(group.name))
    if (!(await onGroup(group))) return
  }
  if (suspects.size === 0) return
  const lines = new Map<string, number>()
  for await (const { name, rows } of contactGroups(file, { ignoreIds: options.ignoreIds })) {
    if (name === '' || !suspects.has(hash(name))) continue
    const first = lines.get(name)
    if (first !== undefined) {
      const reason = `the rows of ${quote(name)} are not together: others begin on line ${first}. Sort the file by Organization.`
      throw new CsvFault(file.path, rows[0]!.line, reason)
    }
    lines.set(name, rows[0]!.line)
  }
}
