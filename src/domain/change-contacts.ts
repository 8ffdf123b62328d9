import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { Json, type ParameterValue, param } from '../db/statement.ts'
import { contactLookups, contacts, organizations } from '../db/tables.ts'
import { channels } from './channels.ts'
import {
  type Contact,
  changeParameters,
  channelFixed,
  contactChange,
  contactColumns,
  contactId,
  newContact,
  organizationId,
  toContact,
} from './contacts.ts'
import { type Context, requirePermission } from './context.ts'
import { ConflictError, NotFoundError, ValidationError } from './errors.ts'
import { expectedVersion, parse, report } from './parse.ts'
import { changeOf, defineWrite, runWrite, told } from './writes.ts'

export const maxChangesPerList = 100

const listOf = <Item extends z.ZodType>(name: string, item: Item) =>
  z
    .array(item, { error: `${name} must be a list.` })
    .superRefine((items, context) => {
      if (items.length <= maxChangesPerList) return
      report(context, 'TOO_MANY', `${name} has ${items.length} items; at most ${maxChangesPerList} are allowed.`)
    })
    .nullish()
    .transform((items) => items ?? [])

const changeInput = z
  .object({
    organizationId,
    add: listOf('add', newContact),
    update: listOf('update', z.object({ id: contactId, ifVersion: expectedVersion, change: contactChange })),
    remove: listOf('remove', z.object({ id: contactId, ifVersion: expectedVersion })),
  })
  .superRefine(({ update, remove }, context) => {
    const seen = new Set<number>()
    for (const [list, items] of Object.entries({ update, remove })) {
      items.forEach(({ id }, i) => {
        if (seen.has(id)) report(context, 'DUPLICATE', `Contact ${id} is named twice.`, [list, i, 'id'])
        seen.add(id)
      })
    }
  })

export interface ContactChanges {
  organizationId: number
  /** In the order of the input. */
  added: Contact[]
  updated: Contact[]
  removedIds: number[]
}

/** `organization` says that it exists; a fault is told instead of what it prevents. */
type Outcome = 'organization' | 'added' | 'updated' | 'removed' | 'MISSING' | 'CHANNEL' | 'VERSION'
type ContactCells = Parameters<typeof toContact>[0]
interface ChangeRow {
  outcome: Outcome
  /** The position in the input's list, and which list that is. */
  position: number
  list: 'add' | 'update' | 'remove'
  /** The contact as it is now, or was when it was removed; null where there is none. */
  contact: Contact | null
}

/**
 * The organization is locked first, then each contact that is named, as it is by then. Only when nothing stands against
 * any of them is anything written.
 */
const changeWrite = defineWrite<Record<string, ParameterValue>, ChangeRow>(
  'change_contacts',
  (unless) => ({
    with: sql`organization as (
        select account_id, id from ${organizations}
        where account_id = ${param('account', 'bigint')} and id = ${param('organization', 'bigint')}${unless.and}
        for no key update
      ), named as materialized (
        select * from jsonb_to_recordset(${param('named', 'jsonb')}) as n(
          position integer, removes boolean, id bigint, version integer,
          channel contact_channel, label contact_label, value text, integration boolean, keys text[])
      ), target as materialized (
        select c.* from ${contacts} c
        join organization o on o.account_id = c.account_id and o.id = c.organization_id
        join named n on n.id = c.id
        for no key update of c
      ), judged as materialized (
        select n.position, n.removes, n.id, n.label, n.value, n.integration, n.keys, case
          when t.id is null then 'MISSING'
          when n.channel <> t.channel then 'CHANNEL'
          when n.version <> t.version then 'VERSION'
        end as fault
        from named n left join target t on t.id = n.id
      ), permitted as (
        select account_id, id from organization where not exists (select from judged where fault is not null)
      ), removed as (
        delete from ${contacts} c using permitted p, judged j
        where c.account_id = p.account_id and c.id = j.id and j.removes
        returning c.*
      ), updated as (
        update ${contacts} c set
          label = coalesce(j.label, c.label),
          value = coalesce(j.value, c.value),
          integration = coalesce(j.integration, c.integration),
          version = c.version + 1,
          updated_at = clock_timestamp()
        from permitted p, judged j, target t
        where c.account_id = p.account_id and c.id = j.id and not j.removes and t.id = j.id
          and (coalesce(j.label, t.label), coalesce(j.value, t.value), coalesce(j.integration, t.integration))
            is distinct from (t.label, t.value, t.integration)
        returning c.*
      ), looked_up_anew as materialized (
        select set_contact_keys(u.account_id, u.id, u.channel, j.keys) as id
        from updated u join judged j on j.id = u.id where j.keys is not null
      ), wanted as materialized (
        select a.*, nextval(pg_get_serial_sequence('contacts', 'id')) as id, p.account_id, p.id as organization_id
        from permitted p, jsonb_to_recordset(${param('added', 'jsonb')}) as a(
          position integer, channel contact_channel, label contact_label, value text, integration boolean, keys text[])
      ), added as (
        insert into ${contacts} (account_id, id, organization_id, channel, label, value, integration)
        select account_id, id, organization_id, channel, label, value, integration from wanted
        returning *
      ), looked_up as (
        insert into ${contactLookups} (account_id, channel, key, contact_id)
        select account_id, channel, key, id from wanted, unnest(keys) as key
      ), revision as (
        update ${organizations} o set contacts_revision = o.contacts_revision + 1
        from permitted p where o.account_id = p.account_id and o.id = p.id and (
          exists (select from added) or exists (select from updated) or exists (select from removed))
      ), ${told(sql`select p.account_id, p.id, json_agg(c.change) from permitted p, (
          select ${changeOf('removed', 'removed')} as change from removed
          union all select ${changeOf('updated', 'updated')} from updated
          union all select ${changeOf('added', 'added')} from added
        ) c group by p.account_id, p.id`)}`,
    answer: sql`select 'organization' as outcome, '' as list, 0 as position, ${contactColumns('n')}
      from organization left join ${contacts} n on false
      union all
      select 'added', 'add', w.position, ${contactColumns('a')} from added a join wanted w on w.id = a.id
      union all
      select 'updated', 'update', j.position, ${contactColumns('u')}
      from updated u join judged j on j.id = u.id left join looked_up_anew a on a.id = u.id
      union all
      select coalesce(j.fault, case when j.removes then 'removed' else 'updated' end),
        case when j.removes then 'remove' else 'update' end, j.position, ${contactColumns('t')}
      from organization cross join judged j left join target t on t.id = j.id
      where not exists (select from updated u where u.id = j.id)
      order by list, position`,
  }),
  ([outcome, list, position, ...cells]) => ({
    outcome,
    list,
    position,
    contact: cells[0] === null ? null : toContact(cells as ContactCells),
  }),
)

/** Adds, updates and removes contacts of one organization: all of it, or nothing. */
export async function changeContacts(ctx: Context, input: unknown): Promise<ContactChanges> {
  requirePermission(ctx, 'contacts:write')
  const { organizationId, add, update, remove } = parse(changeInput, input)
  const rows = await runWrite(ctx, changeWrite, {
    account: ctx.account,
    organization: organizationId,
    added: new Json(
      add.map((contact, position) => ({
        position,
        ...contact,
        integration: contact.integration ?? false,
        keys: channels[contact.channel].lookupKeys(contact.value),
      })),
    ),
    named: new Json([
      ...update.map(({ id, ifVersion, change }, position) => ({
        position,
        removes: false,
        id,
        version: ifVersion,
        ...changeParameters(change),
      })),
      ...remove.map(({ id, ifVersion }, position) => ({ position, removes: true, id, version: ifVersion })),
    ]),
  })
  if (rows.length === 0) throw new NotFoundError('Organization', ['organizationId'])
  const withOutcome = (outcome: Outcome) => rows.filter((row) => row.outcome === outcome)

  const [missing] = withOutcome('MISSING')
  if (missing) throw new NotFoundError('Contact', [missing.list, String(missing.position), 'id'])

  const wrongChannel = withOutcome('CHANNEL').map(({ position, contact }) =>
    channelFixed(['update', String(position), 'change'], update[position]!.change.channel, contact!.channel),
  )
  if (wrongChannel.length > 0) throw new ValidationError(wrongChannel)

  const [stale] = withOutcome('VERSION')
  if (stale) {
    const { ifVersion } = (stale.list === 'update' ? update : remove)[stale.position]!
    throw new ConflictError([stale.list, String(stale.position), 'ifVersion'], ifVersion!, stale.contact!.version)
  }

  const contactsOf = (outcome: Outcome) => withOutcome(outcome).map(({ contact }) => contact!)
  return {
    organizationId,
    added: contactsOf('added'),
    updated: contactsOf('updated'),
    removedIds: contactsOf('removed').map(({ id }) => id),
  }
}
