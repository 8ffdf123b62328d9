import { type SQL, sql } from 'drizzle-orm'
import { defineRead, type ParameterValue, param, type Statement } from '../db/statement.ts'
import type { Permission } from '../db/tables.ts'
import { type Context, requirePermission } from './context.ts'
import type { Ordering, Page, PageRequest, Position } from './page.ts'

/** A list that is read in pages: where its rows come from, and whose list it is. */
export interface Listing<Row> {
  /** For logs and metrics; unique among the listings. */
  readonly name: string
  /** What it takes to read it. */
  readonly permission: Permission
  readonly columns: SQL
  readonly from: SQL
  /** The column that names the account, and the one that names the owner: the object whose list this is. */
  readonly account: SQL
  readonly owner: SQL
  // biome-ignore lint/suspicious/noExplicitAny: cells have the types of the listing's columns
  readonly row: (cells: any) => Row
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

/** Statements by what they ask; the number of shapes is bounded by the schema, not by the callers. */
const pageStatements = new Map<string, Statement<Parameters, [owner: number, row: unknown]>>()
const countStatements = new Map<string, Statement<Parameters, [owner: number, count: number]>>()

function memoize<Value>(known: Map<string, Value>, key: string, make: () => Value): Value {
  let value = known.get(key)
  if (value === undefined) {
    value = make()
    known.set(key, value)
  }
  return value
}

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
  owners: readonly number[],
  request: { page: PageRequest; ordering: Ordering<Row>; descending?: boolean; filter: Filter },
): Promise<Page<Row>[]> {
  requirePermission(ctx, listing.permission)
  const { page, ordering, descending = false, filter } = request
  const shape = [
    listing.name,
    ordering.tag,
    descending,
    page.backward,
    page.after !== null,
    page.before !== null,
    filter.shape,
  ].join()
  const statement = memoize(pageStatements, shape, () =>
    pageStatement(listing, ordering as Ordering<unknown>, descending, page, filter),
  )
  const rows = await ctx.db.run(statement, {
    ...filter.parameters,
    ...positionParameters('after', page.after),
    ...positionParameters('before', page.before),
    account: ctx.account,
    owners,
    limit: page.limit + 1,
  })
  const byOwner = new Map<number, Row[]>(owners.map((id) => [id, []]))
  for (const [owner, row] of rows) byOwner.get(owner)!.push(row as Row)
  return owners.map((id) => toPage(byOwner.get(id)!, page))
}

function pageStatement(
  listing: Listing<unknown>,
  ordering: Ordering<unknown>,
  descending: boolean,
  page: PageRequest,
  filter: Filter,
): Statement<Parameters, [owner: number, row: unknown]> {
  const columns = ordering.columns.map(({ column }) => column)
  const beyond = (cursor: 'after' | 'before') => {
    const position = ordering.columns.map(({ type }, i) => param(`${cursor}${i}`, type))
    const operator = sql.raw((cursor === 'after') !== descending ? '>' : '<')
    return sql`(${sql.join(columns, sql`, `)}) ${operator} (${sql.join(position, sql`, `)})`
  }
  const where = whereOf(listing, sql.raw('owner.id'), [
    ...filter.conditions,
    ...(page.after ? [beyond('after')] : []),
    ...(page.before ? [beyond('before')] : []),
  ])
  const direction = sql.raw(descending !== page.backward ? 'desc' : 'asc')
  const order = sql.join(
    columns.map((column) => sql`${column} ${direction}`),
    sql`, `,
  )
  return defineRead(
    `${listing.name}_page`,
    sql`select owner.id, page.* from unnest(${param('owners', 'bigint[]')}) as owner(id) cross join lateral (
      select ${listing.columns} from ${listing.from} where ${where} order by ${order} limit ${param('limit', 'integer')}
    ) page`,
    ([id, ...cells]) => [id, listing.row(cells)],
  )
}

const positionParameters = (name: string, position: Position | null): Parameters =>
  Object.fromEntries(position?.map((value, i) => [`${name}${i}`, value]) ?? [])

/** One row more than asked for tells whether there is another page. */
function toPage<Row>(found: Row[], page: PageRequest): Page<Row> {
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
  owners: readonly number[],
  filter: Filter,
): Promise<number[]> {
  requirePermission(ctx, listing.permission)
  const statement = memoize(countStatements, [listing.name, filter.shape].join(), () =>
    defineRead<Parameters, [owner: number, count: number]>(
      `${listing.name}_count`,
      sql`select ${listing.owner}, count(*) from ${listing.from}
        where ${whereOf(listing, sql`any(${param('owners', 'bigint[]')})`, filter.conditions)}
        group by ${listing.owner}`,
      (cells) => cells,
    ),
  )
  const counts = new Map(await ctx.db.run(statement, { ...filter.parameters, account: ctx.account, owners }))
  return owners.map((id) => counts.get(id) ?? 0)
}
