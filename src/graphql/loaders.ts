import DataLoader from 'dataloader'
import { type ContactFilter, contactPages, countContacts } from '../domain/contact-lists.ts'
import { type Contact, findContacts } from '../domain/contacts.ts'
import type { Context } from '../domain/context.ts'
import {
  childPages,
  countChildren,
  type OrganizationFilter,
  type OrganizationListRequest,
  organizationPage,
} from '../domain/organization-lists.ts'
import { findAncestors, findOrganizations, type Organization } from '../domain/organizations.ts'
import type { Page, PageRequest } from '../domain/page.ts'

/**
 * The reads of one request, batched: all that one level of a query asks for becomes one statement, and for lists one
 * statement for each set of arguments.
 */
export interface Loaders {
  readonly organization: DataLoader<number, Organization | null>
  readonly contact: DataLoader<number, Contact | null>
  readonly ancestors: DataLoader<number, Organization[]>
  organizationPage(request: OrganizationListRequest): Promise<Page<Organization>>
  /** By the parent's id, for a set of arguments. */
  childPage(request: OrganizationListRequest): DataLoader<number, Page<Organization>>
  childCount(filter: OrganizationFilter): DataLoader<number, number>
  /** By the organization's id, for a set of arguments. */
  contactPage(request: { page: PageRequest; filter: ContactFilter }): DataLoader<number, Page<Contact>>
  contactCount(filter: ContactFilter): DataLoader<number, number>
}

export function createLoaders(ctx: Context): Loaders {
  const organization = new DataLoader<number, Organization | null>(async (ids) =>
    inOrder(ids, await findOrganizations(ctx, ids)),
  )
  /** What a list has brought need not be read again when a parent or a contact refers to it. */
  const keep = (rows: readonly Organization[]) => {
    for (const row of rows) organization.prime(row.id, row)
  }
  return {
    organization,
    contact: new DataLoader(async (ids) => inOrder(ids, await findContacts(ctx, ids))),
    ancestors: new DataLoader(async (ids) => {
      const found = await findAncestors(ctx, ids)
      found.forEach(keep)
      return found
    }),
    async organizationPage(request) {
      const page = await organizationPage(ctx, request)
      keep(page.rows)
      return page
    },
    childPage: byArguments((request) => async (ids) => {
      const pages = await childPages(ctx, ids, request)
      for (const { rows } of pages) keep(rows)
      return pages
    }),
    childCount: byArguments((filter) => (ids) => countChildren(ctx, ids, filter)),
    contactPage: byArguments(
      ({ page, filter }) =>
        (ids) =>
          contactPages(ctx, ids, page, filter),
    ),
    contactCount: byArguments((filter) => (ids) => countContacts(ctx, ids, filter)),
  }
}

/** One loader for each set of arguments, made when it is first asked for. */
function byArguments<Arguments, Value>(
  batchFor: (args: Arguments) => (ids: readonly number[]) => Promise<Value[]>,
): (args: Arguments) => DataLoader<number, Value> {
  const loaders = new Map<string, DataLoader<number, Value>>()
  return (args) => {
    const key = JSON.stringify(args) ?? ''
    let loader = loaders.get(key)
    if (!loader) {
      loader = new DataLoader(batchFor(args))
      loaders.set(key, loader)
    }
    return loader
  }
}

function inOrder<Row extends { id: number }>(ids: readonly number[], rows: Row[]): (Row | null)[] {
  const byId = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => byId.get(id) ?? null)
}
