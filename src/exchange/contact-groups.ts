import { channelNames } from '../domain/channels.ts'
import { faultsOf, type ImportFault } from '../domain/import-contacts.ts'
import { quote, readFlag } from '../domain/parse.ts'
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
  readonly contacts: readonly unknown[]
  readonly rowOf: readonly number[]
  /** Why rows cannot even be read as contacts. */
  readonly faults: readonly ImportFault[]
  readonly addresses: number
}

export interface ReadOptions {
  /** Takes no notice of the ids: they are another system's. */
  ignoreIds: boolean
  onBytes?: (bytes: number) => void
}

/** Reads a file of contacts by organizations, in the order of the file. */
export async function* contactGroups(file: CsvFile, { ignoreIds, onBytes }: ReadOptions): AsyncGenerator<ContactGroup> {
  let name = ''
  let rows: CsvRow[] = []
  for await (const batch of file.rows(onBytes)) {
    for (const row of batch) {
      if (isEmpty(row)) continue
      // A row that does not tell whose it is spoils the organization that it stands with.
      const named = row.cells[at.organization]?.trim() || name
      if (named !== name && rows.length > 0) {
        yield toGroup(name, rows, ignoreIds)
        rows = []
      }
      name = named
      rows.push(row)
      if (rows.length > maxRowsOfOrganization) {
        const limit = `at most ${maxRowsOfOrganization} are allowed for one organization`
        throw new CsvFault(file.path, row.line, `this is row ${rows.length} of ${quote(name)}; ${limit}.`)
      }
    }
  }
  if (rows.length > 0) yield toGroup(name, rows, ignoreIds)
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

function toGroup(name: string, rows: readonly CsvRow[], ignoreIds: boolean): ContactGroup {
  const contacts: unknown[] = []
  const rowOf: number[] = []
  const faults: ImportFault[] = []
  let addresses = 0
  let replaces = false
  for (const [row, { cells, fault }] of rows.entries()) {
    const integration = isBlank(cells[at.integration]) ? undefined : readFlag(cells[at.integration])
    replaces ||= integration === true
    const protocol = cells[at.protocol]?.trim().toLowerCase() ?? ''
    const reasons = [
      ...(fault === undefined ? [] : [fault]),
      ...(isBlank(cells[at.organization]) ? ["Organization can't be blank."] : []),
    ]
    if (reasons.length === 0 && isAddress(cells)) {
      addresses += 1
      continue
    }
    if (fault === undefined && !channelNames.some((channel) => channel === protocol)) {
      reasons.push(
        protocol === ''
          ? "Contact Protocol can't be blank."
          : `Contact Protocol ${quote(protocol)} is not one of ${channelNames.join(', ')}.`,
      )
    }
    if (reasons.length > 0) {
      faults.push({ row, reasons })
      continue
    }
    const label = cells[at.label]?.trim().toLowerCase() || undefined
    const id = ignoreIds || isBlank(cells[at.id]) ? undefined : cells[at.id]!.trim()
    contacts.push({ id, contact: { [protocol]: { label, value: cells[at.uri], integration } } })
    rowOf.push(row)
  }
  return { name, rows, replaces, contacts, rowOf, faults, addresses }
}

const isAddress = (cells: CsvRow['cells']) =>
  isBlank(cells[at.protocol]) &&
  isBlank(cells[at.label]) &&
  isBlank(cells[at.uri]) &&
  addressColumns.some((i) => !isBlank(cells[i]))

/** All that is wrong with a group, whatever is stored; `row` is the position in its rows. */
export function faultsOfGroup({ faults, contacts, rowOf }: ContactGroup): ImportFault[] {
  return [...faults, ...faultsOf(contacts).map(({ row, reasons }) => ({ row: rowOf[row!]!, reasons }))]
}

const maxSuspects = 1000

/**
 * Reads a file to its end before anything is imported: throws a CsvFault where it cannot be read, or where the rows of an
 * organization are not together. `onGroup` is shown each organization.
 */
export async function surveyContacts(
  file: CsvFile,
  options: ReadOptions,
  onGroup: (group: ContactGroup) => Promise<void>,
): Promise<void> {
  const seen = new NameSet()
  /** Names that seem to have been there before, by their hash. */
  const suspects = new Set<number>()
  for await (const group of contactGroups(file, options)) {
    if (seen.add(group.name)) suspects.add(hashOf(group.name))
    if (suspects.size === maxSuspects) break
    await onGroup(group)
  }
  if (suspects.size === 0) return
  const lines = new Map<string, number>()
  for await (const { name, rows } of contactGroups(file, { ignoreIds: options.ignoreIds })) {
    if (!suspects.has(hashOf(name))) continue
    const first = lines.get(name)
    if (first !== undefined) {
      const reason = `the rows of ${quote(name)} are not together: others begin on line ${first}. Sort the file by Organization.`
      throw new CsvFault(file.path, rows[0]!.line, reason)
    }
    lines.set(name, rows[0]!.line)
  }
}
