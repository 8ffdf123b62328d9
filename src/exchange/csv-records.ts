import { CsvError, type Parser, parse } from 'csv-parse'
import { TextFault } from './encoding.ts'

export type Delimiter = ',' | ';' | '\t'

export interface CsvRecord {
  /** Where the record begins, from 1. */
  readonly line: number
  readonly cells: readonly string[]
}

/** A quote that is never closed makes one record of all that follows. */
const maxRecordSize = 2 ** 20

export const csvOptions = (delimiter: Delimiter) => ({
  delimiter,
  record_delimiter: ['\r\n', '\n', '\r'],
  relax_column_count: true,
  skip_empty_lines: true,
  max_record_size: maxRecordSize,
})

/** Makes records (RFC 4180) of UTF-8 that comes in pieces, and throws a TextFault where that cannot be. */
export class RecordReader {
  readonly #parser: Parser
  #records: CsvRecord[] = []
  #count = 0
  #breaksInCells = 0
  #unfinished = 0

  constructor(delimiter: Delimiter) {
    this.#parser = parse({ ...csvOptions(delimiter), on_record: (cells) => this.#take(cells) })
    // Errors are told to the callbacks of write() and end().
    this.#parser.on('error', () => {})
    this.#parser.resume()
  }

  /** The records that this text completes. */
  async write(text: Buffer): Promise<readonly CsvRecord[]> {
    const before = this.#linesDone
    await this.#done((told) => this.#parser.write(text, told))
    this.#unfinished = text.length + (this.#linesDone === before ? this.#unfinished : 0)
    // The parser does not count delimiters. Quotes that are doubled, and letters of several bytes, are within this.
    if (this.#unfinished > 4 * maxRecordSize) throw this.#tooLong()
    return this.#takeRecords()
  }

  async end(): Promise<readonly CsvRecord[]> {
    await this.#done((told) => this.#parser.end(told))
    return this.#takeRecords()
  }

  close(): void {
    this.#parser.destroy()
  }

  /** A record, or an empty line. */
  get #linesDone(): number {
    return this.#count + this.#parser.info.empty_lines
  }

  /** The line after the last record. (The parser counts CR LF in a cell as two.) */
  get #line(): number {
    return 1 + this.#linesDone + this.#breaksInCells
  }

  #take(cells: readonly string[]): null {
    this.#records.push({ line: this.#line, cells })
    this.#count++
    for (const cell of cells) this.#breaksInCells += breaksIn(cell)
    return null
  }

  #takeRecords(): readonly CsvRecord[] {
    const records = this.#records
    this.#records = []
    return records
  }

  #done(start: (told: (error?: Error | null) => void) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    start((error) => (error ? reject(this.#faultOf(error)) : resolve()))
    return promise
  }

  #faultOf(error: Error): Error {
    if (!(error instanceof CsvError)) return error
    const { code } = error
    if (code === 'CSV_MAX_RECORD_SIZE') return this.#tooLong()
    const cell = `cell ${Number(error.index) + 1} of the row that begins here`
    if (code === 'CSV_QUOTE_NOT_CLOSED') return this.#fault(`the quote of ${cell} is never closed.`)
    if (code === 'CSV_INVALID_CLOSING_QUOTE')
      return this.#fault(`${cell} goes on after its closing quote. A quote may be missing, or one is not doubled.`)
    return this.#fault(
      `${cell} has a quote but does not begin with one. Put the cell in quotes, and double those in it.`,
    )
  }

  #tooLong(): TextFault {
    return this.#fault('the row that begins here is longer than 1 MiB. A closing quote may be missing.')
  }

  #fault(reason: string): TextFault {
    return new TextFault(this.#line, reason)
  }
}

const lineBreak = /\r\n|\r|\n/g

function breaksIn(cell: string): number {
  return cell.includes('\n') || cell.includes('\r') ? cell.match(lineBreak)!.length : 0
}
