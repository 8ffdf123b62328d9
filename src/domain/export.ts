import { type SQL, sql } from 'drizzle-orm'
import { columnsOf, defineRead, param } from '../db/statement.ts'
import { contacts, organizations } from '../db/tables.ts'
import { listOrder } from './contact-lists.ts'
import { type Contact, detailNames, summaryNames, toListed } from './contacts.ts'
import { type Context, requirePermission } from './context.ts'
import { idOf } from './ids.ts'
import { filterOf, type Listing, readCounts, readPages } from './listing.ts'
import { type Organization, organizationNames, toOrganization } from './organizations.ts'
import type { Ordering, Page, Position } from './page.ts'
import { storableText } from './parse.ts'

/** What is exported of an account: all, or only what fits. */
export interface ExportScope {
  /** Nothing but these organizations and their contacts. */
  readonly organizations?: readonly number[] | undefined
  /** Nothing but what was created or changed then or later. */
  readonly since?: Date | undefined
}

export interface ExportedOrganization extends Organization {
  readonly parentName: string | null
}

export interface NamedOrganization {
  readonly id: number
  readonly name: string
}

/** Contacts of one organization, in list order. Those of one that has many come in several groups, one after the other. */
export interface ContactGroup {
  readonly organization: NamedOrganization
  readonly contacts: readonly Contact[]
}

/** How much is read by one statement, which bounds what is in memory at a time. */
export interface ExportSizes {
  readonly organizations: number
  /** Contacts of each organization that are read together with those of others, as of one moment. */
  readonly contactsEach: number
  /** Contacts of one organization that has more. */
  readonly contacts: number
}

const defaultSizes: ExportSizes = { organizations: 250, contactsEach: 100, contacts: 2500 }

const byName: Ordering<NamedOrganization> = {
  tag: 'export',
  columns: [{ column: sql.raw('o.name'), type: 'text' }],
  position: ({ name }) => [name],
  isPosition: ([name]) => typeof name === 'string',
}

const namedList: Listing<NamedOrganization> = {
  name: 'export_names',
  permission: 'organizations:read',
  columns: columnsOf('o', ['id', 'name']),
  from: sql`${organizations} o`,
  account: sql.raw('o.account_id'),
  owner: sql.raw('o.account_id'),
  row: ([id, name]) => ({ id, name }),
}

/** Each parent is looked up by its key: a join may read the whole table for every page. */
const parentName = sql`(
    select p.name from ${organizations} p where p.account_id = ${sql.raw('o.account_id')} and p.id = ${sql.raw('o.parent_id')}
  )`

const organizationList: Listing<ExportedOrganization> = {
  ...namedList,
  name: 'export_organizations',
  columns: [parentName, ...columnsOf('o', organizationNames)],
  row: ([parentName, ...cells]) => ({ ...toOrganization(cells), parentName }),
}

const contactList: Listing<Contact> = {
  name: 'export_contacts',
  permission: 'contacts:read',
  columns: columnsOf('c', [...summaryNames, ...detailNames]),
  from: sql`${contacts} c`,
  account: sql.raw('c.account_id'),
  owner: sql.raw('c.organization_id'),
  row: toListed,
}

const contactsOfAccount: Listing<Contact> = { ...contactList, owner: sql.raw('c.account_id') }

const among = (column: SQL) => sql`${column} = any(${param('organizations', 'bigint[]')})`
const changed = (column: SQL) => sql`${column} >= ${param('since', 'timestamptz')}`

const organizationFilter = ({ organizations, since }: ExportScope) =>
  filterOf({
    organizations: { where: among(sql.raw('o.id')), value: organizations },
    since: { where: changed(sql.raw('o.updated_at')), value: since },
  })

const contactFilter = ({ organizations, since }: ExportScope) =>
  filterOf({
    organizations: { where: among(sql.raw('c.organization_id')), value: organizations },
    since: { where: changed(sql.raw('c.updated_at')), value: since },
  })

/** The organizations of the account by their names, page by page. */
export async function* exportOrganizations(
  ctx: Context,
  scope: ExportScope,
  { organizations } = defaultSizes,
): AsyncGenerator<readonly ExportedOrganization[]> {
  yield* pagesByName(ctx, organizationList, scope, organizations)
}

/**
 * The contacts of the account by the names of their organizations, then in list order. Each statement reads those of many
 * organizations; of one that has many it reads the first, and the others follow by statements of their own.
 */
export async function* exportContacts(
  ctx: Context,
  { organizations, since }: ExportScope,
  sizes = defaultSizes,
): AsyncGenerator<readonly ContactGroup[]> {
  requirePermission(ctx, 'contacts:read')
  const filter = contactFilter({ since })
  const read = (owners: readonly NamedOrganization[], limit: number, after: Position | null) =>
    readPages(
      ctx,
      contactList,
      owners.map(({ id }) => id),
      { page: { limit, after, before: null, backward: false }, ordering: listOrder, filter },
    )

  let groups: ContactGroup[] = []
  let gathered = 0
  const add = (organization: NamedOrganization, { rows }: Page<Contact>) => {
    if (rows.length > 0) groups.push({ organization, contacts: rows })
    gathered += rows.length
  }
  const take = () => {
    const taken = groups
    groups = []
    gathered = 0
    return taken
  }
  for await (const owners of pagesByName(ctx, namedList, { organizations }, sizes.organizations)) {
    const firstPages = await read(owners, sizes.contactsEach, null)
    for (const [i, organization] of owners.entries()) {
      let page = firstPages[i]!
      add(organization, page)
      while (page.hasNextPage) {
        if (gathered >= sizes.contacts) yield take()
        page = (await read([organization], sizes.contacts, listOrder.position(page.rows.at(-1)!)))[0]!
        add(organization, page)
      }
    }
    yield take()
  }
}

async function* pagesByName<Row extends NamedOrganization>(
  ctx: Context,
  listing: Listing<Row>,
  scope: ExportScope,
  limit: number,
): AsyncGenerator<readonly Row[]> {
  const filter = organizationFilter(scope)
  let after: Position | null = null
  for (;;) {
    const page = { limit, after, before: null, backward: false }
    const [{ rows, hasNextPage }] = (await readPages(ctx, listing, [ctx.account], {
      page,
      ordering: byName,
      filter,
    })) as [Page<Row>]
    yield rows
    if (!hasNextPage) return
    after = byName.position(rows.at(-1)!)
  }
}

export async function countExportedOrganizations(ctx: Context, scope: ExportScope): Promise<number> {
  const [count] = await readCounts(ctx, namedList, [ctx.account], organizationFilter(scope))
  return count!
}

export async function countExportedContacts(ctx: Context, scope: ExportScope): Promise<number> {
  const [count] = await readCounts(ctx, contactsOfAccount, [ctx.account], contactFilter(scope))
  return count!
}

const idsStatement = defineRead<{ account: number; ids: number[]; names: string[] }, NamedOrganization>(
  'organizations_by_id_or_name',
  sql`select id, name from ${organizations}
    where account_id = ${param('account', 'bigint')} and id = any(${param('ids', 'bigint[]')})
    union
    select id, name from ${organizations}
    where account_id = ${param('account', 'bigint')} and name = any(${param('names', 'text[]')})`,
  ([id, name]) => ({ id, name }),
)

const organizationId = idOf('Organization')

/**
 * The ids of organizations that are named by their ids, of either form, or else by their exact names; and what names none,
 * as it was given.
 */
export async function findByIdOrName(
  ctx: Context,
  given: readonly string[],
): Promise<{ ids: number[]; unknown: string[] }> {
  requirePermission(ctx, 'organizations:read')
  const wanted = given.map((text) => ({ text, key: organizationId.safeParse(text).data ?? storableText.parse(text) }))
  const found = await ctx.db.run(idsStatement, {
    account: ctx.account,
    ids: wanted.map(({ key }) => key).filter((key) => typeof key === 'number'),
    names: wanted.map(({ key }) => key).filter((key) => typeof key === 'string'),
  })
  const known = new Set(found.flatMap(({ id, name }): (number | string)[] => [id, name]))
  return {
    ids: found.map(({ id }) => id),
    unknown: wanted.filter(({ key }) => !known.has(key)).map(({ text }) => text),
  }
}
