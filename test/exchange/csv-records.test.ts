import { stringify } from 'csv-stringify/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CsvRecord, type Delimiter, RecordReader } from '../../src/exchange/csv-records.ts'
import { TextFault } from '../../src/exchange/encoding.ts'

const mebibyte = 2 ** 20

describe('a reader of records', () => {
  const delimiter = fc.constantFrom<Delimiter>(',', ';', '\t')
  const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
  const character = fc.oneof(fc.constantFrom(...'",;\t\n\r\0 a=\ufeff€😀'), fc.string({ unit: 'binary', maxLength: 1 }))
  const cell = fc.array(character, { maxLength: 6 }).map((characters) => characters.join(''))
  const records = fc.integer({ min: 2, max: 4 }).chain((width) => {
    const record = fc.array(cell, { minLength: width, maxLength: width })
    return fc.array(record, { minLength: 1, maxLength: 6 })
  })
  const chunkLengths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 })

  it('reads whatever a writer wrote, in pieces of any size, and tells the lines', async () => {
    await fc.assert(
      fc.asyncProperty(
        records,
        delimiter,
        lineEnd,
        fc.boolean(),
        chunkLengths,
        async (records, by, end, open, lengths) => {
          const texts = records.map((record) => csvOf(record, by, end))
          const text = open ? texts.join('').slice(0, -end.length) : texts.join('')
          const lines = texts.map((_, at) => linesIn(texts.slice(0, at).join('')))
          expect(await read(text, by, lengths)).toEqual(records.map((cells, at) => ({ line: lines[at], cells })))
        },
      ),
      { numRuns: 500 },
    )
  })

  it('tells the lines where the ends of lines are mixed and lines are empty', async () => {
    const part = fc.constantFrom('\n', '\r\n', '\r', 'a,b\n', 'a,b\r', 'a,b\r\n', '"x\r\ny",b\n', '"\n\r\n\r",b\r\n')
    await fc.assert(
      fc.asyncProperty(fc.array(part), chunkLengths, async (parts, lengths) => {
        // CR and LF of two parts would be one line end.
        const texts = parts.filter((part, at) => !(part.startsWith('\n') && parts[at - 1]?.endsWith('\r')))
        const lines = texts.flatMap((text, at) => (text.includes(',') ? [linesIn(texts.slice(0, at).join(''))] : []))
        expect((await read(texts.join(''), ',', lengths)).map(({ line }) => line)).toEqual(lines)
      }),
    )
  })

  it.each([
    [
      'an empty line',
      'a,b\n\nc,d',
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    ],
    ['no line end at the end', 'a,b', [['a', 'b']]],
    ['a delimiter at the end', 'a,', [['a', '']]],
    ['a cell that is quoted and empty', '"",b', [['', 'b']]],
    ['nothing but a quoted cell', '""', [['']]],
    ['doubled quotes', '"""a"" b",c', [['"a" b', 'c']]],
    ['rows of different length', 'a\nb,c,d\n,', [['a'], ['b', 'c', 'd'], ['', '']]],
    ['spaces', ' a , "b\n', 'line 1: cell 2 of the row that begins here has a quote but does not begin with one'],
    ['a quote within a cell', 'a,b\nc,5" pipe\n', 'line 2: cell 2 of the row that begins here has a quote but'],
    ['text after a closing quote', 'a,b\n"c\nd"e,f', 'line 2: cell 1 of the row that begins here goes on after its'],
    ['a space after a closing quote', 'a,"b" ,c', 'line 1: cell 2 of the row that begins here goes on after its'],
    ['a quote that is never closed', 'a\r\n"b\r\nc\r\n\r\n', 'line 2: the quote of cell 1 of the row that begins here'],
    ['a closing quote that is doubled', '"b""', 'line 1: the quote of cell 1 of the row that begins here'],
  ])('meets %s', async (_, text, expected) => {
    for (const lengths of [[1], [1000]]) {
      const reading = read(text, ',', lengths).then((records) => records.map(({ cells }) => cells))
      if (typeof expected === 'string') await expect(reading).rejects.toThrow(expected)
      else expect(await reading).toEqual(expected)
    }
  })

  it('takes a row of 1 MiB', async () => {
    const long = 'x'.repeat(mebibyte - 1)
    expect(await read(`a,b\n${long},y\nc,d`, ',', [50_000])).toEqual([
      { line: 1, cells: ['a', 'b'] },
      { line: 2, cells: [long, 'y'] },
      { line: 3, cells: ['c', 'd'] },
    ])
    const quotes = '"'.repeat(mebibyte)
    expect((await read(csvOf([quotes, ''], ',', '\n'), ',', [50_000]))[0]!.cells[0]).toBe(quotes)
  })

  it.each([
    ['one cell', 'x'.repeat(mebibyte + 2)],
    ['all cells', 'xxxxxxx,'.repeat(mebibyte / 6)],
    ['lines in a quote that is not closed', `"${'a,b\n'.repeat(mebibyte / 4)}`],
    ['delimiters alone', ','.repeat(5 * mebibyte)],
  ])('refuses a longer row, with its line: %s', async (_, long) => {
    await expect(read(`a\n\nb\n${long},y\nc`, ',', [65_536])).rejects.toMatchObject({
      line: 4,
      reason: 'the row that begins here is longer than 1 MiB. A closing quote may be missing.',
    })
  })

  it('refuses a row that never ends without waiting for its end', async () => {
    for (const piece of ['"', 'x', ',', 'x,'].map((text) => Buffer.from(text.repeat(2 ** 16)))) {
      const reader = new RecordReader(',')
      const writing = async () => {
        for (let n = 0; n < 100; n++) await reader.write(piece)
      }
      await expect(writing()).rejects.toThrow(TextFault)
      reader.close()
    }
  })

  it('goes on for any number of short rows and empty lines', async () => {
    const reader = new RecordReader(',')
    const [rows, empty] = [Buffer.from('a,b\n'.repeat(2 ** 16)), Buffer.from('\n'.repeat(2 ** 18))]
    let count = 0
    for (let n = 0; n < 20; n++) count += (await reader.write(n % 10 === 0 ? rows : empty)).length
    const last = [...(await reader.write(Buffer.from('c,d'))), ...(await reader.end())]
    expect(count).toBe(2 * 2 ** 16)
    expect(last).toEqual([{ line: count + 18 * 2 ** 18 + 1, cells: ['c', 'd'] }])
  })
})

/** Line breaks are quoted whichever they are. */
const csvOf = (record: string[], delimiter: Delimiter, lineEnd: string) =>
  stringify([record], { delimiter, record_delimiter: lineEnd, quoted_match: /[\r\n]/ })

const linesIn = (text: string) => text.split(/\r\n|\r|\n/).length

/** Reads a text in pieces of so many bytes, over and over. */
async function read(text: string, delimiter: Delimiter, lengths: readonly number[]): Promise<CsvRecord[]> {
  const reader = new RecordReader(delimiter)
  const bytes = Buffer.from(text)
  const records: CsvRecord[] = []
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const end = at + lengths[n % lengths.length]!
    records.push(...(await reader.write(bytes.subarray(at, end))))
    at = end
  }
  return [...records, ...(await reader.end())]
}
