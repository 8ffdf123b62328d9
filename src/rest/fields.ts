import { RestError } from './errors.ts'

/** How each field of an object is shown; undefined leaves it out. */
export type Fields<Row> = Readonly<Record<string, (row: Row) => unknown>>

/** The fields that `?fields=a,b` asks for, in that order; the default ones where it is absent. Unknown ones are refused. */
export function readFields<Row>(url: URL, known: Fields<Row>, byDefault: readonly string[]): readonly string[] {
  const given = url.searchParams.get('fields')
  if (given === null) return byDefault
  const names = [...new Set(given.split(',').map((name) => name.trim()))].filter(Boolean)
  const unknown = names.filter((name) => !Object.hasOwn(known, name))
  if (unknown.length > 0) throw new RestError(400, { message: `Unknown fields: ${unknown.join(', ')}` })
  return names.length > 0 ? names : byDefault
}

export function show<Row>(row: Row, known: Fields<Row>, names: readonly string[]): Record<string, unknown> {
  const shown: Record<string, unknown> = {}
  for (const name of names) {
    const value = known[name]!(row)
    if (value !== undefined) shown[name] = value
  }
  return shown
}
