import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CsvFile } from '../../src/exchange/csv-file.ts'
import { readOrganizations } from '../../src/exchange/organization-rows.ts'
import { useCsvFiles } from '../support/csv-files.ts'

const files = useCsvFiles()

const read = async (file: CsvFile, ignoreIds = false) => {
  const { rows, refused } = await readOrganizations(file, { ignoreIds })
  return { rows, names: rows.map(({ name }) => name), refused: Object.fromEntries(refused) }
}

describe('rows of organizations', () => {
  it('have all that is held of them, trimmed, without the guard, with the words for true and false', async () => {
    const file = await files.file(
      'Disabled,Parent Organization,Source ID,Source,Name,ID',
      ' yes , Top , 7 , HR , \t=A ,12',
      'OFF,,,,Top,',
      'perhaps,,,,Other,',
    )

    const { rows } = await read(file)

    expect(rows.map(({ line, organization }) => ({ line, ...organization }))).toEqual([
      { line: 3, id: undefined, name: 'Top', parent: null, disabled: false, source: null, sourceID: null },
      { line: 2, id: '12', name: '=A', parent: 'Top', disabled: true, source: 'HR', sourceID: '7' },
      { line: 4, id: undefined, name: 'Other', parent: null, disabled: 'perhaps', source: null, sourceID: null },
    ])
  })

  it('leave alone what the file has no column for', async () => {
    const { rows } = await read(await files.file('Name,Disabled', 'A,'))

    expect(rows[0]!.organization).toEqual({ name: 'A' })
  })

  it('have no ids where those are to be ignored', async () => {
    const file = await files.file('ID,Name', '1,A', '1,B')

    expect((await read(file, true)).rows.map(({ organization }) => organization.id)).toEqual([undefined, undefined])
  })

  it('are passed over where they are empty, and are kept where only the name is', async () => {
    const { rows, refused } = await read(await files.file('ID,Name,Source', ',,', ' ,\t, ', ',,HR', ',A,'))

    expect(rows.map(({ line, name }) => [line, name])).toEqual([
      [4, ''],
      [5, 'A'],
    ])
    expect(refused).toEqual({})
  })

  it('are refused where they cannot be read, or name again what is named on another line', async () => {
    const file = await files.file('ID,Name', ',A', ',B,more', '5,C', ',A', '5,D', '5,A')

    expect(await read(file)).toMatchObject({
      names: ['A', 'C'],
      refused: {
        3: ['The row has 3 cells, and the header has 2.'],
        5: ['Name "A" is on line 2 already.'],
        6: ['ID "5" is on line 4 already.'],
        7: ['Name "A" is on line 2 already.', 'ID "5" is on line 4 already.'],
      },
    })
  })
})

describe('the order of organizations', () => {
  it('has each parent before its children, whatever the order of the file', async () => {
    /** Each but the first beneath one of those before it. */
    const tree = fc.array(fc.nat(), { maxLength: 30 }).chain((choices) => {
      const rows = choices.map((choice, i) => [`n${i}`, i === 0 ? 'stored' : `n${choice % i}`])
      return fc.shuffledSubarray(rows, { minLength: rows.length })
    })
    await fc.assert(
      fc.asyncProperty(tree, async (tree) => {
        const { rows, refused } = await read(await files.table([['Name', 'Parent Organization'], ...tree]))
        expect(refused).toEqual({})
        expect(rows.map(({ name, parent }) => [name, parent]).toSorted()).toEqual(tree.toSorted())
        const place = new Map(rows.map(({ name }, i) => [name, i]))
        for (const [i, { parent }] of rows.entries()) expect(place.get(parent!) ?? -1).toBeLessThan(i)
      }),
      { numRuns: 50 },
    )
  })

  it('leaves out circles, each told as a chain, but not what hangs on them', async () => {
    const file = await files.file('Name,Parent Organization', 'A,B', 'B,C', 'C,A', 'Below,B', 'Own,Own', 'Fine,')

    const { names, refused } = await read(file)

    const circle = ['Parent Organization makes a circle: "A" beneath "B" beneath "C" beneath "A".']
    expect(names).toEqual(['Below', 'Fine'])
    expect(refused).toEqual({
      2: circle,
      3: circle,
      4: circle,
      6: ['Parent Organization makes a circle: "Own" beneath "Own".'],
    })
  })

  it('tells a long circle in short, and takes a deep tree', async () => {
    const depth = 20_000
    const chain = Array.from({ length: depth }, (_, i) => `n${i},n${i + 1}`)

    const deep = await read(await files.file('Name,Parent Organization', ...chain))
    const circle = await read(await files.file('Name,Parent Organization', ...chain, `n${depth},n0`))

    expect([deep.names.length, deep.names[0], deep.names.at(-1)]).toEqual([depth, `n${depth - 1}`, 'n0'])
    expect(circle.names).toEqual([])
    expect(circle.refused[2]).toEqual([
      'Parent Organization makes a circle: "n0" beneath "n1" beneath "n2" beneath "n3" beneath "n4" beneath 19996 more beneath "n0".',
    ])
  })
})
