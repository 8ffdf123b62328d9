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

/** Each of them is made when it is first asked for: most requests need one or two. */
export function createLoaders(ctx: Context): Loaders {
  let organization: Loaders['organization'] | undefined
  let contact: Loaders['contact'] | undefined
  let ancestors: Loaders['ancestors'] | undefined
  /** What a list has brought need not be read again when a parent or a contact refers to it. */
  const keep = (rows: readonly Organization[]) => {
    const { organization } = loaders
    for (const row of rows) organization.prime(row.id, row)
  }
  const childCount = byArguments<OrganizationFilter, number>((filter) => (ids) => countChildren(ctx, ids, filter))
  const contactCount = byArguments<ContactFilter, number>((filter) => (ids) => countContacts(ctx, ids, filter))
  const contactsBy = <Row extends ContactSummary>(
    read: (ctx: Context, ids: readonly number[], page: PageRequest, filter: ContactFilter) => Promise<Page<Row>[]>,
  ) =>
    byArguments<ContactListRequest, Connection<Row>>(({ page, filter }) => {
      const count = (id: number) => contactCount(filter).load(id)
      return async (ids) => toConnections(ids, await read(ctx, ids, page, filter), listOrder, count)
    })
  const loaders: Loaders = {
    get organization() {
      organization ??= new DataLoader(async (ids) => inOrder(ids, await findOrganizations(ctx, ids)))
      return organization
    },
    get contact() {
      contact ??= new DataLoader(async (ids) => inOrder(ids, await findContacts(ctx, ids)))
      return contact
    },
    get ancestors() {
      ancestors ??= new DataLoader(async (ids) => {
        const found = await findAncestors(ctx, ids)
        found.forEach(keep)
        return found
      })
      return ancestors
    },
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
    contactPage: contactsBy(contactPages),
    contactSummaryPage: contactsBy(contactSummaryPages),
  }
  return loaders
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
  let byText: Map<string, DataLoader<number, Value>> | undefined
  let lastArgs: Arguments | undefined
  let lastLoader: DataLoader<number, Value> | undefined
  return (args) => {
    if (lastLoader && args === lastArgs) return lastLoader
    byText ??= new Map()
    const text = JSON.stringify(args)
    const loader = byText.get(text) ?? new DataLoader(batchFor(args))
    byText.set(text, loader)
    lastArgs = args
    lastLoader = loader
    return loader
  }
}

function inOrder<Row extends { id: number }>(ids: readonly number[], rows: Row[]): (Row | null)[] {
  const byId = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => byId.get(id) ?? null)
}
