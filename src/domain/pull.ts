import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { defineRead, defineStatement, Json, type ParameterValue, param } from '../db/statement.ts'
import { pulledContacts, pulledOrganizations, pulls } from '../db/tables.ts'
import { channels } from './channels.ts'
import { newContact } from './contacts.ts'
import { type Context, requirePermission } from './context.ts'
import { type Issue, NotFoundError } from './errors.ts'
import type { ImportCounts, ImportOutcome } from './import-contacts.ts'
import { importFaults, type OrganizationFault } from './import-organizations.ts'
import { importedOrganization } from './organizations.ts'
import { parse, toIssues } from './parse.ts'

// Organizations and contacts of another system. Which is which is remembered by the statement that writes them. `from` names
// the system, and foreign ids are its own.

type Parameters = Record<string, ParameterValue>

const account = param('account', 'bigint')
const pull = sql`(select id from ${pulls} where account_id = ${account} and origin = ${param('from', 'text')})`

/** A pull that was not finished goes on within this time, for which a first one may need days: what it has read is not read again. */
const resumable = sql.raw("interval '7 days'")

const beginStatement = defineStatement<Parameters, { startedAt: Date; isResumed: boolean }>(
  'begin_pull',
  sql`with before as (
      select started_at from ${pulls}
      where account_id = ${account} and origin = ${param('from', 'text')} and finished_at is null
        and started_at > now() - ${resumable}
    )
    insert into ${pulls} as p (account_id, origin, started_at)
    values (${account}, ${param('from', 'text')}, coalesce((select started_at from before), now()))
    on conflict (account_id, origin) do update set started_at = excluded.started_at, finished_at = null
    returning p.started_at, exists (select from before)`,
  ([startedAt, isResumed]) => ({ startedAt, isResumed }),
  true,
)

/** Begins a pull, or goes on with the one that was interrupted. */
export async function beginPull(ctx: Context, from: string): Promise<{ startedAt: Date; isResumed: boolean }> {
  requirePermission(ctx, 'organizations:write')
  const [begun] = await ctx.db.run(beginStatement, { account: ctx.account, from })
  return begun!
}

const finishStatement = defineRead<Parameters, undefined>(
  'finish_pull',
  sql`update ${pulls} set finished_at = now() where account_id = ${account} and origin = ${param('from', 'text')}`,
  () => undefined,
)

export async function finishPull(ctx: Context, from: string): Promise<void> {
  requirePermission(ctx, 'organizations:write')
  await ctx.db.run(finishStatement, { account: ctx.account, from })
}

export interface KnownOrganization {
  foreignId: number
  organizationId: number
  /** What the other system said, in its words, when the contacts were read last; and the tag of their list. */
  updatedAt: string | null
  etag: string | null
  contactsAt: Date | null
}

const knownAtOnce = 1000

const knownStatement = defineRead<Parameters, KnownOrganization>(
  'known_organizations',
  sql`select foreign_id, organization_id, contacts_of, etag, contacts_at from ${pulledOrganizations}
    where account_id = ${account} and pull_id = ${pull} and foreign_id > ${param('after', 'bigint')}
    order by foreign_id limit ${sql.raw(String(knownAtOnce))}`,
  ([foreignId, organizationId, updatedAt, etag, contactsAt]) => ({
    foreignId,
    organizationId,
    updatedAt,
    etag,
    contactsAt,
  }),
)

/** What is known of the organizations after a foreign id, in its order, a thousand at a time. */
export function knownOrganizations(ctx: Context, from: string, after: number): Promise<KnownOrganization[]> {
  requirePermission(ctx, 'organizations:read')
  return ctx.db.run(knownStatement, { account: ctx.account, from, after })
}

const knownContactsStatement = defineRead<Parameters, number>(
  'known_contacts',
  sql`select p.foreign_id from ${pulledOrganizations} o
    join contacts c on c.account_id = o.account_id and c.organization_id = o.organization_id
    join ${pulledContacts} p on p.account_id = c.account_id and p.contact_id = c.id and p.pull_id = o.pull_id
    where o.account_id = ${account} and o.pull_id = ${pull} and o.foreign_id = ${param('organization', 'bigint')}
    order by 1`,
  ([foreignId]) => foreignId,
)

/** The foreign ids of the contacts that an organization has from there. */
export function knownContacts(ctx: Context, from: string, organizationForeignId: number): Promise<number[]> {
  requirePermission(ctx, 'contacts:read')
  return ctx.db.run(knownContactsStatement, { account: ctx.account, from, organization: organizationForeignId })
}

const touchStatement = defineRead<Parameters, undefined>(
  'touch_pulled',
  sql`update ${pulledOrganizations} set contacts_of = updated_at, contacts_at = clock_timestamp()
    where account_id = ${account} and pull_id = ${pull} and foreign_id = ${param('organization', 'bigint')}`,
  () => undefined,
)

/** Notes that the contacts of an organization are as they were when they were read last. */
export async function touchPulled(ctx: Context, from: string, organizationForeignId: number): Promise<void> {
  requirePermission(ctx, 'contacts:write')
  await ctx.db.run(touchStatement, { account: ctx.account, from, organization: organizationForeignId })
}

/** An organization as the other system has it. Of what is unknown here only the rules decide whether it will do. */
export interface PulledOrganization {
  foreignId: number
  name: unknown
  parentForeignId: number | null
  disabled: unknown
  source: unknown
  sourceID: unknown
  updatedAt: string | null
}

export type PulledOutcome = { outcome: ImportOutcome } | { outcome: 'failed'; issues: readonly Issue[] }

const pullOrganizationsStatement = defineStatement<
  Parameters,
  { place: number; outcome: ImportOutcome | OrganizationFault }
>(
  'pull_organizations',
  sql`select p.place, p.outcome from pull_organizations(${account}, ${pull}, ${param('asked', 'jsonb')}) p`,
  ([place, outcome]) => ({ place, outcome }),
)

/** Imports organizations, each of them after its parent, by one statement. What is refused is told, and left out. */
export async function pullOrganizations(
  ctx: Context,
  from: string,
  organizations: readonly PulledOrganization[],
): Promise<PulledOutcome[]> {
  requirePermission(ctx, 'organizations:write')
  const outcomes: PulledOutcome[] = []
  const asked: object[] = []
  organizations.forEach((organization, place) => {
    const parsed = importedOrganization.safeParse(organization)
    if (!parsed.success) {
      const issues = toIssues(parsed.error.issues, organization).map((issue) => within(place, issue))
      outcomes[place] = { outcome: 'failed', issues }
      return
    }
    const { name, disabled, source, sourceID } = parsed.data
    const { foreignId, parentForeignId, updatedAt } = organization
    asked.push({
      ...{ place, foreign_id: foreignId, name, parent_foreign_id: parentForeignId, disabled: disabled ?? null },
      ...{ source: source ?? null, source_id: sourceID ?? null, updated_at: updatedAt },
    })
  })
  for (const { place, outcome } of await ctx.db.run(pullOrganizationsStatement, {
    account: ctx.account,
    from,
    asked: new Json(asked),
  })) {
    const { foreignId, parentForeignId, name } = organizations[place]!
    const names = {
      id: foreignId,
      name: String(name),
      parent: parentForeignId === null ? null : String(parentForeignId),
    }
    const issue = importFaults(outcome, names)
    outcomes[place] = issue
      ? { outcome: 'failed', issues: [within(place, issue)] }
      : { outcome: outcome as ImportOutcome }
  }
  return outcomes
}

const within = (place: number, issue: Issue): Issue => ({
  ...issue,
  path: ['organizations', String(place), ...issue.path],
})

/** A contact as the other system has it; `contact` as `addContact` takes it. */
export interface PulledContact {
  foreignId: number
  contact: unknown
}

const pullContactsInput = z.object({ contacts: z.array(z.object({ foreignId: z.number(), contact: newContact })) })

const pullContactsStatement = defineStatement<Parameters, ImportCounts>(
  'pull_contacts',
  sql`select p.created, p.updated, p.unchanged, p.deleted from pull_contacts(${account}, ${pull},
    ${param('organization', 'bigint')}, ${param('asked', 'jsonb')}, ${param('etag', 'text')}, ${param('isGone', 'boolean')}) p`,
  ([created, updated, unchanged, deleted]) => ({ created, updated, unchanged, deleted }),
)

/**
 * Makes the contacts that an organization has from there those that are given, by one statement: of those that came before,
 * the others are removed. What was added here stays. An organization that is gone there is disabled here.
 */
export async function pullContacts(
  ctx: Context,
  from: string,
  given: {
    organizationForeignId: number
    contacts: readonly PulledContact[]
    etag: string | null
    isGone?: boolean
  },
): Promise<ImportCounts> {
  requirePermission(ctx, 'contacts:write')
  const { contacts } = parse(pullContactsInput, given)
  const [counts] = await ctx.db.run(pullContactsStatement, {
    account: ctx.account,
    from,
    organization: given.organizationForeignId,
    asked: new Json(
      contacts.map(({ foreignId, contact }, place) => ({
        place,
        foreign_id: foreignId,
        channel: contact.channel,
        label: contact.label,
        value: contact.value,
        integration: contact.integration ?? false,
        keys: channels[contact.channel].lookupKeys(contact.value),
      })),
    ),
    etag: given.etag,
    isGone: given.isGone ?? false,
  })
  if (!counts) throw new NotFoundError('Organization', ['organizationForeignId'])
  return counts
}
