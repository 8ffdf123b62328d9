import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Database } from '../db/client.ts'
import { defineRead, type ParameterValue, param } from '../db/statement.ts'
import {
  type Channel,
  contactEventHorizons,
  contactEvents,
  contactListeners,
  type Label,
  organizations,
} from '../db/tables.ts'
import { type Contact, organizationId, toContact } from './contacts.ts'
import { type Context, requirePermission } from './context.ts'
import { NotFoundError } from './errors.ts'
import { decodeEventCursor, type EventPosition, type Snapshot } from './event-cursor.ts'
import { flag, parse, report } from './parse.ts'

/**
 * A change to the contacts of an organization; those of one organization come in the order in which they were committed.
 * `cursor` is the place in the stream after it, opaque to callers.
 */
export type ContactEvent =
  | { kind: 'added' | 'updated'; cursor: string; organizationId: number; contact: Contact }
  | { kind: 'removed'; cursor: string; organizationId: number; contactId: number; version: number }
  | { kind: 'cleared'; cursor: string; organizationId: number; contactIds: number[] }

type Parameters = Record<string, ParameterValue>

/** A contact as `row_to_json` shows it. */
interface ContactJson {
  id: number
  organization_id: number
  channel: Channel
  label: Label
  value: string
  integration: boolean
  version: number
  created_at: string
  updated_at: string
}

export type StoredChange =
  | { added: ContactJson }
  | { updated: ContactJson }
  | { removed: ContactJson }
  | { cleared: number[] }

/** What one statement has changed in one organization. */
export interface StoredEvent {
  account: number
  id: number
  organizationId: number
  changes: StoredChange[]
}

/** One change of a stored event, with the place after it. */
export function toContactEvent({ organizationId }: StoredEvent, change: StoredChange, cursor: string): ContactEvent {
  const place = { cursor, organizationId }
  if ('cleared' in change) return { kind: 'cleared', ...place, contactIds: change.cleared }
  if ('removed' in change) {
    return { kind: 'removed', ...place, contactId: change.removed.id, version: change.removed.version }
  }
  const [kind, c] = 'added' in change ? (['added', change.added] as const) : (['updated', change.updated] as const)
  const cells = [c.channel, c.label, c.value, c.integration, c.version, c.created_at, c.updated_at] as const
  return { kind, ...place, contact: toContact([c.id, c.organization_id, ...cells]) }
}

export const eventsAtOnce = 500

const from = sql`(${param('from', 'text')})::pg_snapshot`
const upTo = sql`(${param('upTo', 'text')})::pg_snapshot`

interface EventRow {
  now: Snapshot
  at: number
  event: StoredEvent | undefined
}

/**
 * A row is new to a reader if it is not visible in the snapshot with which the reader has read before. So nothing is missed
 * that is committed late, whatever its id.
 */
const readStatement = defineRead<Parameters, EventRow>(
  'read_events',
  sql`select seen.now::text, seen.at, e.account_id, e.id, e.organization_id, e.changes
    from (
      select pg_current_snapshot() as now, floor(extract(epoch from clock_timestamp()) * 1000)::bigint as at
    ) seen
    left join lateral (
      select * from ${contactEvents} e
      where e.account_id = any(${param('accounts', 'bigint[]')})
        and e.xid >= pg_snapshot_xmin(${from}) and not pg_visible_in_snapshot(e.xid, ${from})
        and (${param('upTo', 'text')} is null or pg_visible_in_snapshot(e.xid, ${upTo}))
        and (${param('organization', 'bigint')} is null or e.organization_id = ${param('organization', 'bigint')})
        and e.id > ${param('after', 'bigint')}
      order by e.id limit ${sql.raw(String(eventsAtOnce))}
    ) e on true
    order by e.id`,
  ([now, at, account, id, organizationId, changes]) => ({
    now,
    at,
    event: id === null ? undefined : { account, id, organizationId, changes },
  }),
)

export interface EventRange {
  accounts: readonly number[]
  /** What was seen already. */
  from: Snapshot
  /** What is not to be seen yet; null where nothing is held back. */
  upTo: Snapshot | null
  /** The id of the last event of this range that was seen; 0 for none. */
  after: number
  /** Only those of this organization. */
  organizationId?: number | null
}

/** The first events of a range, `eventsAtOnce` at most, with the snapshot that shows them. */
export async function readEvents(
  db: Database,
  { accounts, from, upTo, after, organizationId = null }: EventRange,
): Promise<{ now: EventPosition; events: StoredEvent[] }> {
  const rows = await db.run(readStatement, { accounts, from, upTo, after, organization: organizationId })
  const [{ now, at }] = rows as [EventRow]
  return { now: { snapshot: now, at }, events: rows.flatMap(({ event }) => event ?? []) }
}

const nowStatement = defineRead<Parameters, EventPosition>(
  'event_position',
  sql`select pg_current_snapshot()::text, floor(extract(epoch from clock_timestamp()) * 1000)::bigint`,
  ([snapshot, at]) => ({ snapshot, at }),
)

/** The place in the stream after all that is committed. */
export async function eventPosition(db: Database): Promise<EventPosition> {
  const [position] = await db.run(nowStatement, {})
  return position!
}

const subscriptionInput = z.object({
  organizationId,
  includeDescendants: flag('includeDescendants').nullish(),
  after: z
    .string({ error: 'after must be a text.' })
    .transform((cursor, context) => {
      const position = decodeEventCursor(cursor)
      if (position) return position
      report(context, 'INVALID_CURSOR', 'after is not a cursor of a stream of changes.')
      return z.NEVER
    })
    .nullish(),
})

/** How much longer than they are kept a statement may have been under way. */
const longestStatement = sql.raw("interval '15 minutes'")

const admissionStatement = defineRead<Parameters, { isExpired: boolean }>(
  'admit_subscription',
  sql`select ${param('from', 'text')} is not null and (
      pg_snapshot_xmax(${from}) > pg_snapshot_xmax(pg_current_snapshot())
      or exists (
        select from ${contactEventHorizons} h where h.account_id = o.account_id
          and h.removed_until + ${longestStatement} > to_timestamp(${param('at', 'bigint')} / 1000.0)
      ))
    from ${organizations} o
    where o.account_id = ${param('account', 'bigint')} and o.id = ${param('organization', 'bigint')}`,
  ([isExpired]) => ({ isExpired }),
)

export interface EventSubscription {
  organizationId: number
  includeDescendants: boolean
  after: EventPosition | undefined
  /** Whether events after the cursor have been removed. */
  isExpired: boolean
}

/** Lets somebody in who asks for the changes to the contacts of an organization. */
export async function admitSubscription(ctx: Context, input: unknown): Promise<EventSubscription> {
  requirePermission(ctx, 'contacts:read')
  const { organizationId, includeDescendants, after } = parse(subscriptionInput, input)
  const [admitted] = await ctx.db.run(admissionStatement, {
    account: ctx.account,
    organization: organizationId,
    // Of two snapshots the later one is the one that must not be from the future.
    from: after?.within?.snapshot ?? after?.snapshot ?? null,
    at: after?.at ?? 0,
  })
  if (!admitted) throw new NotFoundError('Organization', ['organizationId'])
  const { isExpired } = admitted
  return { organizationId, includeDescendants: includeDescendants ?? false, after: after ?? undefined, isExpired }
}

/** How long a process is notified that does not say again that it listens. */
const listenerLifetime = sql.raw("interval '60 seconds'")
export const listenerRefreshMs = 20_000

const registerStatement = defineRead<Parameters, undefined>(
  'register_listener',
  sql`insert into ${contactListeners} (account_id, listener, expires_at)
    select account, ${param('listener', 'text')}, now() + ${listenerLifetime}
    from unnest(${param('accounts', 'bigint[]')}) as account order by account
    on conflict (account_id, listener) do update set expires_at = excluded.expires_at`,
  () => undefined,
)

/** Has a process notified of the events of these accounts, for a minute. */
export async function registerListener(db: Database, listener: string, accounts: readonly number[]): Promise<void> {
  await db.run(registerStatement, { listener, accounts })
}

const sweepStatement = defineRead<Parameters, number>(
  'remove_old_events',
  sql`with gone as (
      delete from ${contactEvents} where ctid = any(array(
        select ctid from ${contactEvents}
        where created_at < now() - make_interval(secs => ${param('seconds', 'integer')})
        limit ${param('limit', 'integer')} for update skip locked
      ))
      returning account_id, created_at
    ), horizon as (
      insert into ${contactEventHorizons} as h (account_id, removed_until)
      select account_id, max(created_at) from gone group by account_id order by account_id
      on conflict (account_id) do update set removed_until = greatest(h.removed_until, excluded.removed_until)
    ), listeners as (
      delete from ${contactListeners} where expires_at < now() - ${listenerLifetime}
    )
    select count(*)::integer from gone`,
  ([count]) => count,
)

const sweptAtOnce = 5000

/** Removes the events that are older than so many seconds. */
export async function removeOldEvents(db: Database, seconds: number): Promise<void> {
  let removed = sweptAtOnce
  while (removed === sweptAtOnce) {
    removed = (await db.run(sweepStatement, { seconds, limit: sweptAtOnce }))[0]!
  }
}
