import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { defineStatement, Json, type ParameterValue, param } from '../db/statement.ts'
import { channels } from './channels.ts'
import {
  type Contact,
  channelFixed,
  contactColumns,
  contactId,
  newContact,
  organizationId,
  toContact,
} from './contacts.ts'
import { type Context, requirePermission } from './context.ts'
import { type Issue, NotFoundError, ValidationError } from './errors.ts'
import { parse, report, storableText, toIssues } from './parse.ts'
import { defineWrite, runWrite, told } from './writes.ts'

// Importing contacts: by GraphQL those of one organization, by the command those of many at once. Both are parsed alike, and
// the same function of the database decides what becomes of each row.

/** How many contacts of one organization one call may import. */
export const maxImported = 250

/** What became of a row that was not refused. */
export const importOutcomes = ['created', 'updated', 'unchanged'] as const
export type ImportOutcome = (typeof importOutcomes)[number]

/** `REPLACE_INTEGRATION` removes the contacts of the integration that are not named; otherwise all others stay. */
export const importModes = ['MERGE', 'REPLACE_INTEGRATION'] as const

/** A contact to import: with an id the one to change, in all its parts. */
const importedContact = z.object({ id: contactId.nullish(), contact: newContact })

type ImportedContact = z.output<typeof importedContact>

/** A row as the database's function takes it. */
const toAsked = ({ id, contact }: ImportedContact, team: number, place: number) => ({
  team,
  place,
  id: id ?? null,
  channel: contact.channel,
  label: contact.label,
  value: contact.value,
  // What is absent stays as it is.
  integration: contact.integration ?? (id ? null : false),
  keys: channels[contact.channel].lookupKeys(contact.value),
})

// One organization.

const importInput = z
  .object({
    organizationId,
    mode: z.enum(importModes, { error: `mode must be ${importModes.join(' or ')}.` }).optional(),
    contacts: z.array(importedContact, { error: 'contacts must be a list.' }).superRefine((items, context) => {
      if (items.length <= maxImported) return
      report(context, 'TOO_MANY', `contacts has ${items.length} items; at most ${maxImported} are allowed.`)
    }),
  })
  .superRefine(({ contacts }, context) => {
    const seen = new Set<number>()
    contacts.forEach(({ id }, i) => {
      if (typeof id !== 'number') return
      if (seen.has(id)) report(context, 'DUPLICATE', `Contact ${id} is named twice.`, ['contacts', i, 'id'])
      seen.add(id)
    })
  })

type Fault = 'NO_ORGANIZATION' | 'MISSING' | 'CHANNEL' | 'DUPLICATE'

interface ImportRow {
  outcome: ImportOutcome | 'deleted' | Fault
  /** Of the row; null for what is about none. */
  place: number | null
  contact: Contact | null
}

/** What is told of an import, whose outcomes are the part `imported`; those that were removed are told first. */
const toldOfImport = told(sql`select ${param('account', 'bigint')}, (i.contact).organization_id, json_agg(
      json_build_object(
        case i.outcome when 'created' then 'added' when 'deleted' then 'removed' else i.outcome end,
        row_to_json(i.contact)
      ) order by i.place nulls first)
    from imported i where i.outcome in ('created', 'updated', 'deleted') and not ${param('isDry', 'boolean')}
    group by (i.contact).organization_id`)

const importWrite = defineWrite<Record<string, ParameterValue>, ImportRow>(
  'import_contacts',
  (unless) => ({
    with: sql`imported as materialized (
        select i.* from (select${unless.where}) once cross join lateral import_contacts(
          ${param('account', 'bigint')}, ${param('teams', 'jsonb')}, ${param('asked', 'jsonb')}, ${param('isDry', 'boolean')}) i
      ), ${toldOfImport}`,
    answer: sql`select i.outcome, i.place, ${contactColumns('(i.contact)')} from imported i
      order by i.place, (i.contact).channel, (i.contact).label, (i.contact).id`,
  }),
  ([outcome, place, ...cells]) => ({
    outcome,
    place,
    contact: cells[0] === null ? null : toContact(cells as Parameters<typeof toContact>[0]),
  }),
)

export interface ContactImport {
  organizationId: number
  /** In the order of the input. */
  results: { outcome: ImportOutcome; contact: Contact }[]
  /** In list order. */
  removedIds: number[]
}

/**
 * Imports contacts of one organization: all of it, or nothing. One with an id is changed; one without is there already
 * when a contact is the same in channel, label, value and integration, and is added otherwise.
 */
export async function importContacts(ctx: Context, input: unknown): Promise<ContactImport> {
  requirePermission(ctx, 'contacts:write')
  const { organizationId, mode, contacts } = parse(importInput, input)
  const rows = await runWrite(ctx, importWrite, {
    account: ctx.account,
    teams: new Json([{ team: 0, id: organizationId, replaces: mode === 'REPLACE_INTEGRATION' }]),
    asked: new Json(contacts.map((contact, place) => toAsked(contact, 0, place))),
    isDry: false,
  })
  const withOutcome = (outcome: ImportRow['outcome']) => rows.filter((row) => row.outcome === outcome)

  if (withOutcome('NO_ORGANIZATION').length > 0) throw new NotFoundError('Organization', ['organizationId'])
  const [missing] = withOutcome('MISSING')
  if (missing) throw new NotFoundError('Contact', ['contacts', String(missing.place), 'id'])
  const wrongChannel = withOutcome('CHANNEL').map(({ place, contact }) =>
    channelFixed(['contacts', String(place), 'contact'], contacts[place!]!.contact.channel, contact!.channel),
  )
  if (wrongChannel.length > 0) throw new ValidationError(wrongChannel)

  return {
    organizationId,
    results: rows
      .filter(({ outcome }) => importOutcomes.includes(outcome as ImportOutcome))
      .map(({ outcome, contact }) => ({ outcome: outcome as ImportOutcome, contact: contact! })),
    removedIds: withOutcome('deleted').map(({ contact }) => contact!.id),
  }
}

// Many organizations.

/** Contacts to import for one organization, which is named. */
export interface OrganizationContacts {
  readonly name: string
  /** Names it instead. */
  readonly id?: number | undefined
  /** Whether the contacts of the integration that are not among these are removed. */
  readonly replaces: boolean
  /** Each as `importContacts` takes it. */
  readonly contacts: readonly unknown[]
}

export interface ImportCounts {
  created: number
  updated: number
  unchanged: number
  deleted: number
}

/** Why the contacts of an organization were not imported; `row` is the position in its list, or undefined for all of it. */
export interface ImportFault {
  readonly row: number | undefined
  readonly reasons: readonly string[]
}

export interface ContactsImport {
  counts: ImportCounts
  /** By the position of the organization. Of these nothing was changed. */
  refused: Map<number, ImportFault[]>
}

interface BatchRow {
  team: number | null
  outcome: keyof ImportCounts | Fault
  count: number
  places: (number | null)[] | null
}

const isFault = sql`i.outcome = upper(i.outcome)`

const importStatement = defineStatement<Record<string, ParameterValue>, BatchRow>(
  'import_contacts_of_many',
  sql`with imported as materialized (
      select i.* from import_contacts(${param('account', 'bigint')}, ${param('teams', 'jsonb')},
        ${param('asked', 'jsonb')}, ${param('isDry', 'boolean')}) i
    ), ${toldOfImport}
    select case when ${isFault} then i.team end, i.outcome, count(*)::integer,
      case when ${isFault} then json_agg(i.place order by i.place) end
    from imported i group by 1, 2, ${isFault}`,
  ([team, outcome, count, places]) => ({ team, outcome, count, places }),
)

/** What is wrong with the contacts of an organization by themselves, whatever is stored. */
export function faultsOf(contacts: readonly unknown[]): ImportFault[] {
  return parseAll(contacts).faults
}

function parseAll(contacts: readonly unknown[]): { parsed: ImportedContact[]; faults: ImportFault[] } {
  const parsed: ImportedContact[] = []
  const faults: ImportFault[] = []
  contacts.forEach((contact, row) => {
    const result = importedContact.safeParse(contact)
    if (result.success) parsed.push(result.data)
    else faults.push({ row, reasons: messagesOf(toIssues(result.error.issues, contact)) })
  })
  return { parsed, faults }
}

const messagesOf = (issues: readonly Issue[]) => issues.map(({ message }) => message)

/**
 * Imports contacts of many organizations, whose names differ, by one statement: each organization whole or not at all.
 * With `isDry` nothing is changed, and the answer is what it would be.
 */
export async function importContactsOfMany(
  ctx: Context,
  organizations: readonly OrganizationContacts[],
  { isDry = false } = {},
): Promise<ContactsImport> {
  requirePermission(ctx, 'contacts:write')
  const refused = new Map<number, ImportFault[]>()
  const teams: object[] = []
  const asked: ReturnType<typeof toAsked>[] = []
  /** Of each place, which row of its organization it is. */
  const rows: number[] = []
  organizations.forEach(({ id, name, replaces, contacts }, team) => {
    const { parsed, faults } = parseAll(contacts)
    if (faults.length > 0) refused.set(team, faults)
    else {
      teams.push({ team, id, name: storableText.parse(name), replaces })
      parsed.forEach((contact, row) => {
        asked.push(toAsked(contact, team, rows.push(row) - 1))
      })
    }
  })
  const counts: ImportCounts = { created: 0, updated: 0, unchanged: 0, deleted: 0 }
  const answer =
    teams.length === 0
      ? []
      : await ctx.db.run(importStatement, {
          account: ctx.account,
          teams: new Json(teams),
          asked: new Json(asked),
          isDry,
        })
  for (const { team, outcome, count, places } of answer) {
    if (team === null) counts[outcome as keyof ImportCounts] += count
    else {
      const faults = places!.map((place) => {
        const row = place === null ? undefined : rows[place]!
        return { row, reasons: [reasonOf(outcome as Fault, place === null ? undefined : asked[place])] }
      })
      refused.set(team, [...(refused.get(team) ?? []), ...faults])
    }
  }
  return { counts, refused }
}

export const missingText = (id: number | string | null) => `The organization has no contact with the ID ${id}.`

function reasonOf(fault: Fault, asked: ReturnType<typeof toAsked> | undefined): string {
  switch (fault) {
    case 'NO_ORGANIZATION':
      return 'There is no such organization in the account.'
    case 'MISSING':
      return missingText(asked!.id)
    case 'CHANNEL':
      return `The contact with the ID ${asked!.id} is not of the channel ${asked!.channel}, and a channel never changes.`
    case 'DUPLICATE':
      return `The ID ${asked!.id} is named twice.`
  }
}
