import { type FileHandle, open } from 'node:fs/promises'
import { stringify } from 'csv-stringify/sync'
import type { CsvFile, CsvRow } from './csv-file.ts'
import { reportColumns } from './formats.ts'

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
    this.#kept = source.header.flatMap((name, i) => (reportColumns.includes(name) ? [] : [i]))
  }

  get count(): number {
    return this.#count
  }

  async add(rows: readonly { row: CsvRow; reasons: readonly string[] }[]): Promise<void> {
    const lines = rows.map(({ row: { raw, line }, reasons }) => this.#line(raw, [String(line), reasons.join(' ')]))
    if (!this.#handle) {
      this.#handle = await open(this.path, 'w')
      lines.unshift(this.#line(this.#source.header, reportColumns))
    }
    this.#count += rows.length
    await this.#handle.writeFile(stringify(lines, { delimiter: this.#source.delimiter }))
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
