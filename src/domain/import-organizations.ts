import { sql } from 'drizzle-orm'
import { ConstraintError } from '../db/errors.ts'
import { defineStatement, Json, type ParameterValue, param } from '../db/statement.ts'
import { type Context, requirePermission } from './context.ts'
import type { Issue, IssueCode } from './errors.ts'
import type { ImportOutcome } from './import-contacts.ts'
import { importedOrganization } from './organizations.ts'
import { issuesOf, quote, toIssues } from './parse.ts'

/** What became of each organization: an outcome, or the reasons why it was refused. */
export type OrganizationImport = ImportOutcome | readonly string[]

export type OrganizationFault = 'MISSING' | 'DUPLICATE' | 'NAME_TAKEN' | 'NO_PARENT' | 'CYCLE' | 'PARENT_REFUSED'

const importStatement = defineStatement<
  Record<string, ParameterValue>,
  { place: number; outcome: ImportOutcome | OrganizationFault }
>(
  'import_organizations',
  sql`select i.place, i.outcome from import_organizations(
      ${param('account', 'bigint')}, ${param('asked', 'jsonb')}, ${param('isDry', 'boolean')}) i`,
  ([place, outcome]) => ({ place, outcome }),
)

/**
 * Creates and changes organizations, by one statement: one with an id is changed, one without is that of its name, or new.
 * Parents are named, and may be among them. What is undefined stays as it is; null takes away. Those that are refused are
 * left out, with those that would be beneath them.
 */
export async function importOrganizations(
  ctx: Context,
  organizations: readonly unknown[],
  { isDry = false } = {},
): Promise<OrganizationImport[]> {
  requirePermission(ctx, 'organizations:write')
  const outcomes: OrganizationImport[] = []
  const asked: { place: number; id: number | null; name: string; parent: string | null }[] = []
  organizations.forEach((organization, place) => {
    const parsed = importedOrganization.safeParse(organization)
    if (!parsed.success) {
      outcomes[place] = toIssues(parsed.error.issues, organization).map(({ message }) => message)
      return
    }
    const { id, name, parent, disabled, source, sourceID } = parsed.data
    asked.push({
      place,
      id: id ?? null,
      name,
      parent: parent ?? null,
      ...{ keeps_parent: parent === undefined, disabled: disabled ?? null },
      ...{ source, keeps_source: source === undefined, source_id: sourceID, keeps_source_id: sourceID === undefined },
    })
  })
  if (asked.length > 0) {
    const given = new Map(asked.map((one) => [one.place, one]))
    for (const { place, outcome } of await runAgainOnce(ctx, { account: ctx.account, asked: new Json(asked), isDry })) {
      const fault = importFaults(outcome, given.get(place)!)
      outcomes[place] = fault ? [fault.message] : (outcome as ImportOutcome)
    }
  }
  return outcomes
}

/** What is wrong with an organization by itself, whatever is stored. */
export const faultsOfOrganization = (organization: unknown): string[] =>
  issuesOf(importedOrganization, organization).map(({ message }) => message)

/** A name that was free may have been taken meanwhile: the second time that is found. */
async function runAgainOnce(ctx: Context, parameters: Record<string, ParameterValue>) {
  try {
    return await ctx.db.run(importStatement, parameters)
  } catch (error) {
    if (!(error instanceof ConstraintError) || error.constraint !== 'organizations_name_key') throw error
    return ctx.db.run(importStatement, parameters)
  }
}

/** Why an organization was refused; undefined where it was not. */
export function importFaults(
  outcome: ImportOutcome | OrganizationFault,
  { id, name, parent }: { id: number | null; name: string; parent: string | null },
): Issue | undefined {
  const fault = (field: string, code: IssueCode, message: string): Issue => ({ path: [field], code, message })
  switch (outcome) {
    case 'MISSING':
      return fault('id', 'INVALID_ID', `There is no organization with the ID ${id} in the account.`)
    case 'DUPLICATE':
      return fault('name', 'DUPLICATE', `The organization ${quote(name)} is named twice.`)
    case 'NAME_TAKEN':
      return fault('name', 'TAKEN', `Name ${quote(name)} has already been taken.`)
    case 'NO_PARENT':
      return fault('parent', 'INVALID_ID', `There is no parent organization ${quote(parent)}.`)
    case 'CYCLE':
      return fault(
        'parent',
        'CYCLE',
        `The parent ${quote(parent)} is the organization itself or one of its descendants.`,
      )
    case 'PARENT_REFUSED':
      return fault('parent', 'CYCLE', 'An organization above it was refused.')
    default:
      return undefined
  }
}
