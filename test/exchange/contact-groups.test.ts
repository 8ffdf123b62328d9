import { describe, expect, it } from 'vitest'
import {
  contactGroups,
  faultsOfGroup,
  maxRowsOfOrganization,
  surveyContacts,
} from '../../src/exchange/contact-groups.ts'
import type { CsvFile } from '../../src/exchange/csv-file.ts'
import { allOf, contactsHeader as header, useCsvFiles } from '../support/csv-files.ts'

const files = useCsvFiles()
const vendorHeader =
  'ID,Organization,Contact Protocol,Contact Label,Contact URI,Address Label,Address Address,Address City,Address State,Address Zip,Address Country,Integration'

const groupsOf = (file: CsvFile, ignoreIds = false) => allOf(contactGroups(file, { ignoreIds }))

/** The lines of each organization. */
const linesOf = async (file: CsvFile) =>
  (await groupsOf(file)).map(({ name, rows }) => [name, rows.map(({ line }) => line)])

/** What is wrong with each organization, by line; 0 for all of it. */
async function faultsIn(file: CsvFile) {
  return (await groupsOf(file)).map((group) => {
    const found: Record<number, string[]> = {}
    for (const { row, reasons } of faultsOfGroup(group)) {
      const line = row === undefined ? 0 : group.rows[row]!.line
      found[line] = [...(found[line] ?? []), ...reasons]
    }
    return found
  })
}

describe('rows of contacts', () => {
  it('come by organizations, each row as the rules take it', async () => {
    const file = await files.file(
      header,
      '7, A ,Telephone, Service_Desk ,\t+1,YES',
      ',A,email,general,a@b,f',
      ',A,website,,b.example,',
      ',\t=B,email,general,perhaps,maybe',
    )

    const groups = await groupsOf(file)

    expect(groups.map(({ name, contacts, replaces, faults }) => ({ name, contacts, replaces, faults }))).toEqual([
      {
        name: 'A',
        contacts: [
          { id: '7', contact: { telephone: { label: 'service_desk', value: '+1', integration: true } } },
          { contact: { email: { label: 'general', value: 'a@b', integration: false } } },
          { contact: { website: { value: 'b.example' } } },
        ],
        replaces: true,
        faults: [],
      },
      {
        name: '=B',
        contacts: [{ contact: { email: { label: 'general', value: 'perhaps', integration: 'maybe' } } }],
        replaces: false,
        faults: [],
      },
    ])
    expect((await groupsOf(file, true))[0]!.contacts[0]!.id).toBeUndefined()
  })

  it('are passed over where they are empty', async () => {
    const file = await files.file(
      header,
      ',,,,,',
      ',A,email,general,a@b,',
      ' ,\t,,,,',
      ',A,email,general,b@c,',
      ',,,,,',
    )

    expect(await linesOf(file)).toEqual([['A', [3, 5]]])
  })

  it('that are addresses are counted, and may tell that the organization is of the integration', async () => {
    const file = await files.file(
      vendorHeader,
      ',A,,,,street,Main 1,,,,,true',
      ',A,email,general,a@b,,,,,,,false',
      ',B,,,,,,,,,NL,',
      ',C,email,,,,,,,,NL,',
    )

    const groups = await groupsOf(file)

    expect(groups.map(({ name, addresses, replaces }) => [name, addresses, replaces])).toEqual([
      ['A', 1, true],
      ['B', 1, false],
      ['C', 0, false],
    ])
    expect(groups[0]!.rowOf).toEqual([1])
    expect(await faultsIn(file)).toEqual([{}, {}, { 5: ["Label can't be blank.", "Email can't be blank."] }])
  })

  it('tell every reason why they are wrong', async () => {
    const file = await files.file(
      header,
      ',A,fax,general,1,',
      'x,A,,home,1,maybe',
      '0,A,telephone,home,none,perhaps',
      ',A,email,fax,a b,true',
      ',,email,general,none,',
    )

    const [{ 0: spoiled, ...faults }] = (await faultsIn(file)) as [Record<number, string[]>]
    expect(spoiled).toEqual(['Left out with line 6, which may be of the same organization.'])
    expect(faults).toEqual({
      2: ['Contact Protocol "fax" is not one of telephone, email, website.'],
      3: [
        "Contact Protocol can't be blank.",
        'Label "home" is not one of general, service_desk, fax, service_desk_fax.',
        'Integration must be true or false.',
        'Contact id "x" is neither a global id nor a positive integer.',
      ],
      4: [
        'Contact id "0" is neither a global id nor a positive integer.',
        'Label "home" is not one of general, service_desk, fax, service_desk_fax.',
        'Telephone must hold at least one digit.',
        'Integration must be true or false.',
      ],
      5: ['Label "fax" is not one of general, service_desk.', 'Email must not hold white space.'],
      6: ["Organization can't be blank.", 'Email must have exactly one @, with text on both sides.'],
    })
  })

  it('of one organization are limited in number', async () => {
    const rows = (count: number) => Array.from({ length: count }, (_, i) => `,A,telephone,general,${i},`)
    const [most, more] = [
      await files.file(header, ...rows(maxRowsOfOrganization), ',B,telephone,general,1,'),
      await files.file(header, ...rows(maxRowsOfOrganization), '', ',A,telephone,general,1,'),
    ]

    expect((await groupsOf(most)).map(({ rows }) => rows.length)).toEqual([10_000, 1])
    await expect(groupsOf(more)).rejects.toThrow(
      `${more.path}, line 10003: this is row 10001 of "A"; at most 10000 are allowed for one organization.`,
    )
  })
})

describe('a row that does not tell whose it is', () => {
  const a = ',A,email,general,a@b,'
  const b = ',B,email,general,b@c,'
  const ragged = 'The row has 7 cells, and the header has 6.'
  const left = 'Left out with line 3, which may be of the same organization.'

  it('is of the organization around it', async () => {
    const file = await files.file(header, a, ',A, Inc,email,general,c@d,', ',,email,general,d@e,', a, b)

    expect(await linesOf(file)).toEqual([
      ['A', [2, 3, 4, 5]],
      ['B', [6]],
    ])
    expect(await faultsIn(file)).toEqual([{ 3: [ragged], 4: ["Organization can't be blank."] }, {}])
  })

  it('is of a neighbour that it names', async () => {
    const [above, below] = [
      await files.file(header, a, ',A,email,general,c@d,,', b),
      await files.file(header, a, ',B,email,general,c@d,,', b),
    ]

    expect(await linesOf(above)).toEqual([
      ['A', [2, 3]],
      ['B', [4]],
    ])
    expect(await linesOf(below)).toEqual([
      ['A', [2]],
      ['B', [3, 4]],
    ])
  })

  it('spoils both of its neighbours otherwise, and nobody else', async () => {
    const file = await files.file(header, a, ',C, Inc,email,general,c@d,', b, ',D,email,general,d@e,')
    const blank = await files.file(header, a, ',,email,general,c@d,', b)

    expect(await linesOf(file)).toEqual([
      ['A', [2, 3]],
      ['B', [4]],
      ['D', [5]],
    ])
    expect(await faultsIn(file)).toEqual([{ 0: [left], 3: [ragged] }, { 0: [left] }, {}])
    expect(await faultsIn(blank)).toEqual([{ 0: [left], 3: ["Organization can't be blank."] }, { 0: [left] }])
  })

  it('may be the first, the last, or one of very many', async () => {
    const ends = await files.file(header, ',C', a, ',C')
    const many = await files.file(header, a, ...Array.from({ length: 30_000 }, (_, i) => `,C${i}`), b)

    expect(await linesOf(ends)).toEqual([
      ['', [2]],
      ['A', [3, 4]],
    ])
    expect(Object.keys((await faultsIn(ends))[1]!)).toEqual(['0', '4'])
    const groups = await groupsOf(many)
    expect(groups.flatMap(({ rows }) => rows)).toHaveLength(30_002)
    expect(groups.filter(({ faults }) => faults.length === 0)).toEqual([])
    await survey(many)
  })
})

const survey = (file: CsvFile, hash?: (name: string) => number) =>
  surveyContacts(file, { ignoreIds: false }, async () => true, hash)

describe('the rows of one organization', () => {
  const rows = (...names: string[]) => names.map((name) => `,${name},email,general,a@b,`)

  it('must be together', async () => {
    const file = await files.file(header, ...rows('A', 'A', 'B', 'C', 'A', 'B'))

    await expect(survey(file)).rejects.toThrow(
      `${file.path}, line 6: the rows of "A" are not together: others begin on line 2. Sort the file by Organization.`,
    )
  })

  it('are told from those of another of which the hash is the same', async () => {
    const constant = () => 1
    const [apart, together] = [
      await files.file(header, ...rows('A', 'B', 'C', 'B')),
      await files.file(header, ...rows('A', 'B', 'C')),
    ]

    await expect(survey(apart, constant)).rejects.toThrow(/line 5: the rows of "B" .* begin on line 3/)
    await survey(together, constant)
  })

  it('are shown one organization after the other, until nobody wants to see more', async () => {
    const file = await files.file(header, ...rows('A', 'B', 'A'))
    const shown: string[] = []

    await surveyContacts(file, { ignoreIds: false }, async ({ name }) => shown.push(name) < 2)

    expect(shown).toEqual(['A', 'B'])
  })
})
