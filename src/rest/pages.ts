import type { z } from 'zod'
import { encodeCursor, maxPageSize, type Ordering, type Page } from '../domain/page.ts'
import { RestError } from './errors.ts'

export const defaultPerPage = 100

const parameters = { perPage: 'per_page', after: 'search_after', before: 'search_before' }

/** Reads `per_page`, `search_after` and `search_before` into the arguments of a list, and refuses what cannot be. */
export function readPage<Arguments extends z.ZodType>(
  url: URL,
  schema: Arguments,
): { perPage: number; list: z.output<Arguments> } {
  const perPage = readPerPage(url.searchParams.get(parameters.perPage))
  const after = url.searchParams.get(parameters.after)
  const before = url.searchParams.get(parameters.before)
  const isBackward = before !== null && after === null
  const list = schema.safeParse({ [isBackward ? 'last' : 'first']: perPage, after, before })
  if (list.success) return { perPage, list: list.data }
  const names = [
    ...new Set(list.error.issues.map(({ path }) => (path[0] === 'after' ? parameters.after : parameters.before))),
  ]
  throw new RestError(400, {
    message: names.map((name) => `Parameter '${name}' is not a cursor of this list`).join('. '),
  })
}

function readPerPage(given: string | null): number {
  if (given === null) return defaultPerPage
  const fault = (text: string) => new RestError(400, { message: `Parameter '${parameters.perPage}' ${text}` })
  if (!/^-?\d+$/.test(given)) throw fault('must be an integer')
  const perPage = Number(given)
  if (perPage < 1) throw fault('cannot be less than 1')
  if (perPage > maxPageSize) throw fault(`cannot be greater than ${maxPageSize}`)
  return perPage
}

/** The headers of a page: where it leads, and how much there is. */
export function pageHeaders<Row>(
  url: URL,
  page: Page<Row>,
  ordering: Ordering<Row>,
  perPage: number,
  total: number,
): Record<string, string> {
  const search = new URLSearchParams(url.search)
  search.delete(parameters.after)
  search.delete(parameters.before)
  search.set(parameters.perPage, String(perPage))
  const target = `${url.origin}${url.pathname}?${search}`
  // Cursors hold nothing that an address would have to escape.
  const link = (rel: string, cursor?: [name: string, row: Row]) =>
    `<${target}${cursor ? `&${cursor[0]}=${encodeCursor(ordering, cursor[1])}` : ''}>; rel="${rel}"`
  const first = page.rows[0]
  const last = page.rows.at(-1)
  return {
    link: [
      link('first'),
      ...(page.hasPreviousPage && first !== undefined ? [link('prev', [parameters.before, first])] : []),
      ...(page.hasNextPage && last !== undefined ? [link('next', [parameters.after, last])] : []),
    ].join(', '),
    'x-pagination-per-page': String(perPage),
    'x-pagination-total-entries': String(total),
  }
}
