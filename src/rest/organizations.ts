import { contactListArguments, contactPages } from '../domain/contact-lists.ts'
import { organizationId } from '../domain/contacts.ts'
import type { Context } from '../domain/context.ts'
import {
  countOrganizations,
  organizationListArguments,
  organizationOrderings,
  organizationPage,
} from '../domain/organization-lists.ts'
import { findOrganizations, type Organization } from '../domain/organizations.ts'
import { contactFields, listedFields, readId } from './contacts.ts'
import { plainError } from './errors.ts'
import { type Fields, readFields, show } from './fields.ts'
import { pageHeaders, readPage } from './pages.ts'
import type { Call, Reply, Route } from './router.ts'

/** An organization with what is shown of its parent. */
interface Shown {
  organization: Organization
  parent: { id: number; name: string } | null
}

const organizationFields: Fields<Shown> = {
  id: ({ organization }) => organization.id,
  name: ({ organization }) => organization.name,
  parent: ({ parent }) => parent,
  disabled: ({ organization }) => organization.disabled,
  source: ({ organization }) => organization.source,
  sourceID: ({ organization }) => organization.sourceId,
  created_at: ({ organization }) => organization.createdAt.toISOString(),
  updated_at: ({ organization }) => organization.updatedAt.toISOString(),
}

const shownFields = Object.keys(organizationFields)

export const organizationRoutes: readonly Route[] = [
  { method: 'GET', path: '/organizations', handle: list },
  { method: 'GET', path: '/organizations/:organization_id', handle: get },
]

async function withParents(ctx: Context, rows: readonly Organization[]): Promise<Shown[]> {
  const ids = [...new Set(rows.flatMap(({ parentId }) => parentId ?? []))]
  const parents = new Map((ids.length > 0 ? await findOrganizations(ctx, ids) : []).map((row) => [row.id, row]))
  return rows.map((organization) => {
    const parent = parents.get(organization.parentId ?? 0)
    return { organization, parent: parent ? { id: parent.id, name: parent.name } : null }
  })
}

async function list({ ctx, url }: Call): Promise<Reply> {
  const fields = readFields(url, organizationFields, shownFields)
  const { perPage, list } = readPage(url, organizationListArguments)
  const [page, total] = await Promise.all([organizationPage(ctx, list), countOrganizations(ctx, list.filter)])
  const rows = await withParents(ctx, page.rows)
  return {
    status: 200,
    body: rows.map((row) => show(row, organizationFields, fields)),
    headers: pageHeaders(url, page, organizationOrderings[list.field], perPage, total),
  }
}

const contacts = 'contacts'

async function get({ ctx, url, params }: Call): Promise<Reply> {
  const known = { ...organizationFields, [contacts]: () => undefined }
  const fields = readFields(url, known, [...shownFields, contacts])
  const [organization] = await findOrganizations(ctx, [readId(organizationId, params.organization_id)])
  if (!organization) throw plainError(404)
  const [shown] = await withParents(ctx, [organization])
  const body = show(shown!, known, fields)
  if (fields.includes(contacts)) body[contacts] = await firstContacts(ctx, organization.id)
  return { status: 200, body }
}

/** As many contacts as a page of their list has; the list itself leads to the rest. */
async function firstContacts(ctx: Context, id: number): Promise<unknown[]> {
  const { page, filter } = contactListArguments.parse({})
  const [found] = await contactPages(ctx, [id], page, filter)
  return found!.rows.map((contact) => show(contact, contactFields, listedFields))
}
