import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'csv-stringify/sync'
import { afterAll, beforeAll } from 'vitest'
import { type CsvFile, openCsvFile } from '../../src/exchange/csv-file.ts'

export interface CsvFiles {
  /** The path of a new file in a folder of its own. */
  path(name?: string): Promise<string>
  /** A file of these lines, of which the first is the header. */
  file(...lines: readonly string[]): Promise<CsvFile>
  /** A file of rows, which is written as CSV. */
  table(rows: readonly (readonly string[])[]): Promise<CsvFile>
}

/** CSV files for the tests of a file, in a folder that goes with them. */
export function useCsvFiles(): CsvFiles {
  let root: string
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'contacts-gateway-csv-'))
  })
  afterAll(() => rm(root, { recursive: true, force: true }))

  const path = async (name = 'file.csv') => join(await mkdtemp(join(root, 'in-')), name)
  const open = async (text: string) => {
    const saved = await path()
    await writeFile(saved, text)
    return openCsvFile(saved, { ignoreUnknownColumns: false })
  }
  return {
    path,
    file: (...lines) => open(`${lines.join('\n')}\n`),
    table: (rows) => open(stringify(rows.map((row) => [...row]))),
  }
}

/** The lines of a file of contacts: each row is of these columns. */
export const contactsHeader = 'ID,Organization,Contact Protocol,Contact Label,Contact URI,Integration'

/** Reads to the end. */
export async function allOf<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}
