import { Placeholder, type SQL, sql } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'

/** What a statement takes: plain values, lists (sent as PostgreSQL arrays) and JSON documents. */
export type ParameterValue = string | number | boolean | Date | null | readonly (string | number)[] | Json

/** A value that is sent as one `jsonb` parameter. */
export class Json {
  readonly text: string
  constructor(value: unknown) {
    this.text = JSON.stringify(value)
  }
}

/** A statement whose text is built once. Its rows come back as arrays of cells, in the order of its columns. */
export interface Statement<Parameters, Row> {
  /** For logs and metrics; never holds values. */
  readonly name: string
  readonly text: string
  readonly bind: (parameters: Parameters) => Cell[]
  // biome-ignore lint/suspicious/noExplicitAny: a cell has the type of its column, which only the statement knows
  readonly row: (cells: any) => Row
  /** Whether running it again does no harm, so that it is sent anew when a connection is lost under it. */
  readonly repeatable: boolean
  /** Of a keyed read: its one row as lists by their key. */
  readonly byKey?: ((columns: readonly unknown[]) => ReadonlyMap<number, readonly unknown[]>) | undefined
}

/**
 * A read of what belongs to each of several keys; running it brings a list for each key, in their order. Those that differ
 * in nothing but their keys may be sent as one statement, so the rows have several readers, and nobody may change them.
 */
export type KeyedRead<Parameters, Row> = Statement<Parameters & Keys, readonly Row[]>

export interface Keys {
  readonly keys: readonly number[]
}

/** A parameter as both drivers take it. */
export type Cell = string | boolean | null

const dialect = new PgDialect()

/**
 * Defines a statement from Drizzle SQL with named placeholders (`param('account')`); each name is sent once.
 * `row` turns the cells of one result row into what callers work with.
 */
export function defineStatement<Parameters extends Record<string, ParameterValue>, Row = undefined>(
  name: string,
  query: SQL,
  row: Statement<Parameters, Row>['row'] = () => undefined as Row,
  repeatable = false,
): Statement<Parameters, Row> {
  const compiled = dialect.sqlToQuery(query)
  const names: string[] = []
  const positions = compiled.params.map((parameter) => {
    if (!(parameter instanceof Placeholder)) throw new Error(`${name}: write values as placeholders or as SQL`)
    if (!names.includes(parameter.name)) names.push(parameter.name)
    return names.indexOf(parameter.name) + 1
  })
  return {
    name,
    text: compiled.sql.replace(/\$(\d+)/g, (_, n) => `$${positions[n - 1]}`),
    bind: (parameters) =>
      names.map((parameter) => {
        const value = parameters[parameter]
        if (value === undefined) throw new Error(`${name}: the parameter ${parameter} was not given`)
        return toCell(value)
      }),
    row,
    repeatable,
  }
}

/** Defines a statement that changes nothing, or nothing that matters if it is done twice. */
export function defineRead<Parameters extends Record<string, ParameterValue>, Row>(
  name: string,
  query: SQL,
  row: Statement<Parameters, Row>['row'],
): Statement<Parameters, Row> {
  return defineStatement(name, query, row, true)
}

/**
 * Defines a read of what belongs to each of `param('keys', 'bigint[]')`. `queryOf` is given the columns that `row` takes,
 * to select them after the key. The rows of a key stay in the order of the query; instants come as texts.
 *
 * What is sent is each column as one JSON array: the driver then reads a few long cells, and not many short ones, which
 * takes a third of its time for hundreds of rows.
 */
export function defineKeyedRead<Parameters extends Record<string, ParameterValue>, Row>(
  name: string,
  columns: readonly SQL[],
  queryOf: (columns: SQL) => SQL,
  // biome-ignore lint/suspicious/noExplicitAny: a cell has the type of its column, which only the statement knows
  row: (cells: any, key: number) => Row,
): KeyedRead<Parameters, Row> {
  const names = ['key', ...columns.map((_, i) => `c${i}`)]
  const answer = sql.raw(names.map((column) => `json_agg(${column})`).join(', '))
  const read = defineRead<Parameters & { keys: readonly number[] }, readonly Row[]>(
    name,
    sql`select ${answer} from (${queryOf(sql.join([...columns], sql`, `))}) as found(${sql.raw(names.join(', '))})`,
    () => [],
  )
  return { ...read, byKey: (found) => listsByKey(found as (unknown[] | null)[], row) }
}

function listsByKey<Row>(
  [keys, ...columns]: readonly (unknown[] | null)[],
  row: (cells: unknown[], key: number) => Row,
) {
  const lists = new Map<number, Row[]>()
  // Without any row, the aggregates are null.
  if (!keys) return lists
  const width = columns.length
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i] as number
    const cells = new Array<unknown>(width)
    for (let column = 0; column < width; column += 1) cells[column] = columns[column]![i]
    const list = lists.get(key)
    if (list) list.push(row(cells, key))
    else lists.set(key, [row(cells, key)])
  }
  return lists
}

/** These columns of a table or a common table expression. */
export function columnsOf(from: string, names: readonly string[]): SQL[] {
  return names.map((name) => sql.raw(`${from}.${name}`))
}

/** A named parameter with its PostgreSQL type, e.g. `param('ids', 'bigint[]')`. */
export function param(name: string, type: string): SQL {
  return sql`${sql.placeholder(name)}::${sql.raw(type)}`
}

function toCell(value: ParameterValue): Cell {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return String(value)
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Json) return value.text
  return `{${value.map((item) => (typeof item === 'number' ? item : quoteItem(item))).join(',')}}`
}

const quoteItem = (item: string) => `"${item.replace(/["\\]/g, '\\$&')}"`
