import type { ObjectRef } from '@pothos/core'
import type { ContactSummary } from '../domain/contacts.ts'
import { encodeId } from '../domain/ids.ts'
import type { Organization } from '../domain/organizations.ts'
import { encodeCursor, maxPageSize, type Ordering, type Page } from '../domain/page.ts'
import { builder } from './builder.ts'
import type { NodeCount } from './limits.ts'

// Relay's Node and connections, over the rows as they are: a connection holds its page, and cursors and counts are made
// only when they are asked for.

/** The global id of a row. Contacts of all channels share one kind, as they share their integer ids. */
export function globalIdOf(row: Organization | ContactSummary): string {
  return encodeId(row.__typename === 'Organization' ? 'Organization' : 'Contact', row.id)
}

export const Node = builder.interfaceRef<Organization | ContactSummary>('Node').implement({
  description: 'Whatever can be fetched again by its global id.',
  fields: (t) => ({
    id: t.id({ description: 'The global id: opaque, stable, unique among all types.', resolve: globalIdOf }),
  }),
})

export interface Connection<Row> {
  readonly page: Page<Row>
  readonly ordering: Ordering<Row>
  /** Whose list it is, and how many rows the list of an owner has in all. */
  readonly owner: number
  readonly count: (owner: number) => Promise<number>
}

interface Edge<Row> {
  readonly node: Row
  readonly ordering: Ordering<Row>
}

const cursorOf = ({ page, ordering }: Connection<unknown>, at: 0 | -1) => {
  const row = page.rows.at(at)
  return row === undefined ? null : encodeCursor(ordering, row)
}

const PageInfo = builder.objectRef<Connection<unknown>>('PageInfo').implement({
  description: 'Where a page of a list stands, and whether there is more.',
  fields: (t) => ({
    hasNextPage: t.boolean({
      description: 'Whether there is more after this page. Going backward, it is true whenever `before` was given.',
      resolve: ({ page }) => page.hasNextPage,
    }),
    hasPreviousPage: t.boolean({
      description: 'Whether there is more before this page. Going forward, it is true whenever `after` was given.',
      resolve: ({ page }) => page.hasPreviousPage,
    }),
    startCursor: t.string({
      nullable: true,
      description: 'For `before`, to get the page before this one; null on an empty page.',
      resolve: (connection) => cursorOf(connection, 0),
    }),
    endCursor: t.string({
      nullable: true,
      description: 'For `after`, to get the page after this one; null on an empty page.',
      resolve: (connection) => cursorOf(connection, -1),
    }),
  }),
})

/** Defines `NAMEConnection` and `NAMEEdge` over a type of nodes. */
// biome-ignore lint/suspicious/noExplicitAny: a reference to an object or to a union, which Pothos types apart
export function defineConnection<Row>(name: string, nodeRef: any, plural: string) {
  const Node = nodeRef as ObjectRef<never, Row>
  const Edge = builder.objectRef<Edge<Row>>(`${name}Edge`).implement({
    description: `One of the ${plural} of a connection, with its place there.`,
    fields: (t) => ({
      node: t.field({ type: Node, description: 'What the edge leads to.', resolve: ({ node }) => node as never }),
      cursor: t.string({
        description: 'The place in the list, for `after` and `before`. It stays good when rows come or go.',
        resolve: ({ node, ordering }) => encodeCursor(ordering, node),
      }),
    }),
  })
  return builder.objectRef<Connection<Row>>(`${name}Connection`).implement({
    description: `A page of ${plural}.`,
    fields: (t) => ({
      nodes: t.field({
        type: [Node],
        description: `The ${plural} of the page, for those who need no cursor for each.`,
        resolve: ({ page }) => page.rows as never,
      }),
      edges: t.field({
        type: [Edge],
        description: `The ${plural} of the page, each with its cursor.`,
        resolve: ({ page, ordering }) => page.rows.map((node) => ({ node, ordering })),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page stands in the list.',
        resolve: (connection) => connection as Connection<unknown>,
      }),
      totalCount: t.field({
        type: 'SafeInt',
        description: `How many ${plural} the whole list has under its filter. Counted when asked for.`,
        resolve: ({ count, owner }) => count(owner),
      }),
    }),
  })
}

/** For the limits: how many nodes a connection brings where neither `first` nor `last` is given. */
export const pageOf = (pageSize: number) => ({ nodeCount: { pageSize } satisfies NodeCount })

/** The arguments that every connection takes. `size` is how many come when neither `first` nor `last` is given. */
export function pageArguments(t: ArgumentBuilder, size: number) {
  const range = `Between 1 and ${maxPageSize}`
  return {
    first: t.int({ description: `How many from the front. ${range}; ${size} unless \`last\` is given.` }),
    after: t.string({ description: 'A cursor of this list: begin after it.' }),
    last: t.int({ description: `How many from the back. ${range}; not together with \`first\`.` }),
    before: t.string({ description: 'A cursor of this list: end before it.' }),
  }
}

type ArgumentBuilder = Parameters<NonNullable<Parameters<typeof builder.queryField>[1]>>[0]['arg']
