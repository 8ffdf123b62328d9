import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { ConstraintError } from '../db/errors.ts'
import { columnsOf, defineKeyedRead, Json, type ParameterValue, param } from '../db/statement.ts'
import { maxLength, organizations } from '../db/tables.ts'
import { type Context, requirePermission } from './context.ts'
import { type Issue, NotFoundError, ValidationError } from './errors.ts'
import { idOf } from './ids.ts'
import { flag, instant, line, parse } from './parse.ts'
import { defineWrite, runWrite, type Write } from './writes.ts'

export interface Organization {
  readonly __typename: 'Organization'
  readonly id: number
  readonly name: string
  readonly parentId: number | null
  readonly disabled: boolean
  readonly source: string | null
  readonly sourceId: string | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** The columns of an organization, in the order in which `toOrganization` reads them. */
export const organizationNames = [
  'id',
  'name',
  'parent_id',
  'disabled',
  'source',
  'source_id',
  'created_at',
  'updated_at',
]

/** The columns that `toOrganization` reads, from a table or a common table expression of this name. */
const organizationColumns = (from: string) => sql.join(columnsOf(from, organizationNames), sql`, `)

type OrganizationCells = [
  id: number,
  name: string,
  parentId: number | null,
  disabled: boolean,
  source: string | null,
  sourceId: string | null,
  createdAt: Date | string,
  updatedAt: Date | string,
]

export function toOrganization(cells: OrganizationCells): Organization {
  const [id, name, parentId, disabled, source, sourceId, createdAt, updatedAt] = cells
  const instants = { createdAt: instant(createdAt), updatedAt: instant(updatedAt) }
  return { __typename: 'Organization', id, name, parentId, disabled, source, sourceId, ...instants }
}

const account = param('account', 'bigint')

const organizationsById = defineKeyedRead<{ account: number }, Organization>(
  'organizations_by_id',
  columnsOf('o', organizationNames),
  (columns) => sql`select o.id, ${columns} from ${organizations} o
    where o.account_id = ${account} and o.id = any(${param('keys', 'bigint[]')})`,
  toOrganization,
)

/** The organizations with these ids, in their order; ids that name none are left out. */
export async function findOrganizations(ctx: Context, ids: readonly number[]): Promise<Organization[]> {
  requirePermission(ctx, 'organizations:read')
  return (await ctx.db.run(organizationsById, { account: ctx.account, keys: ids })).flat()
}

/** Each parent is looked up by its key: at a guess of how many there are, a join may read the whole table. */
const ancestorsStatement = defineKeyedRead<{ account: number }, Organization>(
  'organization_ancestors',
  columnsOf('up', organizationNames),
  (columns) => sql`with recursive up as (
      select o.id as of, 0 as distance, ${organizationColumns('o')} from ${organizations} o
      where o.account_id = ${account} and o.id = any(${param('keys', 'bigint[]')})
      union all
      select up.of, up.distance + 1, parent.* from up cross join lateral (
        select ${organizationColumns('o')} from ${organizations} o
        where o.account_id = ${account} and o.id = up.parent_id limit 1
      ) parent
    )
    select up.of, ${columns} from up where up.distance > 0 order by up.distance desc`,
  toOrganization,
)

/** For each organization those above it, from the root down to its parent. */
export async function findAncestors(ctx: Context, ids: readonly number[]): Promise<(readonly Organization[])[]> {
  requirePermission(ctx, 'organizations:read')
  return ctx.db.run(ancestorsStatement, { account: ctx.account, keys: ids })
}

// Creating and changing.

const name = line('Name', maxLength.organizationName)
const disabled = flag('Disabled')
const parentId = idOf('Organization', 'Parent id')
const source = line('Source', maxLength.source)
const sourceId = line('Source ID', maxLength.sourceId)

const createInput = z.object({
  name,
  parentId: parentId.nullish(),
  disabled: disabled.nullish(),
  source: source.nullish(),
  sourceID: sourceId.nullish(),
})

/** Null takes a value away where there can be none; what is absent stays. */
const updateInput = z.object({
  id: idOf('Organization'),
  name: name.optional(),
  parentId: parentId.nullish(),
  disabled: disabled.optional(),
  source: source.nullish(),
  sourceID: sourceId.nullish(),
})

/** An organization as files and other systems describe it: its parent by name. What is undefined stays as it is. */
export const importedOrganization = z.object({
  id: idOf('Organization', 'ID').nullish(),
  name,
  parent: line('Parent Organization', maxLength.organizationName).nullish(),
  disabled: disabled.nullish(),
  source: source.nullish(),
  sourceID: sourceId.nullish(),
})

const nameTaken: Issue = { path: ['name'], code: 'TAKEN', message: 'Name has already been taken.' }
const cycle: Issue = {
  path: ['parentId'],
  code: 'CYCLE',
  message: 'Parent id names the organization itself or one of its descendants.',
}

type CreateFault = 'NO_PARENT' | 'NAME_TAKEN' | null

const createWrite = defineWrite<
  Record<string, ParameterValue>,
  { fault: CreateFault; organization: Organization | undefined }
>(
  'create_organization',
  (unless) => ({
    with: sql`judged as materialized (
        select wanted.parent_id, case
          when wanted.parent_id is not null and p.id is null then 'NO_PARENT'
          when exists (
            select from ${organizations} n where n.account_id = ${account} and n.name = ${param('name', 'text')}
          ) then 'NAME_TAKEN'
        end as fault
        from (values (${param('parent', 'bigint')})) as wanted(parent_id)
        left join ${organizations} p on p.account_id = ${account} and p.id = wanted.parent_id${unless.where}
      ), created as (
        insert into ${organizations} (account_id, name, parent_id, disabled, source, source_id)
        select ${account}, ${param('name', 'text')}, parent_id, ${param('disabled', 'boolean')},
          ${param('source', 'text')}, ${param('sourceId', 'text')}
        from judged where fault is null
        returning *
      )`,
    answer: sql`select judged.fault, ${organizationColumns('created')} from judged left join created on true`,
  }),
  ([fault, ...cells]) => ({ fault, organization: fault === null ? toOrganization(cells) : undefined }),
)

/** Creates an organization, at the root or beneath a parent. */
export async function createOrganization(ctx: Context, input: unknown): Promise<Organization> {
  requirePermission(ctx, 'organizations:write')
  const given = parse(createInput, input)
  const created = await runNaming(ctx, createWrite, {
    account: ctx.account,
    name: given.name,
    parent: given.parentId ?? null,
    disabled: given.disabled ?? false,
    source: given.source ?? null,
    sourceId: given.sourceID ?? null,
  })
  const { fault, organization } = created!
  if (fault === 'NO_PARENT') throw new NotFoundError('Organization', ['parentId'])
  if (fault === 'NAME_TAKEN') throw new ValidationError([nameTaken])
  return organization!
}

type UpdateFault = 'NO_PARENT' | 'CYCLE' | null

/**
 * The cycle rule is about other rows, so it is judged by a function that first makes moves within the account wait for
 * each other; only then the organization itself is locked.
 */
const updateWrite = defineWrite<
  Record<string, ParameterValue>,
  { fault: UpdateFault; isNameTaken: boolean; organization: Organization }
>(
  'update_organization',
  (unless) => ({
    with: sql`change as (
        select given, (given ->> 'parentId')::bigint as parent_id
        from (values (${param('change', 'jsonb')})) as v(given)${unless.where}
      ), move as materialized (
        select change.*, case
          when change.parent_id is null then null
          when not exists (
            select from ${organizations} p where p.account_id = ${account} and p.id = change.parent_id
          ) then 'NO_PARENT'
          when is_same_or_ancestor(${account}, ${param('id', 'bigint')}, change.parent_id) then 'CYCLE'
        end as fault from change
      ), target as materialized (
        select o.*, move.given, move.fault, move.parent_id as new_parent_id, exists (
          select from ${organizations} n
          where n.account_id = ${account} and n.name = move.given ->> 'name' and n.id <> o.id
        ) as is_name_taken from ${organizations} o, move
        where o.account_id = ${account} and o.id = ${param('id', 'bigint')}
        for no key update of o
      ), updated as (
        update ${organizations} o set
          name = case when given ? 'name' then given ->> 'name' else o.name end,
          parent_id = case when given ? 'parentId' then t.new_parent_id else o.parent_id end,
          disabled = case when given ? 'disabled' then (given ->> 'disabled')::boolean else o.disabled end,
          source = case when given ? 'source' then given ->> 'source' else o.source end,
          source_id = case when given ? 'sourceID' then given ->> 'sourceID' else o.source_id end,
          updated_at = clock_timestamp()
        from target t
        where o.account_id = ${account} and o.id = t.id and t.fault is null and not t.is_name_taken
          and not jsonb_build_object('name', t.name, 'parentId', t.parent_id, 'disabled', t.disabled,
            'source', t.source, 'sourceID', t.source_id) @> t.given
        returning o.*
      )`,
    answer: sql`select null as fault, false as is_name_taken, ${organizationColumns('updated')} from updated
      union all
      select t.fault, t.is_name_taken, ${organizationColumns('t')} from target t where not exists (select from updated)`,
  }),
  ([fault, isNameTaken, ...cells]) => ({ fault, isNameTaken, organization: toOrganization(cells) }),
)

/** Renames, disables or moves an organization. With nothing to change, nothing is written. */
export async function updateOrganization(ctx: Context, input: unknown): Promise<Organization> {
  requirePermission(ctx, 'organizations:write')
  const { id, ...change } = parse(updateInput, input)
  const updated = await runNaming(ctx, updateWrite, { account: ctx.account, id, change: new Json(change) })
  if (!updated) throw new NotFoundError('Organization', ['id'])
  const { fault, isNameTaken, organization } = updated
  if (fault === 'NO_PARENT') throw new NotFoundError('Organization', ['parentId'])
  const issues = [...(isNameTaken ? [nameTaken] : []), ...(fault === 'CYCLE' ? [cycle] : [])]
  if (issues.length > 0) throw new ValidationError(issues)
  return organization
}

/**
 * Runs a write that looks whether a name is free before it takes it. Where somebody else is faster, the unique key refuses
 * the whole statement, with the row that would keep its answer. With a key it runs again, finds the name taken, and keeps that.
 */
async function runNaming<Row>(
  ctx: Context,
  write: Write<Record<string, ParameterValue>, Row>,
  parameters: Record<string, ParameterValue>,
  isLast = ctx.once === undefined,
): Promise<Row | undefined> {
  try {
    return (await runWrite(ctx, write, parameters))[0]
  } catch (error) {
    if (!(error instanceof ConstraintError) || error.constraint !== 'organizations_name_key') throw error
    if (isLast) throw new ValidationError([nameTaken])
    return runNaming(ctx, write, parameters, true)
  }
}
