import { sql } from 'drizzle-orm'
import { defineStatement, Json, type ParameterValue, param } from '../db/statement.ts'
import { type Channel, contactLookups, contacts, type Label, organizations } from '../db/tables.ts'
import { channels } from './channels.ts'
import type { Context } from './context.ts'
import { changeOf, told } from './writes.ts'

export interface SeedOrganization {
  /** Below the generated ids, where the source has given one. */
  id?: number
  name: string
  /** The name of one that is seeded before or with it. */
  parent?: string
  disabled?: boolean
  source?: string
  sourceId?: string
  contacts: SeedContact[]
}

export interface SeedContact {
  id?: number
  channel: Channel
  label: Label
  value: string
  integration?: boolean
}

const seedStatement = defineStatement<Record<string, ParameterValue>, { organizations: number; contacts: number }>(
  'seed',
  sql`with wanted as materialized (
      select w.*, coalesce(w.given_id, nextval(pg_get_serial_sequence('organizations', 'id'))) as id
      from jsonb_to_recordset(${param('organizations', 'jsonb')}) as w(
        given_id bigint, name text, parent text, disabled boolean, source text, source_id text)
    ), created as (
      insert into ${organizations} (account_id, id, name, parent_id, disabled, source, source_id)
      select ${param('account', 'bigint')}, w.id, w.name, coalesce(stored.id, beside.id), w.disabled, w.source, w.source_id
      from wanted w
      left join ${organizations} stored on stored.account_id = ${param('account', 'bigint')} and stored.name = w.parent
      left join wanted beside on beside.name = w.parent
      on conflict do nothing
      returning account_id, id, name
    ), details as materialized (
      select c.*, o.account_id, o.id as organization_id,
        coalesce(c.given_id, nextval(pg_get_serial_sequence('contacts', 'id'))) as id
      from jsonb_to_recordset(${param('contacts', 'jsonb')}) as c(
        given_id bigint, organization text, channel contact_channel, label contact_label, value text,
        integration boolean, keys text[])
      join created o on o.name = c.organization
    ), added as (
      insert into ${contacts} (account_id, id, organization_id, channel, label, value, integration)
      select account_id, id, organization_id, channel, label, value, integration from details
      returning *
    ), looked_up as (
      insert into ${contactLookups} (account_id, channel, key, contact_id)
      select account_id, channel, key, id from details, unnest(keys) as key
    ), ${told(sql`select account_id, organization_id, json_agg(${changeOf('added', 'added')} order by id)
      from added group by account_id, organization_id`)}
    select (select count(*) from created), (select count(*) from added)`,
  ([organizations, contacts]) => ({ organizations, contacts }),
)

/**
 * Creates organizations with their contacts, by one statement. One whose name exists is passed over with its contacts, so
 * that seeding can be repeated and resumed. Returns how many rows there are now that were not before.
 */
export async function seedOrganizations(
  ctx: Context,
  seeds: readonly SeedOrganization[],
): Promise<{ organizations: number; contacts: number }> {
  const [created] = await ctx.db.run(seedStatement, {
    account: ctx.account,
    organizations: new Json(
      seeds.map(({ id, name, parent, disabled = false, source, sourceId }) => ({
        given_id: id,
        name,
        parent,
        disabled,
        source,
        source_id: sourceId,
      })),
    ),
    contacts: new Json(
      seeds.flatMap(({ name, contacts }) =>
        contacts.map(({ id, channel, label, value, integration = false }) => ({
          given_id: id,
          organization: name,
          channel,
          label,
          value,
          integration,
          keys: channels[channel].lookupKeys(value),
        })),
      ),
    ),
  })
  return created!
}
