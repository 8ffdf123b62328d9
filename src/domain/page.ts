import type { SQL } from 'drizzle-orm'
import { z } from 'zod'
import { report } from './parse.ts'

/** The position of a row in an ordering: the values that the ordering compares, the last of them unique. */
export type Position = readonly (string | number)[]

/** How a list is ordered, and how a position in it is written into a cursor. */
export interface Ordering<Row> {
  /** Names list and order; a cursor of another list or order is refused. */
  readonly tag: string
  readonly columns: readonly { readonly column: SQL; readonly type: string }[]
  position(row: Row): Position
  /** Whether values read from a cursor can be a position. Cursors come from clients: trust nothing. */
  isPosition(values: readonly unknown[]): boolean
}

/** One page of a list. */
export interface PageRequest {
  readonly limit: number
  /** From the end of the list; the rows of the page are in list order all the same. */
  readonly backward: boolean
  readonly after: Position | null
  readonly before: Position | null
}

export interface Page<Row> {
  readonly rows: readonly Row[]
  readonly hasNextPage: boolean
  readonly hasPreviousPage: boolean
}

export const maxPageSize = 100

export function encodeCursor<Row>(ordering: Ordering<Row>, row: Row): string {
  return Buffer.from(JSON.stringify([ordering.tag, ...ordering.position(row)])).toString('base64url')
}

function decodeCursor<Row>(ordering: Ordering<Row>, cursor: string): Position | undefined {
  try {
    const [tag, ...values] = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (tag !== ordering.tag || values.length !== ordering.columns.length) return undefined
    return ordering.isPosition(values) ? values : undefined
  } catch {
    return undefined
  }
}

const pageSize = z.number().nullish()
const cursor = z.string().nullish()

/** The arguments of a list as they come; `toPageRequest` says what is wrong with them. */
export const pageFields = { first: pageSize, after: cursor, last: pageSize, before: cursor }

type PageArguments = z.output<z.ZodObject<typeof pageFields>>

/** Turns page arguments into a page request, reporting what is wrong with them. */
export function toPageRequest<Row>(
  { first, last, after, before }: PageArguments,
  ordering: Ordering<Row>,
  defaultSize: number,
  context: z.core.$RefinementCtx,
): PageRequest {
  for (const [name, size] of Object.entries({ first, last })) {
    if (typeof size === 'number' && (!Number.isInteger(size) || size < 1 || size > maxPageSize)) {
      report(context, 'OUT_OF_RANGE', `${name} is ${size}; it must be an integer from 1 to ${maxPageSize}.`, [name])
    }
  }
  if (typeof first === 'number' && typeof last === 'number') {
    report(context, 'EXCLUSIVE', 'Give first or last, not both.', ['last'])
  }
  const readCursor = (name: string, text: string | null | undefined): Position | null => {
    if (typeof text !== 'string') return null
    const position = decodeCursor(ordering, text)
    if (!position) report(context, 'INVALID_CURSOR', `${name} is not a cursor of this list in this order.`, [name])
    return position ?? null
  }
  return {
    limit: first ?? last ?? defaultSize,
    backward: typeof last === 'number',
    after: readCursor('after', after),
    before: readCursor('before', before),
  }
}
