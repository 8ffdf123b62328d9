import { type FileHandle, open } from 'node:fs/promises'
import { getSystemErrorMessage } from 'node:util'
import { stringify } from 'csv-stringify/sync'
import { CsvFault, type CsvFile, type CsvRow } from './csv-file.ts'
import { guard, reportColumns } from './formats.ts'

const reportKeys = reportColumns.map((name) => name.toLowerCase())

/** A CSV file of the rows of another that were refused, with their lines and the reasons. There is none while there are none. */
export class RefusedRows {
  readonly path: string
  readonly #source: CsvFile
  /** The places of the columns that are kept: those of an earlier report are not. */
  readonly #kept: readonly number[]
  #handle: FileHandle | undefined
  #count = 0

  constructor(path: string, source: CsvFile) {
    this.path = path
    this.#source = source
    this.#kept = source.header.flatMap((name, i) => (reportKeys.includes(name.trim().toLowerCase()) ? [] : [i]))
  }

  get count(): number {
    return this.#count
  }

  /** Throws a CsvFault where they cannot be written. */
  async add(rows: readonly { row: CsvRow; reasons: readonly string[] }[]): Promise<void> {
    const lines = rows.map(({ row: { raw, line }, reasons }) =>
      this.#line(raw.map(guard), [String(line), reasons.join(' ')]),
    )
    try {
      if (!this.#handle) {
        this.#handle = await open(this.path, 'w')
        lines.unshift(this.#line(this.#source.header, reportColumns))
      }
      // A carriage return would end the row as well.
      await this.#handle.writeFile(stringify(lines, { delimiter: this.#source.delimiter, quoted_match: /\r/ }))
    } catch (error) {
      const { errno } = error as NodeJS.ErrnoException
      if (errno === undefined) throw error
      throw new CsvFault(this.path, undefined, `it cannot be written: ${getSystemErrorMessage(errno)}.`)
    }
    this.#count += rows.length
  }

  /** A ragged row gets its missing cells, so that the reasons stand in their column; what it has too many of comes after. */
  #line(cells: readonly string[], report: readonly string[]): string[] {
    return [...this.#kept.map((i) => cells[i] ?? ''), ...report, ...cells.slice(this.#source.header.length)]
  }

  async close(): Promise<void> {
    await this.#handle?.close()
    this.#handle = undefined
  }
}
