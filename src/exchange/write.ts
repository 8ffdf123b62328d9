import { stringify } from 'csv-stringify/sync'
import type { Contact } from '../domain/contacts.ts'
import type { ContactGroup, ExportedOrganization, NamedOrganization } from '../domain/export.ts'
import { type FormatName, formats, guard } from './formats.ts'

/** Turns what is exported into the text of a file, part by part. */
export interface Writer<Item> {
  /** What comes before the first item, also where there is none. */
  readonly head: string
  write(items: readonly Item[]): string
}

/** What stands between two cells of a line. */
export const delimiters = { comma: ',', semicolon: ';', tab: '\t' } as const
export type Delimiter = keyof typeof delimiters

export interface CsvOptions {
  readonly delimiter: Delimiter
  /** Whether the ids are written as well: they mean something to the account that they are from alone. */
  readonly ids?: boolean | undefined
}

/** A contact with the organization that it belongs to. */
interface OwnedContact {
  readonly organization: NamedOrganization
  readonly contact: Contact
}

type Cells<Row> = Readonly<Record<string, (row: Row) => string>>

const organizationCells: Cells<ExportedOrganization> = {
  ID: ({ id }) => String(id),
  Source: ({ source }) => guard(source ?? ''),
  'Source ID': ({ sourceId }) => guard(sourceId ?? ''),
  Disabled: ({ disabled }) => String(disabled),
  Name: ({ name }) => guard(name),
  'Parent Organization': ({ parentName }) => guard(parentName ?? ''),
}

const contactCells: Cells<OwnedContact> = {
  ID: ({ contact }) => String(contact.id),
  Organization: ({ organization }) => guard(organization.name),
  'Contact Protocol': ({ contact }) => contact.channel,
  'Contact Label': ({ contact }) => contact.label,
  'Contact URI': ({ contact }) => guard(contact.value),
  Integration: ({ contact }) => String(contact.integration),
}

/** Organizations in the vendor's CSV format. */
export const organizationsAsCsv = (options: CsvOptions): Writer<ExportedOrganization> =>
  asCsv('organizations', organizationCells, options, (rows) => rows)

/** Contacts in the vendor's CSV format. */
export const contactsAsCsv = (options: CsvOptions): Writer<ContactGroup> =>
  asCsv('contacts', contactCells, options, ownedContacts)

/** All of the vendor's columns, whether they are held here or not. Lines end by LF. */
function asCsv<Item, Row>(
  name: FormatName,
  cells: Cells<Row>,
  { delimiter, ids }: CsvOptions,
  rowsOf: (items: readonly Item[]) => readonly Row[],
): Writer<Item> {
  const { columns } = formats[name]
  const cellsOf = columns.map((column) => (column === 'ID' && !ids ? empty : (cells[column] ?? empty)))
  const text = (lines: string[][]) => stringify(lines, { delimiter: delimiters[delimiter] })
  return {
    head: text([[...columns]]),
    write: (items) => text(rowsOf(items).map((row) => cellsOf.map((cellOf) => cellOf(row)))),
  }
}

const empty = () => ''

const ownedContacts = (groups: readonly ContactGroup[]): OwnedContact[] =>
  groups.flatMap(({ organization, contacts }) => contacts.map((contact) => ({ organization, contact })))

/** Organizations as JSON, one a line, under the names that the REST API has for their fields. */
export const organizationsAsJsonLines: Writer<ExportedOrganization> = asJsonLines(
  (rows) => rows,
  (row) => ({
    id: row.id,
    name: row.name,
    parent: row.parentId === null ? null : { id: row.parentId, name: row.parentName },
    disabled: row.disabled,
    source: row.source,
    sourceID: row.sourceId,
    created_at: row.createdAt,
    updated_at: row.updatedAt,
  }),
)

/** Contacts as JSON, one a line, under the names that the REST API has for their fields, and each with its organization. */
export const contactsAsJsonLines: Writer<ContactGroup> = asJsonLines(ownedContacts, ({ organization, contact }) => ({
  id: contact.id,
  organization: { id: organization.id, name: organization.name },
  label: contact.label,
  [contact.channel]: contact.value,
  integration: contact.integration,
  version: contact.version,
  created_at: contact.createdAt,
  updated_at: contact.updatedAt,
}))

function asJsonLines<Item, Row>(
  rowsOf: (items: readonly Item[]) => readonly Row[],
  objectOf: (row: Row) => object,
): Writer<Item> {
  return {
    head: '',
    write: (items) =>
      rowsOf(items)
        .map((row) => `${JSON.stringify(objectOf(row))}\n`)
        .join(''),
  }
}
