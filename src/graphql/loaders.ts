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

export const createLoaders = (ctx: Context): Loaders => new RequestLoaders(ctx)

/** Each loader is made when it is first asked for: most requests need one or two. */
class RequestLoaders implements Loaders {
  readonly #ctx: Context
  #organization: Loaders['organization'] | undefined
  #contact: Loaders['contact'] | undefined
  #ancestors: Loaders['ancestors'] | undefined
  #childPages: Loaders['childPage'] | undefined
  #childCounts: ((filter: OrganizationFilter) => DataLoader<number, number>) | undefined
  #contactPages: Loaders['contactPage'] | undefined
  #contactSummaryPages: Loaders['contactSummaryPage'] | undefined
  #contactCounts: ((filter: ContactFilter) => DataLoader<number, number>) | undefined

  constructor(ctx: Context) {
    this.#ctx = ctx
  }

  get organization(): Loaders['organization'] {
    this.#organization ??= new DataLoader(async (ids) => inOrder(ids, await findOrganizations(this.#ctx, ids)))
    return this.#organization
  }

  get contact(): Loaders['contact'] {
    this.#contact ??= new DataLoader(async (ids) => inOrder(ids, await findContacts(this.#ctx, ids)))
    return this.#contact
  }

  get ancestors(): Loaders['ancestors'] {
    this.#ancestors ??= new DataLoader(async (ids) => {
      const found = await findAncestors(this.#ctx, ids)
      for (const rows of found) this.#keep(rows)
      return found
    })
    return this.#ancestors
  }

  async organizationPage(request: OrganizationListRequest): Promise<Connection<Organization>> {
    const page = await organizationPage(this.#ctx, request)
    this.#keep(page.rows)
    const ordering = organizationOrderings[request.field]
    const count = () => countOrganizations(this.#ctx, request.filter)
    return { page, ordering, owner: this.#ctx.account, count }
  }

  childPage(request: OrganizationListRequest): DataLoader<number, Connection<Organization>> {
    this.#childPages ??= byArguments((request) => {
      const count = (id: number) => this.#childCount(request.filter).load(id)
      return async (ids) => {
        const pages = await childPages(this.#ctx, ids, request)
        for (const { rows } of pages) this.#keep(rows)
        return toConnections(ids, pages, organizationOrderings[request.field], count)
      }
    })
    return this.#childPages(request)
  }

  contactPage(request: ContactListRequest): DataLoader<number, Connection<Contact>> {
    this.#contactPages ??= this.#contactsBy(contactPages)
    return this.#contactPages(request)
  }

  contactSummaryPage(request: ContactListRequest): DataLoader<number, Connection<ContactSummary>> {
    this.#contactSummaryPages ??= this.#contactsBy(contactSummaryPages)
    return this.#contactSummaryPages(request)
  }

  #contactsBy<Row extends ContactSummary>(
    read: (ctx: Context, ids: readonly number[], page: PageRequest, filter: ContactFilter) => Promise<Page<Row>[]>,
  ) {
    return byArguments<ContactListRequest, Connection<Row>>(({ page, filter }) => {
      const count = (id: number) => this.#contactCount(filter).load(id)
      return async (ids) => toConnections(ids, await read(this.#ctx, ids, page, filter), listOrder, count)
    })
  }

  #childCount(filter: OrganizationFilter): DataLoader<number, number> {
    this.#childCounts ??= byArguments((filter) => (ids) => countChildren(this.#ctx, ids, filter))
    return this.#childCounts(filter)
  }

  #contactCount(filter: ContactFilter): DataLoader<number, number> {
    this.#contactCounts ??= byArguments((filter) => (ids) => countContacts(this.#ctx, ids, filter))
    return this.#contactCounts(filter)
  }

  /** What a list has brought need not be read again when a parent or a contact refers to it. */
  #keep(rows: readonly Organization[]): void {
    const { organization } = this
    for (const row of rows) organization.prime(row.id, row)
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
