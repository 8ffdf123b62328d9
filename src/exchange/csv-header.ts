import { parse } from 'csv-parse/sync'
import { csvOptions, type Delimiter } from './csv-records.ts'
import { TextFault } from './encoding.ts'
import { type FormatName, formats, reportColumns } from './formats.ts'

/** What the first line of a file says of the rows. */
export interface Header {
  readonly format: FormatName
  readonly delimiter: Delimiter
  /** As the file has them. */
  readonly names: readonly string[]
  /** Where each of the format's columns is among the names; -1 where the file lacks it. */
  readonly places: readonly number[]
  /** The format's columns that the file has and that are not held here. */
  readonly passedOver: readonly string[]
  /** Names that are not the format's. */
  readonly unknown: readonly string[]
}

export interface HeaderOptions {
  readonly ignoreUnknownColumns: boolean
}

/** Reads the header at the beginning of a file, in which names are in any order and case. */
export function readHeader(head: Buffer, isWholeFile: boolean, options: HeaderOptions): Header {
  const { line, names, delimiter, end } = firstRecord(head)
  const fault = (reason: string) => new TextFault(line, reason)
  if (names.length === 0) throw new TextFault(undefined, `it is empty. ${headersText}`)
  const format = formatOf(names)
  if (!format || (end === head.length && !isWholeFile))
    throw fault(`this is not the header of a file of contacts or of organizations. ${headersText}`)

  const { columns, held, required } = formats[format]
  const keys = names.map(keyOf)
  const places = columns.map((column) => keys.indexOf(keyOf(column)))
  const isMissing = (column: string) => !keys.includes(keyOf(column))
  const known = names.map((name) => columns.find((column) => keyOf(column) === keyOf(name)))
  const isReport = (name: string) => reportColumns.some((column) => keyOf(column) === keyOf(name))
  const unknown = names.filter((name, at) => known[at] === undefined && !isReport(name))

  const repeated = names.find((name, at) => keyOf(name) !== '' && keys.indexOf(keyOf(name)) < at)
  if (repeated !== undefined) throw fault(`the column ${shown(repeated)} is there more than once.`)
  const lacking = required.filter(isMissing)
  if (lacking.length > 0) throw fault(`a file of ${format} must have ${lackingText(lacking, unknown)}.`)
  if (unknown.length > 0 && !options.ignoreUnknownColumns)
    throw fault(
      `a file of ${format} has no ${unknownText(unknown, columns.filter(isMissing))}. ` +
        '--ignore-unknown-columns passes over what is unknown.',
    )

  const passedOver = known.filter((column) => column !== undefined).filter((column) => !held.includes(column))
  return { format, delimiter, names, places, passedOver, unknown }
}

const formatNames: readonly FormatName[] = ['contacts', 'organizations']

const headersText = `A header names the columns, in any order: ${formatNames
  .map((name) => `${formats[name].held.join(',')} (${name})`)
  .join(' or ')}.`

interface FirstRecord {
  readonly line: number
  readonly delimiter: Delimiter
  /** None if there is no record. */
  readonly names: readonly string[]
  readonly end: number
}

/** The record of the delimiter under which the most columns are known. */
function firstRecord(head: Buffer): FirstRecord {
  const delimiters: readonly Delimiter[] = [',', ';', '\t']
  const records = delimiters.map((delimiter) => firstRecordBy(head, delimiter))
  return records.reduce((best, record) => (knownInAny(record.names) > knownInAny(best.names) ? record : best))
}

function firstRecordBy(head: Buffer, delimiter: Delimiter): FirstRecord {
  let first: FirstRecord = { line: 1, delimiter, names: [], end: 0 }
  try {
    parse(head, {
      ...csvOptions(delimiter),
      to: 1,
      on_record(names, { empty_lines, bytes }) {
        first = { line: 1 + empty_lines, delimiter, names, end: bytes }
        return null
      },
    })
    return first
  } catch {
    // Its quotes are not where quotes may be.
    return { ...first, names: [''] }
  }
}

/** The format whose required columns are there; without one, that of the most columns that are or may be meant. */
function formatOf(names: readonly string[]): FormatName | undefined {
  const complete = formatNames.filter((format) => formats[format].required.every((column) => has(names, column)))
  const candidates = (complete.length > 0 ? complete : formatNames).map((format) => ({
    format,
    known: knownIn(names, format),
    alike: names.filter((name) => isAlike(name, formats[format].columns)).length,
  }))
  candidates.sort((one, other) => other.known - one.known || other.alike - one.alike)
  const [best] = candidates
  return best && best.known + best.alike > 0 ? best.format : undefined
}

const isAlike = (name: string, columns: readonly string[]) => !has(columns, name) && alike(name, columns) !== undefined

/** `ID` is in every format, so it tells nothing. */
const knownIn = (names: readonly string[], format: FormatName): number =>
  formats[format].columns.filter((column) => column !== 'ID' && has(names, column)).length

const knownInAny = (names: readonly string[]): number =>
  Math.max(...formatNames.map((format) => knownIn(names, format)))

const keyOf = (name: string): string => name.trim().toLowerCase()
const has = (names: readonly string[], column: string) => names.some((name) => keyOf(name) === keyOf(column))

function lackingText(lacking: readonly string[], unknown: readonly string[]): string {
  const texts = lacking.map((column) => {
    const meant = alike(column, unknown)
    return meant === undefined ? `"${column}"` : `"${column}" (did you mean it by ${shown(meant)}?)`
  })
  return `the column${plural(lacking)} ${texts.join(', ')}`
}

function unknownText(unknown: readonly string[], missing: readonly string[]): string {
  const texts = unknown.slice(0, maxShown).map((name) => {
    const meant = alike(name, missing)
    return meant === undefined ? shown(name) : `${shown(name)} (did you mean "${meant}"?)`
  })
  const more = unknown.length > maxShown ? ` and ${unknown.length - maxShown} more` : ''
  return `column${plural(unknown)} ${texts.join(', ')}${more}`
}

const maxShown = 10
const maxNameShown = 60
const plural = (names: readonly string[]) => (names.length === 1 ? '' : 's')

/** A name out of a file, for a message. */
export const shown = (name: string) =>
  JSON.stringify(name.length > maxNameShown ? `${name.slice(0, maxNameShown)}…` : name)

/** The one of the names that differs from a name only by a slip, if any. */
function alike(name: string, names: readonly string[]): string | undefined {
  const letters = lettersOf(name)
  return names.find((other) => {
    const otherLetters = lettersOf(other)
    const slips = Math.floor(Math.max(letters.length, otherLetters.length) / 4)
    if (letters === '' || Math.abs(letters.length - otherLetters.length) > slips) return false
    return distance(letters, otherLetters) <= slips
  })
}

const lettersOf = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '')

/** How many characters must be put in, taken out or replaced to make one text of the other. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1]
    for (let to = 0; to < other.length; to++)
      next.push(Math.min(row[to + 1]! + 1, next[to]! + 1, row[to]! + Number(letter !== other[to])))
    row = next
  }
  return row[other.length]!
}
