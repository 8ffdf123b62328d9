import { execFileSync } from 'node:child_process'
import { appendFile, chmod, mkdtemp, readdir, readlink, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'csv-stringify/sync'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CsvFault, type CsvFile, type CsvRow, openCsvFile } from '../../src/exchange/csv-file.ts'
import { formats, guard } from '../../src/exchange/formats.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'csv-file-'))
})
afterAll(() => rm(folder, { recursive: true }))

const contactHeader = formats.contacts.columns.join(',')

describe('a CSV file', () => {
  it('tells its format, its columns and its rows', async () => {
    const text = `${contactHeader}\r\n7,Best-IT,TEL,Work,\t+41 44,,,,,,,true\r\n\r\n,"Müller, ""X""\r\nAG",EMAIL,,a@b,,,,,,,`
    const path = await save(text)
    const file = await open(path)
    expect(file).toMatchObject({
      path,
      format: 'contacts',
      delimiter: ',',
      encoding: 'UTF-8',
      size: Buffer.byteLength(text),
      header: formats.contacts.columns,
      passedOver: [
        ...['Address Label', 'Address Address', 'Address City', 'Address State', 'Address Zip', 'Address Country'],
      ],
      unknown: [],
    })
    expect(await rowsOf(file)).toEqual([
      {
        line: 2,
        cells: ['7', 'Best-IT', 'TEL', 'Work', '+41 44', '', '', '', '', '', '', 'true'],
        raw: ['7', 'Best-IT', 'TEL', 'Work', '\t+41 44', '', '', '', '', '', '', 'true'],
      },
      {
        line: 4,
        cells: ['', 'Müller, "X"\r\nAG', 'EMAIL', '', 'a@b', '', '', '', '', '', '', ''],
        raw: ['', 'Müller, "X"\r\nAG', 'EMAIL', '', 'a@b', '', '', '', '', '', '', ''],
      },
    ])
  })

  it('gives back what was written, in every delimiter, line end and encoding, with columns in any order', async () => {
    const format = fc.constantFrom('organizations', 'contacts')
    const cell = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('"', '=1', '\t', '\r\n', '', ' '))
    const content = format.chain((format) => {
      const { columns } = formats[format]
      const row = fc.array(cell, { minLength: columns.length, maxLength: columns.length })
      const order = fc.shuffledSubarray([...columns.keys()], { minLength: columns.length })
      return fc.record({ format: fc.constant(format), rows: fc.array(row, { maxLength: 5 }), order })
    })
    const dress = fc.record({
      delimiter: fc.constantFrom(',', ';', '\t'),
      record_delimiter: fc.constantFrom('\n', '\r\n', '\r'),
      encoding: fc.constantFrom('utf8', 'utf16le'),
      bom: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(content, dress, async ({ format, rows, order }, { encoding, bom, ...options }) => {
        const written = [formats[format].columns, ...rows.map((row) => row.map(guard))]
        const inOrder = written.map((row) => order.map((at) => row[at]))
        const text = stringify(inOrder, { ...options, quoted_match: /[\r\n]/ })
        const file = await open(await save(Buffer.from(bom ? `\ufeff${text}` : text, encoding as BufferEncoding)))
        expect(file).toMatchObject({ format, delimiter: options.delimiter })
        expect(file.encoding).toBe(encoding === 'utf8' ? 'UTF-8' : 'UTF-16LE')
        const read = await rowsOf(file)
        // A tab of its own before a formula is taken for the guard.
        const unguarded = rows.map((row) => row.map((text) => text.replace(/^\t(?=[=+\-@])/, '')))
        expect(read.map(({ cells }) => cells)).toEqual(unguarded)
        expect(read.map(({ raw }) => raw)).toEqual(inOrder.slice(1))
        expect(read.map(({ fault }) => fault !== undefined)).toEqual(rows.map((row) => row.join('').includes('\0')))
      }),
    )
  })

  it('has undefined cells where a column is not there', async () => {
    const [row] = await rowsOf(await open(await save('Parent Organization;NAME \nVendor;Best-IT')))
    expect(row!.cells).toEqual(
      formats.organizations.columns.map((c) => ({ Name: 'Best-IT', 'Parent Organization': 'Vendor' })[c]),
    )
    expect(row!.raw).toEqual(['Vendor', 'Best-IT'])
  })

  it('can have no rows', async () => {
    for (const text of ['Name', 'Name\n', '\ufeffName\r\n\r\n'])
      expect(await rowsOf(await open(await save(text)))).toEqual([])
  })

  it('has rows that cannot be used, each with the reason', async () => {
    const file = await open(await save('Name,Remarks,ID\na,b\nc,d,1,\n"x\ny",a\0b,2\nz,,\n\0\n'))
    expect(await rowsOf(file)).toMatchObject([
      { line: 2, raw: ['a', 'b'], fault: 'The row has 2 cells, and the header has 3.' },
      { line: 3, raw: ['c', 'd', '1', ''], fault: 'The row has 4 cells, and the header has 3.' },
      { line: 4, raw: ['x\ny', 'a\0b', '2'], fault: 'A NUL character is in the cell of "Remarks".' },
      { line: 6, raw: ['z', '', ''] },
      { line: 7, raw: ['\0'], fault: 'The row has 1 cell, and the header has 3.' },
    ])
  })

  it('is read in batches and again from the beginning, and tells how far it is', async () => {
    const names = Array.from({ length: 40_000 }, (_, at) => `Organization ${at} €`)
    const file = await open(await save(`Name\n${names.join('\n')}\n`))
    for (let time = 0; time < 2; time++) {
      const told: number[] = []
      const batches = await batchesOf(file, (bytes) => told.push(bytes))
      expect(batches.flat().map(({ cells }) => cells[4])).toEqual(names)
      expect(batches.flat().map(({ line }) => line)).toEqual(names.map((_, at) => at + 2))
      expect(Math.max(...batches.map((batch) => batch.length))).toBeLessThanOrEqual(1000)
      expect(told).toEqual(told.toSorted((one, other) => one - other))
      expect(told.length).toBeGreaterThan(5)
      expect(told.at(-1)).toBe(file.size)
    }
    const both = await Promise.all([rowsOf(file), rowsOf(file)])
    expect(both.map((rows) => rows.length)).toEqual([40_000, 40_000])
  })

  it('is closed when the reader of its rows stops', async () => {
    const file = await open(await save(`Name\n${'Best-IT\n'.repeat(50_000)}`))
    for await (const _ of file.rows()) break
    const failing = async () => {
      for await (const batch of file.rows()) throw new Error(`stopped after ${batch.length}`)
    }
    await expect(failing()).rejects.toThrow('stopped after 1000')
    await rowsOf(file)
    expect(await descriptorsOf(file.path)).toEqual([])
  })
})

describe('the header of a CSV file', () => {
  it.each([
    ['in any order, case and spacing', ' contact uri ;ORGANIZATION;Contact Label;contact protocol', 'contacts'],
    ['with all that is required', 'Name', 'organizations'],
    ['quoted', '"ID"\t"Name"\t"Remarks"', 'organizations'],
    ['after empty lines', '\n\r\nID,Name', 'organizations'],
  ])('is accepted %s', async (_, header, format) => {
    expect((await open(await save(`${header}\n`))).format).toBe(format)
  })

  it('tells the delimiter under which its columns are known, whatever else is in it', async () => {
    const path = await save('Name;"a,b,c,d";"e\tf"\nBest-IT;1;2\n')
    const file = await openCsvFile(path, { ignoreUnknownColumns: true })
    expect(file).toMatchObject({ delimiter: ';', header: ['Name', 'a,b,c,d', 'e\tf'], unknown: ['a,b,c,d', 'e\tf'] })
    expect((await rowsOf(file))[0]).toMatchObject({ line: 2, raw: ['Best-IT', '1', '2'] })
  })

  it('may have unknown columns if they are to be ignored', async () => {
    const path = await save('Fax,region,Name,,Fax 2,\n1,2,Best-IT,3,4,5')
    const file = await openCsvFile(path, { ignoreUnknownColumns: true })
    expect(file).toMatchObject({ passedOver: ['Region'], unknown: ['Fax', '', 'Fax 2', ''] })
    expect((await rowsOf(file))[0]!.cells[4]).toBe('Best-IT')
  })

  const noHeader =
    'this is not the header of a file of contacts or of organizations. A header names the columns, in any order: ID,'
  it.each([
    ['a row', 'Best-IT,TEL,Work,+41', 1, noHeader],
    ['only an ID', 'ID,Foo', 1, noHeader],
    ['text after empty lines', '\n\nFoo', 3, noHeader],
    ['quotes at wrong places', 'x"ID,Name', 1, noHeader],
    ['a line without end', 'Name,'.repeat(30_000), 1, noHeader],
    [
      'no Name',
      'ID,Remarks,Nam',
      1,
      'a file of organizations must have the column "Name" (did you mean it by "Nam"?).',
    ],
    [
      'columns missing',
      'ID,Organisation,Contact Protocol,Contact-Label,Fax',
      1,
      'a file of contacts must have the columns "Organization" (did you mean it by "Organisation"?), "Contact Label" ' +
        '(did you mean it by "Contact-Label"?), "Contact URI".',
    ],
    ['a column twice', 'Name,Remarks, NAME', 1, 'the column " NAME" is there more than once.'],
    [
      'unknown columns',
      'Name,Finacial ID,Fax,',
      1,
      'a file of organizations has no columns "Finacial ID" (did you mean "Financial ID"?), "Fax", "". ' +
        '--ignore-unknown-columns passes over what is unknown.',
    ],
    [
      'many unknown columns',
      `Name,${'x'.repeat(100)},${[...'abcdefghijkl'].join(',')}`,
      1,
      `a file of organizations has no columns "${'x'.repeat(60)}…", "a", "b", "c", "d", "e", "f", "g", "h", "i" and 3 more.`,
    ],
  ])('is refused with %s', async (_, header, line, reason) => {
    const path = await save(`${header}\nBest-IT,,\n`)
    const fault = await faultOf(open(path))
    expect(fault).toMatchObject({ path, line, reason: expect.stringContaining(reason) })
    expect(fault.message).toBe(`${path}, line ${line}: ${fault.reason}`)
  })

  it('must have its required columns even if unknown ones are ignored', async () => {
    const path = await save('Organisation,Contact Protocol,Contact Label,Contact URI')
    expect((await faultOf(openCsvFile(path, { ignoreUnknownColumns: true }))).reason).toContain('"Organization"')
  })

  it.each(['', '\ufeff', '\n\r\n'])('must be there: %j', async (text) => {
    const path = await save(text)
    expect((await faultOf(open(path))).message).toContain(`${path}: it is empty. A header names the columns`)
  })
})

describe('a file that cannot be read', () => {
  it('is one that is not there', async () => {
    const path = join(folder, 'missing.csv')
    expect((await faultOf(open(path))).message).toBe(`${path}: there is no such file.`)
    expect((await faultOf(open(join(await save('Name'), 'x')))).reason).toBe('it cannot be read (ENOTDIR).')
  })

  it('is a folder', async () => {
    expect((await faultOf(open(folder))).message).toBe(`${folder}: this is a folder. Name the files in it.`)
  })

  it.skipIf(process.getuid?.() === 0)('is one that the user may not read', async () => {
    const path = await save('Name')
    await chmod(path, 0)
    expect((await faultOf(open(path))).message).toBe(`${path}: you may not read it.`)
  })

  it('is a pipe, a device or standard input, because it is read twice', async () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    for (const path of [pipe, '/dev/null', '-']) {
      expect((await faultOf(open(path))).reason).toMatch(/cannot be read: what is imported is read twice/)
    }
  })

  it('has bytes that are no characters: the line is told', async () => {
    const lines = Array.from({ length: 20_000 }, (_, at) => `"Müller\r\n${at}"\n`).join('')
    for (const encoding of ['utf8', 'utf16le'] as const) {
      const malformed = encoding === 'utf8' ? Buffer.from('Müller', 'latin1') : Buffer.from('\ud800x', 'utf16le')
      const bytes = [Buffer.from(`Name\n${lines}x\n`, encoding), malformed, Buffer.from('\nx\n', encoding)]
      const file = await open(await save(Buffer.concat(bytes)))
      const fault = await faultOf(rowsOf(file))
      expect(fault).toMatchObject({ path: file.path, line: 40_003, reason: expect.stringContaining('not valid UTF-') })
    }
    expect(await faultOf(open(await save(Buffer.from('Name\nMüller', 'latin1'))))).toMatchObject({ line: 2 })
  })

  it('ends within a character', async () => {
    const start = `Name\n${'Best-IT\n'.repeat(20_000)}`
    const file = await open(await save(Buffer.from(`${start}€`).subarray(0, -1)))
    expect(await faultOf(rowsOf(file))).toMatchObject({ line: 20_002 })
    const wide = await open(await save(Buffer.from(`${start}x`, 'utf16le').subarray(0, -1)))
    expect(await faultOf(rowsOf(wide))).toMatchObject({ line: 20_002 })
  })

  it('has a quote that is missing', async () => {
    const fault = async (text: string) => faultOf(open(await save(text)).then(rowsOf))
    expect(await fault('Name\nx\n"y')).toMatchObject({ line: 3, reason: expect.stringContaining('never closed') })
    expect(await fault('Name\nx\n"y" z\n')).toMatchObject({ line: 3, reason: expect.stringContaining('goes on after') })
    const long = await fault(`Name\nx\n"y\n${'Best-IT\n'.repeat(200_000)}`)
    expect(long).toMatchObject({ line: 3, reason: expect.stringContaining('longer than 1 MiB') })
    expect(await descriptorsOf(long.path)).toEqual([])
  })

  it('has changed between two readings, or within one', async () => {
    const text = `Name\n${'Best-IT\n'.repeat(50_000)}`
    const changed = 'the file has changed while it was read. Try again when it is complete.'
    const file = await open(await save(text))
    const later = new Date(Date.now() + 60_000)
    await utimes(file.path, later, later)
    const rows = file.rows()[Symbol.asyncIterator]()
    expect((await faultOf(rows.next())).reason).toBe(changed)

    const growing = await open(await save(text))
    const reading = async () => {
      for await (const _ of growing.rows()) await appendFile(growing.path, 'x')
    }
    expect((await faultOf(reading())).reason).toBe(changed)
  })
})

let saved = 0
async function save(content: string | Buffer): Promise<string> {
  const path = join(folder, `${saved++}.csv`)
  await writeFile(path, content)
  return path
}

const open = (path: string) => openCsvFile(path, { ignoreUnknownColumns: false })

const rowsOf = async (file: CsvFile): Promise<CsvRow[]> => (await batchesOf(file)).flat()

async function batchesOf(file: CsvFile, onBytes?: (bytes: number) => void): Promise<(readonly CsvRow[])[]> {
  const batches: (readonly CsvRow[])[] = []
  for await (const batch of file.rows(onBytes)) batches.push(batch)
  return batches
}

/** This process's open descriptors of a file, where the system tells them. */
async function descriptorsOf(path: string): Promise<string[]> {
  const own = '/proc/self/fd'
  const names = await readdir(own).catch(() => [])
  const targets = await Promise.all(names.map((name) => readlink(join(own, name)).catch(() => '')))
  return targets.filter((target) => target === path)
}

async function faultOf(action: Promise<unknown>): Promise<CsvFault> {
  const error = await action.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(CsvFault)
  return error as CsvFault
}
