import { type SQL, sql } from 'drizzle-orm'
import { z } from 'zod'
import { columnsOf, param } from '../db/statement.ts'
import { maxLength, organizations } from '../db/tables.ts'
import type { Context } from './context.ts'
import { filterOf, type Listing, readCounts, readPages } from './listing.ts'
import { type Organization, organizationNames, toOrganization } from './organizations.ts'
import { type Ordering, type Page, type PageRequest, pageFields, toPageRequest } from './page.ts'
import { flag, storableText } from './parse.ts'

export const defaultOrganizationPageSize = 50

export const organizationOrderFields = ['NAME', 'CREATED_AT', 'UPDATED_AT'] as const
export type OrganizationOrderField = (typeof organizationOrderFields)[number]

const byInstant = (
  field: OrganizationOrderField,
  column: 'created_at' | 'updated_at',
  instantOf: (organization: Organization) => Date,
): Ordering<Organization> => ({
  tag: `organizations ${field}`,
  columns: [
    { column: sql.raw(`o.${column}`), type: 'timestamptz' },
    { column: sql.raw('o.id'), type: 'bigint' },
  ],
  position: (organization) => [instantOf(organization).toISOString(), organization.id],
  isPosition: ([instant, id]) => typeof instant === 'string' && isInstant(instant) && Number.isSafeInteger(id),
})

/** Only what `toISOString` writes within the years that PostgreSQL reads alike; `Date.parse` takes February 30 as well. */
const isInstant = (text: string) => {
  const milliseconds = /^\d{4}-/.test(text) && !text.startsWith('0000') ? Date.parse(text) : Number.NaN
  return !Number.isNaN(milliseconds) && new Date(milliseconds).toISOString() === text
}

export const organizationOrderings: Record<OrganizationOrderField, Ordering<Organization>> = {
  NAME: {
    tag: 'organizations NAME',
    // Unique within the account, so it needs no second column.
    columns: [{ column: sql.raw('o.name'), type: 'text' }],
    position: (organization) => [organization.name],
    isPosition: ([name]) => typeof name === 'string' && name.isWellFormed() && !name.includes('\0'),
  },
  CREATED_AT: byInstant('CREATED_AT', 'created_at', (organization) => organization.createdAt),
  UPDATED_AT: byInstant('UPDATED_AT', 'updated_at', (organization) => organization.updatedAt),
}

const orderFields = z.object({ field: z.enum(organizationOrderFields), direction: z.enum(['ASC', 'DESC']) }).nullish()

const textFilter = storableText.nullish()

/** Null and absent stand for "any". */
const filterFields = z
  .object({
    namePrefix: textFilter,
    disabled: flag('disabled').nullish(),
    root: flag('root').nullish(),
    source: textFilter,
    sourceID: textFilter,
  })
  .nullish()

export type OrganizationFilter = NonNullable<z.output<typeof filterFields>>

export interface OrganizationListRequest {
  page: PageRequest
  field: OrganizationOrderField
  descending: boolean
  filter: OrganizationFilter
}

/** The arguments of a list of organizations. */
export const organizationListArguments = z
  .object({ ...pageFields, filter: filterFields, orderBy: orderFields })
  .transform((given, context): OrganizationListRequest => {
    const { field, direction } = given.orderBy ?? { field: 'NAME', direction: 'ASC' }
    return {
      page: toPageRequest(given, organizationOrderings[field], defaultOrganizationPageSize, context),
      field,
      descending: direction === 'DESC',
      filter: given.filter ?? {},
    }
  })

const lastCharacters = `repeat(chr(${0x10ffff}), ${maxLength.organizationName})`

/**
 * The texts that begin with a prefix also as a range of the index: a plan that is made for any prefix knows no other way.
 * Behind the prefix nothing comes after the last character there is, as often as a name is long.
 */
const beginsWith = (column: SQL, prefix: SQL) =>
  sql`starts_with(${column}, ${prefix}) and ${column} between ${prefix} and ${prefix} || ${sql.raw(lastCharacters)}`

const ofPrefix = beginsWith(sql.raw('o.name'), param('namePrefix', 'text'))
const ofDisabled = sql`o.disabled = ${param('disabled', 'boolean')}`
const atRoot = sql`o.parent_id is null`
const beneathAnother = sql`o.parent_id is not null`
const ofSource = sql`o.source = ${param('source', 'text')}`
const ofSourceId = sql`o.source_id = ${param('sourceID', 'text')}`

const toFilter = ({ namePrefix, disabled, root, source, sourceID }: OrganizationFilter) =>
  filterOf({
    namePrefix: { where: ofPrefix, value: namePrefix },
    disabled: { where: ofDisabled, value: disabled },
    root: root === true && { where: atRoot },
    beneath: root === false && { where: beneathAnother },
    source: { where: ofSource, value: source },
    sourceID: { where: ofSourceId, value: sourceID },
  })

const allOrganizations: Listing<Organization> = {
  name: 'organizations',
  permission: 'organizations:read',
  columns: columnsOf('o', organizationNames),
  from: sql`${organizations} o`,
  account: sql.raw('o.account_id'),
  owner: sql.raw('o.account_id'),
  row: toOrganization,
}

const childList: Listing<Organization> = { ...allOrganizations, name: 'children', owner: sql.raw('o.parent_id') }

/** A page of the organizations of the account. */
export async function organizationPage(ctx: Context, request: OrganizationListRequest): Promise<Page<Organization>> {
  const [page] = await readPages(ctx, allOrganizations, [ctx.account], toRead(request))
  return page!
}

/** A page of the children of each parent. */
export function childPages(
  ctx: Context,
  parentIds: readonly number[],
  request: OrganizationListRequest,
): Promise<Page<Organization>[]> {
  return readPages(ctx, childList, parentIds, toRead(request))
}

const toRead = ({ page, field, descending, filter }: OrganizationListRequest) => ({
  page,
  ordering: organizationOrderings[field],
  descending,
  filter: toFilter(filter),
})

/** How many organizations the account has under the filter. */
export async function countOrganizations(ctx: Context, filter: OrganizationFilter): Promise<number> {
  const [count] = await readCounts(ctx, allOrganizations, [ctx.account], toFilter(filter))
  return count!
}

/** How many children each parent has under the filter. */
export function countChildren(
  ctx: Context,
  parentIds: readonly number[],
  filter: OrganizationFilter,
): Promise<number[]> {
  return readCounts(ctx, childList, parentIds, toFilter(filter))
}
