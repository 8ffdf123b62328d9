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
