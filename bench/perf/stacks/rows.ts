import postgres from 'postgres'
import type { Database } from '../../../src/db/client.ts'
import type { Keys, Statement } from '../../../src/db/statement.ts'
import { contactSummaryPages } from '../../../src/domain/contact-lists.ts'
import { addContact, type Contact, type ContactSummary } from '../../../src/domain/contacts.ts'
import { allPermissions, type Context } from '../../../src/domain/context.ts'
import { NotFoundError } from '../../../src/domain/errors.ts'
import {
  childPages,
  type OrganizationFilter,
  type OrganizationListRequest,
  organizationPage,
} from '../../../src/domain/organization-lists.ts'
import { findOrganizations, type Organization } from '../../../src/domain/organizations.ts'
import type { Page, PageRequest } from '../../../src/domain/page.ts'
import { settings } from './settings.ts'

// What the peers with resolvers read and write: the same Drizzle statements and verbs as ours, by the driver and its pool as
// the floor has them. That several requests share a statement is the gateway's doing, not theirs.

/** A page of the list of an owner. */
export interface Asked {
  id: number
  first: number
}

export interface Connection<Row> {
  nodes: readonly Row[]
}

export interface Rows {
  organization(id: string): Promise<Organization | undefined>
  organizations(first: number, filter: OrganizationFilter | null | undefined): Promise<Connection<Organization>>
  contacts(asked: readonly Asked[]): Promise<Connection<ContactSummary>[]>
  children(asked: readonly Asked[]): Promise<Connection<Organization>[]>
  /** What the mutation answers. */
  add(input: unknown): Promise<{ __typename: string; contact?: Contact; message?: string }>
  close(): Promise<void>
}

const firstPage = (limit: number): PageRequest => ({ limit, backward: false, after: null, before: null })

const byName = (first: number, filter: OrganizationFilter = {}): OrganizationListRequest => ({
  page: firstPage(first),
  field: 'NAME',
  descending: false,
  filter,
})

const toConnection = <Row>({ rows }: Page<Row>): Connection<Row> => ({ nodes: rows })

export async function openRows(): Promise<Rows> {
  const sql = postgres(settings.databaseUrl, {
    max: settings.poolSize,
    fetch_types: false,
    types: {
      bigint: { to: 20, from: [20], serialize: String, parse: Number },
      json: { to: 3802, from: [114, 3802], serialize: (text: string) => text, parse: JSON.parse },
    },
  })
  const db = { engine: 'postgres', run } as unknown as Database
  async function run<Parameters, Row>(statement: Statement<Parameters, Row>, parameters: Parameters): Promise<Row[]> {
    const cells = statement.bind(parameters)
    const rows = (await sql.unsafe(statement.text, cells as never[], { prepare: true }).values()) as unknown[][]
    if (!statement.byKey) return rows.map(statement.row)
    const lists = statement.byKey(rows[0]!)
    return (parameters as Keys).keys.map((key) => lists.get(key) ?? []) as Row[]
  }
  const ctx: Context = { db, account: settings.account, permissions: allPermissions }
  return {
    organization: async (id) => (await findOrganizations(ctx, [Number(id)]))[0],
    organizations: async (first, filter) => toConnection(await organizationPage(ctx, byName(first, filter ?? {}))),
    contacts: (asked) => pagesOf(asked, (ids, first) => contactSummaryPages(ctx, ids, firstPage(first), {})),
    children: (asked) => pagesOf(asked, (ids, first) => childPages(ctx, ids, byName(first))),
    async add(input) {
      try {
        return { __typename: 'AddContactSuccess', contact: await addContact(ctx, input) }
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error
        return { __typename: 'NotFoundError', message: error.message }
      }
    },
    close: () => sql.end({ timeout: 1 }),
  }
}

/** Reads the pages by one statement for each page size, in the order in which they are asked for. */
async function pagesOf<Row>(
  asked: readonly Asked[],
  read: (ids: number[], first: number) => Promise<Page<Row>[]>,
): Promise<Connection<Row>[]> {
  const pages = new Map<Asked, Connection<Row>>()
  const bySize = Map.groupBy(asked, ({ first }) => first)
  await Promise.all(
    [...bySize].map(async ([first, same]) => {
      const ids = same.map(({ id }) => id)
      for (const [i, page] of (await read(ids, first)).entries()) pages.set(same[i]!, toConnection(page))
    }),
  )
  return asked.map((one) => pages.get(one)!)
}
