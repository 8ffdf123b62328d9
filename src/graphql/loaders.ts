import DataLoader from 'dataloader'
import {
  type ContactFilter,
  contactPages,
  contactSummaryPages,
  countContacts,
  listOrder,
} from '../domain/contact-lists.ts'
import { type Contact, type ContactSummary, findContacts } from '../domain/contacts.ts'
import type { Context } from '../domain/context.ts'
import {
  childPages,
  countChildren,
  countOrganizations,
  type OrganizationFilter,
  type OrganizationListRequest,
  organizationOrderings,
  organizationPage,
} from '../domain/organization-lists.ts'
import { findAncestors, findOrganizations, type Organization } from '../domain/organizations.ts'
import type { Ordering, Page, PageRequest } from '../domain/page.ts'
import type { Connection } from './relay.ts'

/**
 * The reads of one request, batched: all that one level of a query asks for becomes one statement, and for lists one
 * statement for each set of arguments.
 */
export interface Loaders {
  readonly organization: DataLoader<number, Organization | null>
  readonly contact: DataLoader<number, Contact | null>
  readonly ancestors: DataLoader<number, readonly Organization[]>
  organizationPage(request: OrganizationListRequest): Promise<Connection<Organization>>
  /** By the parent's id, for a set of arguments. */
  childPage(request: OrganizationListRequest): DataLoader<number, Connection<Organization>>
  /** By the organization's id, for a set of arguments. */
  contactPage(request: ContactListRequest): DataLoader<number, Connection<Contact>>
  contactSummaryPage(request: ContactListRequest): DataLoader<number, Connection<ContactSummary>>
}

interface ContactListRequest {
  readonly page: PageRequest
  readonly filter: ContactFilter
}

export function createLoaders(ctx: Context): Loaders {
  const organization = new DataLoader<number, Organization | null>(async (ids) =>
    inOrder(ids, await findOrganizations(ctx, ids)),
  )
  /** What a list has brought need not be read again when a parent or a contact refers to it. */
  const keep = (rows: readonly Organization[]) => {
    for (const row of rows) organization.prime(row.id, row)
  }
  const childCount = byArguments<OrganizationFilter, number>((filter) => (ids) => countChildren(ctx, ids, filter))
  const contactCount = byArguments<ContactFilter, number>((filter) => (ids) => countContacts(ctx, ids, filter))
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
      const ordering = organizationOrderings[request.field]
      return { page, ordering, owner: ctx.account, count: () => countOrganizations(ctx, request.filter) }
    },
    childPage: byArguments((request) => {
      const count = (id: number) => childCount(request.filter).load(id)
      return async (ids) => {
        const pages = await childPages(ctx, ids, request)
        for (const { rows } of pages) keep(rows)
        return toConnections(ids, pages, organizationOrderings[request.field], count)
      }
    }),
    contactPage: byArguments(({ page, filter }) => {
      const count = (id: number) => contactCount(filter).load(id)
      return async (ids) => toConnections(ids, await contactPages(ctx, ids, page, filter), listOrder, count)
    }),
    contactSummaryPage: byArguments(({ page, filter }) => {
      const count = (id: number) => contactCount(filter).load(id)
      return async (ids) => toConnections(ids, await contactSummaryPages(ctx, ids, page, filter), listOrder, count)
    }),
  }
}

const toConnections = <Row>(
  owners: readonly number[],
  pages: readonly Page<Row>[],
  ordering: Ordering<NoInfer<Row>>,
  count: (owner: number) => Promise<number>,
): Connection<Row>[] => pages.map((page, i) => ({ page, ordering, owner: owners[i]!, count }))

/** One loader for each set of arguments, made when it is first asked for. Mostly all rows bring the same object of them. */
function byArguments<Arguments extends object, Value>(
  batchFor: (args: Arguments) => (ids: readonly number[]) => Promise<Value[]>,
): (args: Arguments) => DataLoader<number, Value> {
  const byObject = new Map<Arguments, DataLoader<number, Value>>()
  const byText = new Map<string, DataLoader<number, Value>>()
  return (args) => {
    const known = byObject.get(args)
    if (known) return known
    const text = JSON.stringify(args)
    const loader = byText.get(text) ?? new DataLoader(batchFor(args))
    byText.set(text, loader)
    byObject.set(args, loader)
    return loader
  }
}

function inOrder<Row extends { id: number }>(ids: readonly number[], rows: Row[]): (Row | null)[] {
  const byId = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => byId.get(id) ?? null)
}
