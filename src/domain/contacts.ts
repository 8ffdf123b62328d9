import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { columnsOf, defineKeyedRead, type ParameterValue, param } from '../db/statement.ts'
import {
  type Channel,
  contactLabel,
  contactLookups,
  contacts,
  type Label,
  maxLength,
  organizations,
} from '../db/tables.ts'
import { type ChannelRule, channelNames, channels } from './channels.ts'
import { type Context, requirePermission } from './context.ts'
import { ConflictError, type Issue, NotFoundError, ValidationError } from './errors.ts'
import { idOf } from './ids.ts'
import { expectedVersion, flag, instant, line, parse, quote, report } from './parse.ts'
import { defineWrite, runWrite, toldOf, type Unless } from './writes.ts'

/** What lists show of a contact. */
export interface ContactSummary {
  readonly __typename: ChannelRule['typename']
  readonly id: number
  readonly organizationId: number
  readonly channel: Channel
  readonly label: Label
  /** The text as entered, whatever the channel. */
  readonly value: string
  readonly integration: boolean
}

export interface Contact extends ContactSummary {
  /** From 1; one more with each change. */
  readonly version: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** The columns of a summary beside the organization, in the order in which `toSummary` reads them. */
export const summaryNames = ['id', 'channel', 'label', 'value', 'integration']

/** What a contact has beyond its summary. */
export const detailNames = ['version', 'created_at', 'updated_at']

/** The columns that `toContact` reads, in its order. */
const contactNames = ['id', 'organization_id', 'channel', 'label', 'value', 'integration', ...detailNames]

/** The same from a table or a common table expression of this name. */
export const contactColumns = (from: string) => sql.join(columnsOf(from, contactNames), sql`, `)

type SummaryCells = [number, Channel, Label, string, boolean]
type DetailCells = [number, Date | string, Date | string]
type ContactCells = [number, number, Channel, Label, string, boolean, ...DetailCells]

export function toSummary(
  [id, channel, label, value, integration]: SummaryCells,
  organizationId: number,
): ContactSummary {
  return { __typename: channels[channel].typename, id, organizationId, channel, label, value, integration }
}

/** The columns of a summary, followed by those of the details. */
export const toListed = ([id, ...cells]: [...SummaryCells, ...DetailCells], organizationId: number): Contact =>
  toContact([id, organizationId, ...cells])

export function toContact(cells: ContactCells): Contact {
  const [id, organizationId, channel, label, value, integration, version, createdAt, updatedAt] = cells
  const __typename = channels[channel].typename
  const instants = { createdAt: instant(createdAt), updatedAt: instant(updatedAt) }
  return { __typename, id, organizationId, channel, label, value, integration, version, ...instants }
}

const account = param('account', 'bigint')

const contactsById = defineKeyedRead<{ account: number }, Contact>(
  'contacts_by_id',
  columnsOf('c', contactNames),
  (columns) => sql`select c.id, ${columns} from ${contacts} c
    where c.account_id = ${account} and c.id = any(${param('keys', 'bigint[]')})`,
  toContact,
)

/** The contacts with these ids, in their order; ids that name none are left out. */
export async function findContacts(ctx: Context, ids: readonly number[]): Promise<Contact[]> {
  requirePermission(ctx, 'contacts:read')
  return (await ctx.db.run(contactsById, { account: ctx.account, keys: ids })).flat()
}

// What a contact is made of, as every door sends it: `{ telephone: { label, value, integration } }`.

const valueIn = (channel: Channel) =>
  line(channels[channel].subject, maxLength.contactValue, (text) => channels[channel].refuse(text))

const labelFrom = (labels: readonly Label[]) =>
  z.enum(labels as [Label, ...Label[]], {
    error: ({ input }) =>
      input === undefined || input === null
        ? "Label can't be blank."
        : `Label ${quote(input)} is not one of ${labels.join(', ')}.`,
  })

const labelIn = (channel: Channel) => labelFrom(channels[channel].labels)

const integration = flag('Integration')

/** The parts of a new contact, of one channel. */
export const newDetails = (channel: Channel) =>
  z.object({ label: labelIn(channel), value: valueIn(channel), integration: integration.nullish() })

/** The parts of a new contact as far as they can be judged while its channel is missing. */
export const partsWithoutChannel = z.object({
  label: labelFrom(contactLabel.enumValues),
  integration: integration.nullish(),
})

/** What is to change; what is absent stays. Null is refused: no part of a contact can be without a value. */
export const changedDetails = (channel: Channel) =>
  z.object({
    label: labelIn(channel).optional(),
    value: valueIn(channel).optional(),
    integration: integration.optional(),
  })

/** Exactly one channel with its details: parsed into the details, beside the channel's name. */
function oneChannel<Details extends z.ZodObject>(detailsOf: (channel: Channel) => Details) {
  const schemas = Object.fromEntries(channelNames.map((channel) => [channel, detailsOf(channel)])) as Record<
    Channel,
    Details
  >
  return z.record(z.string(), z.unknown(), { error: oneChannelMessage([]) }).transform((given, context) => {
    const named = channelNames.filter((channel) => given[channel] !== undefined)
    if (named.length !== 1) report(context, 'ONE_CHANNEL', oneChannelMessage(named))
    for (const channel of named) {
      const details = schemas[channel].safeParse(given[channel])
      if (details.success) {
        if (named.length === 1) return { channel, ...(details.data as z.output<Details>) }
      } else {
        for (const issue of details.error.issues) context.addIssue({ ...issue, path: [channel, ...issue.path] })
      }
    }
    return z.NEVER
  })
}

const oneChannelMessage = (named: readonly string[]) =>
  `Exactly one of ${channelNames.join(', ')} must be given, not ${named.length === 0 ? 'none' : named.join(' and ')}.`

export const newContact = oneChannel(newDetails)
export const contactChange = oneChannel(changedDetails)
export const organizationId = idOf('Organization')
export const contactId = idOf('Contact')

type ContactChange = z.output<typeof contactChange>

/** What a statement is told of a change: null stands for what stays as it is. */
export const changeParameters = (change: ContactChange) => ({
  channel: change.channel,
  label: change.label ?? null,
  value: change.value ?? null,
  integration: change.integration ?? null,
  keys: change.value === undefined ? null : channels[change.channel].lookupKeys(change.value),
})

// Adding.

const addInput = z.object({ organizationId, contact: newContact })

const addWrite = defineWrite<Record<string, ParameterValue>, Contact>(
  'add_contact',
  (unless) => ({
    with: sql`organization as (
        update ${organizations} set contacts_revision = contacts_revision + 1
        where account_id = ${account} and id = ${param('organization', 'bigint')}${unless.and}
        returning account_id, id
      ), added as (
        insert into ${contacts} (account_id, organization_id, channel, label, value, integration)
        select account_id, id, ${param('channel', 'contact_channel')}, ${param('label', 'contact_label')},
          ${param('value', 'text')}, ${param('integration', 'boolean')}
        from organization
        returning *
      ), looked_up as (
        insert into ${contactLookups} (account_id, channel, key, contact_id)
        select account_id, channel, key, id from added, unnest(${param('keys', 'text[]')}) as key
      ), ${toldOf.added}`,
    answer: sql`select ${contactColumns('added')} from added`,
  }),
  toContact,
)

/** Adds a contact to an organization. */
export async function addContact(ctx: Context, input: unknown): Promise<Contact> {
  requirePermission(ctx, 'contacts:write')
  const { organizationId, contact } = parse(addInput, input)
  const [added] = await runWrite(ctx, addWrite, {
    account: ctx.account,
    organization: organizationId,
    channel: contact.channel,
    label: contact.label,
    value: contact.value,
    integration: contact.integration ?? false,
    keys: channels[contact.channel].lookupKeys(contact.value),
  })
  if (!added) throw new NotFoundError('Organization', ['organizationId'])
  return added
}

// Changing and removing one. Both lock the organization before the contact, as all writers do, and judge the contact as
// it is by then, not as the statement's snapshot has it.

/** Why a contact that exists is not to be touched; null when nothing stands against it. */
type Fault = 'CHANNEL' | 'VERSION' | null

const lockedOrganization = (unless: Unless) => sql`organization as (
    select o.account_id, o.id from ${organizations} o
    join ${contacts} c on c.account_id = o.account_id and c.organization_id = o.id
    where o.account_id = ${account} and c.id = ${param('id', 'bigint')}
      and (${param('organization', 'bigint')} is null or o.id = ${param('organization', 'bigint')})${unless.and}
    for no key update of o
  )`

const lockedContact = sql`select c.* from ${contacts} c
    join organization o on o.account_id = c.account_id and o.id = c.organization_id
    where c.account_id = ${account} and c.id = ${param('id', 'bigint')}
    for no key update of c`

const bumpRevision = (from: string) =>
  sql`update ${organizations} o set contacts_revision = o.contacts_revision + 1
    from ${sql.raw(from)} f where o.account_id = ${account} and o.id = f.organization_id`

/** Null where any version will do. */
const isUnexpected = sql`t.version <> all(${param('versions', 'integer[]')})`

/** Which contact. Where an organization is given, it is to be one of its contacts; of several versions, any will do. */
const namedContact = {
  id: contactId,
  organizationId: organizationId.optional(),
  ifVersion: expectedVersion,
  ifOneOfVersions: z.array(z.int32()).nullish(),
}

const expectedVersions = (given: { ifVersion: number | null; ifOneOfVersions?: number[] | null | undefined }) =>
  given.ifOneOfVersions ?? (given.ifVersion === null ? null : [given.ifVersion])

const updateInput = z.object({ ...namedContact, change: contactChange })

type Judged = { fault: Fault; contact: Contact }
const toJudged = ([fault, ...cells]: [Fault, ...ContactCells]): Judged => ({ fault, contact: toContact(cells) })

const updateWrite = defineWrite<Record<string, ParameterValue>, Judged>(
  'update_contact',
  (unless) => ({
    with: sql`${lockedOrganization(unless)}, target as (
        ${lockedContact}
      ), judged as (
        select t.*, case
          when t.channel <> ${param('channel', 'contact_channel')} then 'CHANNEL'
          when ${isUnexpected} then 'VERSION'
        end as fault from target t
      ), updated as (
        update ${contacts} c set
          label = coalesce(${param('label', 'contact_label')}, c.label),
          value = coalesce(${param('value', 'text')}, c.value),
          integration = coalesce(${param('integration', 'boolean')}, c.integration),
          version = c.version + 1,
          updated_at = clock_timestamp()
        from judged j
        where c.account_id = ${account} and c.id = j.id and j.fault is null
          and (coalesce(${param('label', 'contact_label')}, j.label), coalesce(${param('value', 'text')}, j.value),
            coalesce(${param('integration', 'boolean')}, j.integration)) is distinct from (j.label, j.value, j.integration)
        returning c.*
      ), revision as (
        ${bumpRevision('updated')}
      ), ${toldOf.updated}, looked_up as materialized (
        select set_contact_keys(account_id, id, channel, ${param('keys', 'text[]')}) as id from updated
        where ${param('keys', 'text[]')} is not null
      )`,
    answer: sql`select null as fault, ${contactColumns('updated')}
      from updated left join looked_up on looked_up.id = updated.id
      union all
      select j.fault, ${contactColumns('j')} from judged j where not exists (select from updated)`,
  }),
  toJudged,
)

/** Changes a contact. What is equal to what it was, or absent, is left alone; with nothing left, nothing is written. */
export async function updateContact(ctx: Context, input: unknown): Promise<Contact> {
  requirePermission(ctx, 'contacts:write')
  const { id, organizationId, change, ...conditions } = parse(updateInput, input)
  const versions = expectedVersions(conditions)
  const [judged] = await runWrite(ctx, updateWrite, {
    account: ctx.account,
    organization: organizationId ?? null,
    id,
    versions,
    ...changeParameters(change),
  })
  if (!judged) throw new NotFoundError('Contact', ['id'])
  const { fault, contact } = judged
  if (fault === 'CHANNEL') throw new ValidationError([channelFixed(['change'], change.channel, contact.channel)])
  if (fault === 'VERSION') throw new ConflictError(['ifVersion'], versions!, contact.version)
  return contact
}

export const channelFixed = (path: string[], named: Channel, actual: Channel): Issue => ({
  path: [...path, named],
  code: 'CHANNEL_FIXED',
  message: `The channel of the contact is ${actual} and cannot become ${named}: add a new contact instead.`,
})

const removeInput = z.object(namedContact)

const removeWrite = defineWrite<Record<string, ParameterValue>, Judged>(
  'remove_contact',
  (unless) => ({
    with: sql`${lockedOrganization(unless)}, target as (
        ${lockedContact}
      ), judged as (
        select t.*, case when ${isUnexpected} then 'VERSION' end as fault from target t
      ), removed as (
        delete from ${contacts} c using judged j
        where c.account_id = ${account} and c.id = j.id and j.fault is null
        returning c.*
      ), revision as (
        ${bumpRevision('removed')}
      ), ${toldOf.removed}`,
    answer: sql`select j.fault, ${contactColumns('j')} from judged j`,
  }),
  toJudged,
)

/** Removes a contact and returns it as it was. */
export async function removeContact(ctx: Context, input: unknown): Promise<Contact> {
  requirePermission(ctx, 'contacts:write')
  const { id, organizationId, ...conditions } = parse(removeInput, input)
  const versions = expectedVersions(conditions)
  const [judged] = await runWrite(ctx, removeWrite, {
    account: ctx.account,
    organization: organizationId ?? null,
    id,
    versions,
  })
  if (!judged) throw new NotFoundError('Contact', ['id'])
  if (judged.fault) throw new ConflictError(['ifVersion'], versions!, judged.contact.version)
  return judged.contact
}

// Removing all.

const clearInput = z.object({ organizationId })

const clearWrite = defineWrite<Record<string, ParameterValue>, { ids: number[] }>(
  'clear_contacts',
  (unless) => ({
    answer: sql`select (
        select coalesce(jsonb_agg(c.id order by c.channel, c.label, c.id), '[]') from clear_contacts(o.account_id, o.id) c
      ) from ${organizations} o
      where o.account_id = ${account} and o.id = ${param('organization', 'bigint')}${unless.and}`,
  }),
  ([ids]) => ({ ids }),
)

/** Removes every contact of an organization and returns their ids in list order. */
export async function clearContacts(ctx: Context, input: unknown): Promise<{ organizationId: number; ids: number[] }> {
  requirePermission(ctx, 'contacts:write')
  const { organizationId } = parse(clearInput, input)
  const [cleared] = await runWrite(ctx, clearWrite, { account: ctx.account, organization: organizationId })
  if (!cleared) throw new NotFoundError('Organization', ['organizationId'])
  return { organizationId, ids: cleared.ids }
}
