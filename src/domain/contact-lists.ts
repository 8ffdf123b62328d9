import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { columnsOf, param } from '../db/statement.ts'
import {
  type Channel,
  contactChannel,
  contactLabel,
  contactLookups,
  contacts,
  type Label,
  organizations,
} from '../db/tables.ts'
import { channelNames, channels } from './channels.ts'
import { type Contact, type ContactSummary, detailNames, summaryNames, toListed, toSummary } from './contacts.ts'
import type { Context } from './context.ts'
import { filterOf, type Listing, readCounts, readCountsOfOwners, readPages } from './listing.ts'
import { type Ordering, type Page, type PageRequest, pageFields, toPageRequest } from './page.ts'
import { flag, report, storableText } from './parse.ts'

export const defaultContactPageSize = 100

/** The list order of an organization: by channel, then by label, then by id. */
export const listOrder: Ordering<ContactSummary> = {
  tag: 'contacts',
  columns: [
    { column: sql.raw('c.channel'), type: 'contact_channel' },
    { column: sql.raw('c.label'), type: 'contact_label' },
    { column: sql.raw('c.id'), type: 'bigint' },
  ],
  position: (contact) => [contact.channel, contact.label, contact.id],
  isPosition: ([channel, label, id]) =>
    contactChannel.enumValues.includes(channel as Channel) &&
    contactLabel.enumValues.includes(label as Label) &&
    Number.isSafeInteger(id),
}

/** Search results are ordered by id, that is by age. */
export const searchOrder: Ordering<ContactSummary> = {
  tag: 'search',
  columns: [{ column: sql.raw('l.contact_id'), type: 'bigint' }],
  position: (contact) => [contact.id],
  isPosition: ([id]) => Number.isSafeInteger(id),
}

/** Null and absent stand for "any"; an empty list for "none". */
const filterFields = z
  .object({
    channels: z.array(z.enum(contactChannel.enumValues)).nullish(),
    labels: z.array(z.enum(contactLabel.enumValues)).nullish(),
    integration: flag('integration').nullish(),
  })
  .nullish()

export type ContactFilter = NonNullable<z.output<typeof filterFields>>

/** The arguments of the list of an organization's contacts. */
export const contactListArguments = z.object({ ...pageFields, filter: filterFields }).transform((given, context) => ({
  page: toPageRequest(given, listOrder, defaultContactPageSize, context),
  filter: given.filter ?? {},
}))

const ofChannels = sql`c.channel = any(${param('channels', 'contact_channel[]')})`
const ofLabels = sql`c.label = any(${param('labels', 'contact_label[]')})`
const ofIntegration = sql`c.integration = ${param('integration', 'boolean')}`

const toFilter = ({ channels, labels, integration }: ContactFilter) =>
  filterOf({
    channels: { where: ofChannels, value: channels },
    labels: { where: ofLabels, value: labels },
    integration: { where: ofIntegration, value: integration },
  })

/** Of which no more is read than lists mostly show. */
const summaryList: Listing<ContactSummary> = {
  name: 'contacts',
  permission: 'contacts:read',
  columns: columnsOf('c', summaryNames),
  from: sql`${contacts} c`,
  account: sql.raw('c.account_id'),
  owner: sql.raw('c.organization_id'),
  row: toSummary,
}

const contactList: Listing<Contact> = {
  ...summaryList,
  columns: columnsOf('c', [...summaryNames, ...detailNames]),
  row: toListed,
}

/** A page of the contacts of each organization, in list order. */
export function contactPages(
  ctx: Context,
  organizationIds: readonly number[],
  page: PageRequest,
  filter: ContactFilter,
): Promise<Page<Contact>[]> {
  return readPages(ctx, contactList, organizationIds, { page, ordering: listOrder, filter: toFilter(filter) })
}

/** The same pages, with no more of each contact than lists mostly show. */
export function contactSummaryPages(
  ctx: Context,
  organizationIds: readonly number[],
  page: PageRequest,
  filter: ContactFilter,
): Promise<Page<ContactSummary>[]> {
  return readPages(ctx, summaryList, organizationIds, { page, ordering: listOrder, filter: toFilter(filter) })
}

/** How many contacts each organization has under the filter. */
export function countContacts(
  ctx: Context,
  organizationIds: readonly number[],
  filter: ContactFilter,
): Promise<number[]> {
  return readCounts(ctx, contactList, organizationIds, toFilter(filter))
}

const isOrganization = sql`exists (
    select from ${organizations} o where o.account_id = ${param('account', 'bigint')} and o.id = owner.id
  )`

/** How many contacts the organization has under the filter; undefined where there is no such organization. */
export async function countContactsOf(ctx: Context, id: number, filter: ContactFilter): Promise<number | undefined> {
  const [count] = await readCountsOfOwners(ctx, contactList, isOrganization, [id], toFilter(filter))
  return count
}

// The reverse look-up: who has this number, e-mail address or website?

/** The arguments of a search: exactly one channel with the text to search for. */
export const contactSearchArguments = z
  .object({ ...pageFields, filter: z.record(z.string(), storableText) })
  .transform((given, context) => {
    const [channel, ...more] = channelNames.filter((name) => given.filter[name] !== undefined)
    if (channel === undefined || more.length > 0) {
      report(context, 'ONE_CHANNEL', `Search for exactly one of ${channelNames.join(', ')}.`, ['filter'])
      return z.NEVER
    }
    const key = channels[channel].searchKey(given.filter[channel]!)
    if (key === undefined) {
      report(context, 'BLANK', `${channels[channel].subject} holds nothing to search for.`, ['filter', channel])
      return z.NEVER
    }
    return { page: toPageRequest(given, searchOrder, defaultContactPageSize, context), search: { channel, key } }
  })

export type ContactSearch = z.output<typeof contactSearchArguments>['search']

const searchList: Listing<Contact> = {
  name: 'contact_search',
  permission: 'contacts:read',
  columns: columnsOf('c', ['organization_id', ...summaryNames, ...detailNames]),
  from: sql`${contactLookups} l join ${contacts} c on c.account_id = l.account_id and c.id = l.contact_id`,
  account: sql.raw('l.account_id'),
  owner: sql.raw('l.account_id'),
  row: ([organizationId, ...cells]) => toListed(cells, organizationId),
}

const ofChannel = sql`l.channel = ${param('channel', 'contact_channel')}`
const underKey = sql`l.key = ${param('key', 'text')}`

const toSearchFilter = ({ channel, key }: ContactSearch) =>
  filterOf({ channel: { where: ofChannel, value: channel }, key: { where: underKey, value: key } })

/** A page of the contacts that are found under the key, whatever organization they belong to. */
export async function searchContacts(ctx: Context, search: ContactSearch, page: PageRequest): Promise<Page<Contact>> {
  const filter = toSearchFilter(search)
  const [found] = await readPages(ctx, searchList, [ctx.account], { page, ordering: searchOrder, filter })
  return found!
}

export async function countFound(ctx: Context, search: ContactSearch): Promise<number> {
  const [count] = await readCounts(ctx, searchList, [ctx.account], toSearchFilter(search))
  return count!
}
