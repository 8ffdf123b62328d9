/** A kind of CSV file, as the vendor of the REST API imports and exports it. */
export interface Format {
  /** All of the vendor's columns, in its order. */
  readonly columns: readonly string[]
  /** Those that are kept here. The others are passed over. */
  readonly held: readonly string[]
  /** Without these a file cannot be read. */
  readonly required: readonly string[]
}

export type FormatName = 'organizations' | 'contacts'

export const formats: Record<FormatName, Format> = {
  organizations: {
    columns: [
      'ID',
      'Source',
      'Source ID',
      'Disabled',
      'Name',
      'Business Unit',
      'Business Unit Organization',
      'Region',
      'Parent Organization',
      'Manager',
      'Substitute',
      'Remarks',
      'UI Extension',
      'Custom Fields',
      'Financial ID',
    ],
    held: ['ID', 'Source', 'Source ID', 'Disabled', 'Name', 'Parent Organization'],
    required: ['Name'],
  },
  contacts: {
    columns: [
      'ID',
      'Organization',
      'Contact Protocol',
      'Contact Label',
      'Contact URI',
      'Address Label',
      'Address Address',
      'Address City',
      'Address State',
      'Address Zip',
      'Address Country',
      'Integration',
    ],
    held: ['ID', 'Organization', 'Contact Protocol', 'Contact Label', 'Contact URI', 'Integration'],
    required: ['Organization', 'Contact Protocol', 'Contact Label', 'Contact URI'],
  },
}

/** What is added to the rows that were refused. Once they are mended, the file can be imported as it is. */
export const reportColumns = ['Line', 'Reasons']

// A spreadsheet takes a cell that begins with one of these for a formula. The vendor puts a tab before it.

const formulaStart = /^[=+\-@]/
const guardedStart = /^\t(?=[=+\-@])/

export const guard = (text: string): string => (formulaStart.test(text) ? `\t${text}` : text)
export const unguard = (text: string): string => text.replace(guardedStart, '')
