import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type CsvFile, openCsvFile } from '../../src/exchange/csv-file.ts'
import { RefusedRows } from '../../src/exchange/refused-rows.ts'
import { allOf, useCsvFiles } from '../support/csv-files.ts'

const files = useCsvFiles()

/** Refuses all rows of a file for the same reasons, and tells what was written. */
async function refuseAll(file: CsvFile, reasons: readonly string[] = ['Because.']) {
  const path = await files.path('file.failed.csv')
  const refused = new RefusedRows(path, file)
  for await (const rows of file.rows()) await refused.add(rows.map((row) => ({ row, reasons })))
  await refused.close()
  return { path, count: refused.count, text: await readFile(path, 'utf8').catch(() => undefined) }
}

describe('the report of refused rows', () => {
  it('has them as they were, with line and every reason', async () => {
    const file = await files.file('Name;Source', 'A;HR', '', '"B;"",";')

    expect(await refuseAll(file, ['One.', 'Two, too.'])).toMatchObject({
      count: 2,
      text: 'Name;Source;Line;Reasons\nA;HR;2;One. Two, too.\n"B;"",";;4;One. Two, too.\n',
    })
  })

  it('is not there where no row is refused, and leaves an earlier one', async () => {
    const path = await files.path('file.failed.csv')
    await writeFile(path, 'before')
    const refused = new RefusedRows(path, await files.file('Name', 'A'))

    await refused.close()

    expect(await readFile(path, 'utf8')).toBe('before')
  })

  it('takes the place of an earlier one', async () => {
    const file = await files.file('Name', 'A')
    const { path } = await refuseAll(file)
    const refused = new RefusedRows(path, file)
    for await (const [row] of file.rows()) await refused.add([{ row: row!, reasons: ['Again.'] }])
    await refused.close()

    expect(await readFile(path, 'utf8')).toBe('Name,Line,Reasons\nA,2,Again.\n')
  })

  it('has the reasons in their column, also for rows that have too few or too many cells', async () => {
    const file = await files.file('Name,Source,Disabled', 'A', 'B,HR,true,more,still more')

    expect((await refuseAll(file)).text).toBe(
      'Name,Source,Disabled,Line,Reasons\nA,,,2,Because.\nB,HR,true,3,Because.,more,still more\n',
    )
  })

  it('of a mended report has new lines and reasons', async () => {
    const file = await files.file('line, Reasons ,Name', '7,Old.,A')

    expect((await refuseAll(file)).text).toBe('Name,Line,Reasons\nA,2,Because.\n')
  })

  it('can be read again, whatever is in the cells', async () => {
    const cells = ['=1+1', '\t=1', '-1', ' a ', 'a\rb', 'a\r\nb', 'a\nb', '"', "'", 'ü😀', '\ufeffa', ',;\t']
    const file = await files.table([['Name', 'Source'], ...cells.map((cell) => [cell, cell])])

    const { path } = await refuseAll(file)
    const again = await openCsvFile(path, { ignoreUnknownColumns: false })

    const cellsOf = async (read: CsvFile) => (await allOf(read.rows())).flat().map((row) => row.cells)
    expect(await cellsOf(again)).toEqual(await cellsOf(file))
  })

  it('guards against formulas', async () => {
    const text = (await refuseAll(await files.file('Name', '=1', '\t=1', '+1'))).text!

    expect(text.split('\n').slice(1, 4)).toEqual(['\t=1,2,Because.', '\t=1,3,Because.', '\t+1,4,Because.'])
  })

  it('says why it cannot be written', async () => {
    const path = await files.path('file.failed.csv')
    await mkdir(path)
    const file = await files.file('Name', 'A')
    const [row] = (await allOf(file.rows())).flat()
    const add = (where: string) => new RefusedRows(where, file).add([{ row: row!, reasons: [] }])
    const nowhere = join(dirname(path), 'nowhere', 'file.failed.csv')

    await expect(add(path)).rejects.toThrow(`${path}: it cannot be written: illegal operation on a directory.`)
    await expect(add(nowhere)).rejects.toThrow(`${nowhere}: it cannot be written: no such file or directory.`)
  })
})
