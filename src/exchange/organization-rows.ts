import { quote, readFlag } from '../domain/parse.ts'
import { CsvFault, type CsvFile, type CsvRow } from './csv-file.ts'
import { formats } from './formats.ts'

/** The tree of a file is put into order in memory. */
export const maxOrganizations = 1_000_000

export interface OrganizationRow {
  readonly line: number
  readonly name: string
  /** The name of the parent, where the row has one. */
  readonly parent: string | undefined
  /** As the rules take it. */
  readonly organization: {
    readonly id: string | undefined
    readonly name: string
    readonly parent: string | null | undefined
    readonly disabled: unknown
    readonly source: string | null | undefined
    readonly sourceID: string | null | undefined
  }
}

export interface OrganizationRows {
  /** Parents before their children, as far as both are in the file. */
  readonly rows: readonly OrganizationRow[]
  /** Why rows cannot be imported, by their line. */
  readonly refused: Map<number, readonly string[]>
}

export interface OrganizationOptions {
  /** Takes no notice of the ids: they are another system's. */
  ignoreIds: boolean
  /** So many rows and bytes of the file have been read. */
  onProgress?: (rows: number, bytes: number) => void
  /** Whether nobody wants to know any more. */
  isStopped?: () => boolean
}

/** Reads a file of organizations, and puts them into an order in which they can be imported. */
export async function readOrganizations(
  file: CsvFile,
  { ignoreIds, onProgress, isStopped }: OrganizationOptions,
): Promise<OrganizationRows> {
  const refused = new Map<number, readonly string[]>()
  const byName = new Map<string, OrganizationRow>()
  const lineOfId = new Map<string, number>()
  const nameless: OrganizationRow[] = []
  let count = 0
  for await (const batch of file.rows((bytes) => onProgress?.(count, bytes))) {
    if (isStopped?.()) break
    for (const row of batch) {
      if (row.fault === undefined && row.cells.every((cell) => cell === undefined || cell.trim() === '')) continue
      count += 1
      if (count > maxOrganizations) {
        throw new CsvFault(file.path, row.line, `a file holds at most ${maxOrganizations} organizations.`)
      }
      if (row.fault !== undefined) {
        refused.set(row.line, [row.fault])
        continue
      }
      const read = toRow(row, ignoreIds)
      const { name, organization } = read
      const reasons = [
        ...alreadyOn(byName.get(name)?.line, `Name ${quote(name)}`),
        ...alreadyOn(lineOfId.get(organization.id ?? ''), `ID ${quote(organization.id)}`),
      ]
      if (reasons.length > 0) {
        refused.set(row.line, reasons)
        continue
      }
      if (organization.id !== undefined) lineOfId.set(organization.id, row.line)
      if (name === '') nameless.push(read)
      else byName.set(name, read)
    }
  }
  return { rows: [...nameless, ...parentsFirst(byName, refused)], refused }
}

const alreadyOn = (line: number | undefined, what: string) =>
  line === undefined ? [] : [`${what} is on line ${line} already.`]

const column = (name: string) => formats.organizations.columns.indexOf(name)

const at = {
  id: column('ID'),
  name: column('Name'),
  parent: column('Parent Organization'),
  disabled: column('Disabled'),
  source: column('Source'),
  sourceId: column('Source ID'),
}

/** An empty cell takes a value away where there can be none; otherwise what is stored stays. */
function toRow({ line, cells }: CsvRow, ignoreIds: boolean): OrganizationRow {
  const emptied = (index: number) => (cells[index] === undefined ? undefined : cells[index].trim() || null)
  const id = (!ignoreIds && cells[at.id]?.trim()) || undefined
  const name = cells[at.name]?.trim() ?? ''
  const parent = emptied(at.parent)
  const disabled = cells[at.disabled]?.trim() ? readFlag(cells[at.disabled]) : undefined
  const [source, sourceID] = [emptied(at.source), emptied(at.sourceId)]
  return { line, name, parent: parent ?? undefined, organization: { id, name, parent, disabled, source, sourceID } }
}

/** Those on a circle are refused; the rest comes in an order that has each parent before its children. */
function parentsFirst(
  byName: ReadonlyMap<string, OrganizationRow>,
  refused: Map<number, readonly string[]>,
): OrganizationRow[] {
  const ordered: OrganizationRow[] = []
  const done = new Set<OrganizationRow>()
  for (const start of byName.values()) {
    /** From the row up to one whose place is known. */
    const path: OrganizationRow[] = []
    const onPath = new Set<OrganizationRow>()
    let row: OrganizationRow | undefined = start
    while (row !== undefined && !done.has(row) && !onPath.has(row)) {
      path.push(row)
      onPath.add(row)
      row = row.parent === undefined ? undefined : byName.get(row.parent)
    }
    if (row !== undefined && onPath.has(row)) refuseCircle(path.slice(path.indexOf(row)), refused)
    for (const next of path.reverse()) {
      done.add(next)
      if (!refused.has(next.line)) ordered.push(next)
    }
  }
  return ordered
}

const longestCircle = 5

function refuseCircle(circle: readonly OrganizationRow[], refused: Map<number, readonly string[]>): void {
  const names = circle.slice(0, longestCircle).map(({ name }) => quote(name))
  const more = circle.length > longestCircle ? [`${circle.length - longestCircle} more`] : []
  const way = [...names, ...more, names[0]].join(' beneath ')
  for (const { line } of circle) refused.set(line, [`Parent Organization makes a circle: ${way}.`])
}
