import type { Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { type Header, type HeaderOptions, readHeader, shown } from './csv-header.ts'
import { type CsvRecord, type Delimiter, RecordReader } from './csv-records.ts'
import { Decoder, type Encoding, encodingOf, TextFault } from './encoding.ts'
import { type FormatName, unguard } from './formats.ts'

export interface CsvRow {
  /** The line where the row begins, from 1; the header is on line 1 (quoted cells may hold line breaks). */
  readonly line: number
  /**
   * The cells in the order of `formats[format].columns`, without the guard, otherwise as they are; undefined where the
   * file lacks the column.
   */
  readonly cells: readonly (string | undefined)[]
  /** The cells as the file has them, in its own order. */
  readonly raw: readonly string[]
  /** Why the row cannot be used. */
  readonly fault?: string
}

export interface CsvFile {
  readonly path: string
  readonly format: FormatName
  readonly delimiter: Delimiter
  readonly encoding: Encoding
  /** In bytes. */
  readonly size: number
  /** The names of the columns as the file has them. */
  readonly header: readonly string[]
  /** Columns that the format has and that are not held here. */
  readonly passedOver: readonly string[]
  /** Columns that the format does not have; none unless they are to be ignored. */
  readonly unknown: readonly string[]
  /**
   * Reads the rows in batches, each time from the beginning. `onBytes` is told how many bytes of the file are done with.
   * Throws a CsvFault where the file cannot be read on.
   */
  rows(onBytes?: (bytes: number) => void): AsyncIterable<readonly CsvRow[]>
}

/** What is wrong with a file as a whole. */
export class CsvFault extends Error {
  readonly path: string
  readonly line: number | undefined
  readonly reason: string

  constructor(path: string, line: number | undefined, reason: string) {
    super(`${path}${line === undefined ? '' : `, line ${line}`}: ${reason}`)
    this.name = 'CsvFault'
    this.path = path
    this.line = line
    this.reason = reason
  }
}

const chunkSize = 2 ** 16
const maxBatch = 1000

/** Tells what a file holds, by its header. */
export async function openCsvFile(path: string, options: HeaderOptions): Promise<CsvFile> {
  try {
    return await openFile(path, options)
  } catch (error) {
    throw faultOf(path, error)
  }
}

async function openFile(path: string, options: HeaderOptions): Promise<CsvFile> {
  const stats = await statFile(path)
  const head = await readHead(path)
  const encoding = encodingOf(head)
  const decoder = new Decoder(encoding)
  const text = decoder.write(head)
  const header = readHeader(text, head.length === stats.size, options)
  return {
    path,
    format: header.format,
    delimiter: header.delimiter,
    encoding,
    size: stats.size,
    header: header.names,
    passedOver: header.passedOver,
    unknown: header.unknown,
    rows: (onBytes = () => {}) => readRows({ path, stats, encoding, header }, onBytes),
  }
}

async function statFile(path: string): Promise<Stats> {
  if (path === '-') throw new TextFault(undefined, `standard input ${notAFile}`)
  const stats = await stat(path)
  if (stats.isDirectory()) throw new TextFault(undefined, 'this is a folder. Name the files in it.')
  // Opening a pipe would wait for its writer.
  if (!stats.isFile()) throw new TextFault(undefined, `a pipe or a device ${notAFile}`)
  return stats
}

const notAFile = 'cannot be read: what is imported is read twice. Save it to a file first.'

async function readHead(path: string): Promise<Buffer> {
  const handle = await open(path)
  try {
    return await readChunk(handle)
  } finally {
    await handle.close()
  }
}

async function readChunk(handle: FileHandle): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkSize), 0, chunkSize)
  return buffer.subarray(0, bytesRead)
}

interface Source {
  readonly path: string
  readonly stats: Stats
  readonly encoding: Encoding
  readonly header: Header
}

async function* readRows(source: Source, onBytes: (bytes: number) => void): AsyncGenerator<readonly CsvRow[]> {
  try {
    yield* readBatches(source, onBytes)
  } catch (error) {
    throw faultOf(source.path, error)
  }
}

async function* readBatches(
  { path, stats, encoding, header }: Source,
  onBytes: (bytes: number) => void,
): AsyncGenerator<readonly CsvRow[]> {
  const decoder = new Decoder(encoding)
  const reader = new RecordReader(header.delimiter)
  const toRow = rowsUnder(header)
  const handle = await open(path)
  try {
    requireUnchanged(stats, await handle.stat())
    let bytes = 0
    let headers = 1
    for (let isLast = false; !isLast; ) {
      const chunk = await readChunk(handle)
      isLast = chunk.length === 0
      if (isLast) decoder.end()
      const records = isLast ? await reader.end() : await reader.write(decoder.write(chunk))
      for (let at = headers; at < records.length; at += maxBatch) yield records.slice(at, at + maxBatch).map(toRow)
      headers = Math.max(0, headers - records.length)
      bytes += chunk.length
      onBytes(bytes)
    }
    requireUnchanged(stats, await handle.stat())
  } finally {
    reader.close()
    await handle.close()
  }
}

function requireUnchanged(before: Stats, now: Stats): void {
  const isSame = before.ino === now.ino && before.size === now.size && before.mtimeMs === now.mtimeMs
  if (!isSame) throw new TextFault(undefined, 'the file has changed while it was read. Try again when it is complete.')
}

/** Makes rows of the records beneath a header. */
function rowsUnder({ names, places }: Header): (record: CsvRecord) => CsvRow {
  return ({ line, cells: raw }) => {
    const cells = places.map((place) => withoutGuard(raw[place]))
    if (raw.length !== names.length) return { line, cells, raw, fault: raggedText(raw.length, names.length) }
    const nul = raw.findIndex((cell) => cell.includes('\0'))
    if (nul !== -1) return { line, cells, raw, fault: `A NUL character is in the cell of ${shown(names[nul]!)}.` }
    return { line, cells, raw }
  }
}

const withoutGuard = (cell: string | undefined) => (cell === undefined ? undefined : unguard(cell))

const raggedText = (cells: number, columns: number) =>
  `The row has ${cells} ${cells === 1 ? 'cell' : 'cells'}, and the header has ${columns}.`

/** An error as one that names the file, if it is the file that is at fault. */
function faultOf(path: string, error: unknown): unknown {
  if (error instanceof TextFault) return new CsvFault(path, error.line, error.reason)
  const { code, syscall } = error as NodeJS.ErrnoException
  if (code === undefined || syscall === undefined) return error
  return new CsvFault(path, undefined, reasons[code] ?? `it cannot be read (${code}).`)
}

const reasons: Record<string, string> = {
  ENOENT: 'there is no such file.',
  EACCES: 'you may not read it.',
  EPERM: 'you may not read it.',
}
