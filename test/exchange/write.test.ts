import { describe, expect, it } from 'vitest'
import type { Channel } from '../../src/db/tables.ts'
import { toContact } from '../../src/domain/contacts.ts'
import type { ContactGroup, ExportedOrganization } from '../../src/domain/export.ts'
import {
  contactsAsCsv,
  contactsAsJsonLines,
  type Delimiter,
  organizationsAsCsv,
  organizationsAsJsonLines,
} from '../../src/exchange/write.ts'

const createdAt = new Date('2026-01-31T12:00:00.123Z')
const updatedAt = new Date('2026-02-01T00:00:00Z')

const organization = (given: Partial<ExportedOrganization> = {}): ExportedOrganization => ({
  __typename: 'Organization',
  id: 1,
  name: 'Best IT',
  parentId: null,
  parentName: null,
  disabled: false,
  source: null,
  sourceId: null,
  createdAt,
  updatedAt,
  ...given,
})

const group = (name: string, ...values: [Channel, string][]): ContactGroup => ({
  organization: { id: 1, name },
  contacts: values.map(([channel, value], i) =>
    toContact([68 + i, 1, channel, 'general', value, i === 0, 3, createdAt, updatedAt]),
  ),
})

const rowOf = (given: Partial<ExportedOrganization>, delimiter: Delimiter = 'comma') =>
  organizationsAsCsv({ delimiter }).write([organization(given)])

describe('CSV', () => {
  it('of organizations has the columns of the vendor', () => {
    const { head, write } = organizationsAsCsv({ delimiter: 'comma' })
    const rows = [
      organization(),
      organization({
        id: 4,
        name: 'Best IT London',
        parentName: 'Best IT',
        disabled: true,
        source: 'HR',
        sourceId: '2',
      }),
    ]

    expect(head).toBe(
      'ID,Source,Source ID,Disabled,Name,Business Unit,Business Unit Organization,Region,Parent Organization,Manager,Substitute,Remarks,UI Extension,Custom Fields,Financial ID\n',
    )
    expect(write(rows)).toBe(',,,false,Best IT,,,,,,,,,,\n,HR,2,true,Best IT London,,,,Best IT,,,,,,\n')
  })

  it('of contacts has the columns of the vendor', () => {
    const { head, write } = contactsAsCsv({ delimiter: 'comma' })

    expect(head).toBe(
      'ID,Organization,Contact Protocol,Contact Label,Contact URI,Address Label,Address Address,Address City,Address State,Address Zip,Address Country,Integration\n',
    )
    expect(
      write([
        group('Best IT', ['email', 'info@best-it.com'], ['website', 'best-it.com']),
        group('B', ['email', 'a@b']),
      ]),
    ).toBe(
      [
        ',Best IT,email,general,info@best-it.com,,,,,,,true',
        ',Best IT,website,general,best-it.com,,,,,,,false',
        ',B,email,general,a@b,,,,,,,true',
        '',
      ].join('\n'),
    )
  })

  it('has nothing for nothing', () => {
    expect(organizationsAsCsv({ delimiter: 'comma' }).write([])).toBe('')
    expect(contactsAsCsv({ delimiter: 'comma' }).write([])).toBe('')
  })

  it('has ids where they are asked for', () => {
    const options = { delimiter: 'comma', ids: true } as const

    expect(organizationsAsCsv(options).write([organization({ id: 4 })])).toBe('4,,,false,Best IT,,,,,,,,,,\n')
    expect(contactsAsCsv(options).write([group('B', ['email', 'a@b'])])).toBe('68,B,email,general,a@b,,,,,,,true\n')
  })

  it.each<[Delimiter, string]>([
    ['semicolon', ';;;false;Best IT, Inc.;;;;;;;;;;\n'],
    ['tab', '\t\t\tfalse\tBest IT, Inc.\t\t\t\t\t\t\t\t\t\t\n'],
    ['comma', ',,,false,"Best IT, Inc.",,,,,,,,,,\n'],
  ])('has a %s between its cells', (delimiter, row) => {
    expect(rowOf({ name: 'Best IT, Inc.' }, delimiter)).toBe(row)
  })

  it.each([
    ['A, B', '"A, B"'],
    ['The "Best" IT', '"The ""Best"" IT"'],
    ['"', '""""'],
    ['A;B', 'A;B'],
    ["O'Neill", "O'Neill"],
    ['Straße \u2028 東京 \u{1f600}', 'Straße \u2028 東京 \u{1f600}'],
  ])('puts the name %j in quotes where it must', (name, cell) => {
    expect(rowOf({ name })).toBe(`,,,false,${cell},,,,,,,,,,\n`)
    expect(contactsAsCsv({ delimiter: 'comma' }).write([group(name, ['email', 'a@b'])])).toBe(
      `,${cell},email,general,a@b,,,,,,,true\n`,
    )
  })

  it.each(['=1+1', '+1 203', '-A', '@A'])('guards spreadsheets from %j in every text', (text) => {
    const texts = { name: text, parentName: text, source: text, sourceId: text }

    expect(rowOf(texts)).toBe(`,\t${text},\t${text},false,\t${text},,,,\t${text},,,,,,\n`)
    expect(contactsAsCsv({ delimiter: 'comma' }).write([group(text, ['telephone', text])])).toBe(
      `,\t${text},telephone,general,\t${text},,,,,,,true\n`,
    )
  })

  it('quotes the guard where it would be taken for the end of a cell', () => {
    expect(rowOf({ name: '=1,"2"' })).toBe(',,,false,"\t=1,""2""",,,,,,,,,,\n')
    expect(rowOf({ name: '=1' }, 'tab')).toBe('\t\t\tfalse\t"\t=1"\t\t\t\t\t\t\t\t\t\t\n')
  })
})

const linesOf = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

const instants = { created_at: '2026-01-31T12:00:00.123Z', updated_at: '2026-02-01T00:00:00.000Z' }

describe('JSON Lines', () => {
  it('of organizations have the names of the REST API', () => {
    const { head, write } = organizationsAsJsonLines
    const root = organization({ name: '=1, "2"' })
    const text = write([root, organization({ id: 2, parentId: 1, parentName: 'A', source: 'HR', sourceId: 'x' })])

    expect(head).toBe('')
    expect(text).toMatch(/^[^\n]+\n[^\n]+\n$/)
    expect(linesOf(text)).toEqual([
      { id: 1, name: '=1, "2"', parent: null, disabled: false, source: null, sourceID: null, ...instants },
      {
        ...{ id: 2, name: 'Best IT', parent: { id: 1, name: 'A' }, disabled: false, source: 'HR', sourceID: 'x' },
        ...instants,
      },
    ])
    expect(write([])).toBe('')
  })

  it('of contacts have their organization beside the names of the REST API', () => {
    const text = contactsAsJsonLines.write([group('Best IT', ['telephone', '+1 203'], ['website', 'best-it.com'])])
    const more = { organization: { id: 1, name: 'Best IT' }, label: 'general', version: 3, ...instants }

    expect(linesOf(text)).toEqual([
      { id: 68, ...more, telephone: '+1 203', integration: true },
      { id: 69, ...more, website: 'best-it.com', integration: false },
    ])
  })
})
