import { type SQL, sql } from 'drizzle-orm'
import { defineKeyedRead, type KeyedRead, type ParameterValue, param } from '../db/statement.ts'
import type { Permission } from '../db/tables.ts'
import { type Context, requirePermission } from './context.ts'
import type { Ordering, Page, PageRequest, Position } from './page.ts'

/** A list that is read in pages: where its rows come from, and whose list it is. */
export interface Listing<Row> {
  /** For logs and metrics. */
  readonly name: string
  /** What it takes to read it. */
  readonly permission: Permission
  readonly columns: readonly SQL[]
  readonly from: SQL
  /** The column that names the account, and the one that names the owner: the object whose list this is. */
  readonly account: SQL
  readonly owner: SQL
  // biome-ignore lint/suspicious/noExplicitAny: cells have the types of the listing's columns
  readonly row: (cells: any, owner: number) => Row
}

/** Conditions on the rows of a list. `shape` names all that their SQL depends on. */
export interface Filter {
  readonly shape: string
  readonly conditions: readonly SQL[]
  readonly parameters: Record<string, ParameterValue>
}

interface Condition {
  where: SQL
  /** The parameter that the condition names like itself; null or undefined where it is not to filter. */
  value?: ParameterValue | undefined
}

/** A filter from conditions by name. A condition without a parameter is given or not: `flag && { where }`. */
export function filterOf(conditions: Record<string, Condition | false>): Filter {
  const applied = Object.entries(conditions).filter(
    (entry): entry is [string, Condition] =>
      entry[1] !== false && (!('value' in entry[1]) || (entry[1].value ?? null) !== null),
  )
  return {
    shape: applied.map(([name]) => name).join(' '),
    conditions: applied.map(([, { where }]) => where),
    parameters: Object.fromEntries(
      applied.flatMap(([name, { value }]) => (value === undefined ? [] : [[name, value]])),
    ),
  }
}

type Parameters = Record<string, ParameterValue>

/** Statements of each listing, by what they ask; the number of shapes is bounded by the schema, not by the callers. */
const pageStatements = new Map<Listing<unknown>, Map<string, KeyedRead<Parameters, unknown>>>()
const countStatements = new Map<Listing<unknown>, Map<string, KeyedRead<Parameters, number>>>()

function memoize<Value>(
  known: Map<Listing<unknown>, Map<string, Value>>,
  listing: Listing<unknown>,
  shape: string,
  make: () => Value,
): Value {
  let ofListing = known.get(listing)
  if (ofListing === undefined) {
    ofListing = new Map()
    known.set(listing, ofListing)
  }
  let value = ofListing.get(shape)
  if (value === undefined) {
    value = make()
    ofListing.set(shape, value)
  }
  return value
}

const owners = sql`unnest(${param('keys', 'bigint[]')}) as owner(id)`
const ownerId = sql.raw('owner.id')

const whereOf = (listing: Listing<unknown>, ofOwner: SQL, more: readonly SQL[]) =>
  sql.join(
    [sql`${listing.account} = ${param('account', 'bigint')}`, sql`${listing.owner} = ${ofOwner}`, ...more],
    sql` and `,
  )

/**
 * Reads one page for each owner, by one statement; the pages are in the order of the owners. For each owner the index is
 * walked from its cursor until the page is full, so the cost is that of the rows returned.
 */
export async function readPages<Row>(
  ctx: Context,
  listing: Listing<Row>,
  keys: readonly number[],
  request: { page: PageRequest; ordering: Ordering<NoInfer<Row>>; descending?: boolean; filter: Filter },
): Promise<Page<Row>[]> {
  requirePermission(ctx, listing.permission)
  const { page, ordering, descending = false, filter } = request
  const shape = [
    ordering.tag,
    descending,
    page.backward,
    page.after !== null,
    page.before !== null,
    filter.shape,
  ].join()
  const statement = memoize(pageStatements, listing, shape, () =>
    pageStatement(listing, ordering as Ordering<unknown>, descending, page, filter),
  )
  const found = await ctx.db.run(statement, {
    ...filter.parameters,
    ...positionParameters('after', page.after),
    ...positionParameters('before', page.before),
    account: ctx.account,
    keys,
    limit: page.limit + 1,
  })
  return found.map((rows) => toPage(rows as readonly Row[], page))
}

function pageStatement(
  listing: Listing<unknown>,
  ordering: Ordering<unknown>,
  descending: boolean,
  page: PageRequest,
  filter: Filter,
): KeyedRead<Parameters, unknown> {
  const columns = ordering.columns.map(({ column }) => column)
  const beyond = (cursor: 'after' | 'before') => {
    const position = ordering.columns.map(({ type }, i) => param(`${cursor}${i}`, type))
    const operator = sql.raw((cursor === 'after') !== descending ? '>' : '<')
    return sql`(${sql.join(columns, sql`, `)}) ${operator} (${sql.join(position, sql`, `)})`
  }
  const where = whereOf(listing, ownerId, [
    ...filter.conditions,
    ...(page.after ? [beyond('after')] : []),
    ...(page.before ? [beyond('before')] : []),
  ])
  const direction = sql.raw(descending !== page.backward ? 'desc' : 'asc')
  const order = sql.join(
    columns.map((column) => sql`${column} ${direction}`),
    sql`, `,
  )
  return defineKeyedRead(
    `${listing.name}_page`,
    listing.columns,
    (shown) => sql`select owner.id, page.* from ${owners} cross join lateral (
      select ${shown} from ${listing.from} where ${where} order by ${order} limit ${param('limit', 'integer')}
    ) page`,
    listing.row,
  )
}

const positionParameters = (name: string, position: Position | null): Parameters =>
  Object.fromEntries(position?.map((value, i) => [`${name}${i}`, value]) ?? [])

/** One row more than asked for tells whether there is another page. */
function toPage<Row>(found: readonly Row[], page: PageRequest): Page<Row> {
  const more = found.length > page.limit
  const rows = more ? found.slice(0, page.limit) : found
  return page.backward
    ? { rows: rows.toReversed(), hasPreviousPage: more, hasNextPage: page.before !== null }
    : { rows, hasNextPage: more, hasPreviousPage: page.after !== null }
}

/** How many rows the list of each owner has under the filter, in the order of the owners. */
export async function readCounts(
  ctx: Context,
  listing: Listing<unknown>,
  keys: readonly number[],
  filter: Filter,
): Promise<number[]> {
  const counts = await countRows(ctx, listing, keys, filter, undefined)
  return counts.map(([count = 0]) => count)
}

/** The same; undefined for an owner that is none, by a condition on `owner.id`. */
export async function readCountsOfOwners(
  ctx: Context,
  listing: Listing<unknown>,
  isOwner: SQL,
  keys: readonly number[],
  filter: Filter,
): Promise<(number | undefined)[]> {
  const counts = await countRows(ctx, listing, keys, filter, isOwner)
  return counts.map(([count]) => count)
}

async function countRows(
  ctx: Context,
  listing: Listing<unknown>,
  keys: readonly number[],
  filter: Filter,
  isOwner: SQL | undefined,
): Promise<(readonly number[])[]> {
  requirePermission(ctx, listing.permission)
  const shape = [filter.shape, isOwner !== undefined].join()
  const statement = memoize(countStatements, listing, shape, () => {
    const where = whereOf(listing, ownerId, filter.conditions)
    return defineKeyedRead<Parameters, number>(
      `${listing.name}_count`,
      [sql`(select count(*) from ${listing.from} where ${where})`],
      (count) => sql`select owner.id, ${count} from ${owners} where ${isOwner ?? sql`true`}`,
      ([count]) => count,
    )
  })
  return ctx.db.run(statement, { ...filter.parameters, account: ctx.account, keys })
}
