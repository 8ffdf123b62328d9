import { createServer } from 'node:http'
import { buildSubgraphSchema, type GraphQLSchemaModule } from '@apollo/subgraph'
import { parse } from 'graphql'
import { createYoga } from 'graphql-yoga'
import { decodeId } from '../../src/domain/ids.ts'
import { type Listening, listenTo } from './listening.ts'

// The services of two other teams.

/**
 * One knows how many tickets an organization has. It is a Relay server as well, and the one of the supergraph that has
 * `node`: it tells the type of an id, and the gateway gets the rest from where it is.
 */
const ticketsSchema = `
  extend schema @link(
    url: "https://specs.apollo.dev/federation/v2.9"
    import: ["@key", "@shareable", "@interfaceObject"]
  )

  directive @idempotent(key: String!) on FIELD

  type Query {
    node(id: ID!): Node
    nodes(ids: [ID!]!): [Node]!
    tickets(first: Int): TicketConnection!
  }

  interface Node {
    id: ID!
  }

  type TicketConnection {
    edges: [TicketEdge!]!
    pageInfo: PageInfo!
  }

  type TicketEdge {
    cursor: String!
    node: Ticket!
  }

  type PageInfo @shareable {
    hasNextPage: Boolean!
    hasPreviousPage: Boolean!
    startCursor: String
    endCursor: String
  }

  type Ticket implements Node @key(fields: "id") {
    id: ID!
    subject: String!
    organization: Organization
    caller: ContactDetails
  }

  type Organization implements Node @key(fields: "id") {
    id: ID!
    openTickets: Int!
  }

  type ContactDetails @interfaceObject @key(fields: "id") {
    id: ID!
    calls: Int!
  }
`

/** The other knows organizations by the integers of the REST API, and adds to one kind of contacts. */
const invoicesSchema = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])

  directive @idempotent(key: String!) on FIELD

  scalar SafeInt

  type Query {
    invoices: [Invoice!]!
  }

  type Invoice {
    number: String!
    organization: Organization!
  }

  type Organization @key(fields: "databaseId") {
    databaseId: SafeInt!
    unpaid: Int!
  }

  type EmailContact @key(fields: "id") {
    id: ID!
    isBilledTo: Boolean!
  }
`

export interface Ticket {
  id: string
  subject: string
  organizationId: string
  callerId?: string
}

export interface Invoice {
  number: string
  organization: { databaseId: number }
  /** The global id of the e-mail contact that it was sent to. */
  sentTo?: string
}

const toNode = (id: string) => (decodeId(id)?.kind === 'Organization' ? { __typename: 'Organization', id } : null)

/** Serves these tickets as a subgraph. */
export function serveTickets(tickets: readonly Ticket[]): Promise<Listening> {
  const resolvers = {
    Query: {
      node: (_: unknown, { id }: { id: string }) => toNode(id),
      nodes: (_: unknown, { ids }: { ids: string[] }) => ids.map(toNode),
      tickets: (_: unknown, { first = 100 }: { first?: number }) => ({
        edges: tickets.slice(0, first).map((node) => ({ node, cursor: node.id })),
        pageInfo: { hasNextPage: tickets.length > first, hasPreviousPage: false },
      }),
    },
    Ticket: {
      organization: ({ organizationId }: Ticket) => ({ id: organizationId }),
      caller: ({ callerId }: Ticket) => (callerId === undefined ? null : { id: callerId }),
    },
    Organization: {
      openTickets: ({ id }: { id: string }) => tickets.filter(({ organizationId }) => organizationId === id).length,
    },
    ContactDetails: { calls: ({ id }: { id: string }) => tickets.filter(({ callerId }) => callerId === id).length },
  }
  return serve(ticketsSchema, resolvers)
}

/** Serves these invoices as a subgraph. */
export function serveInvoices(invoices: readonly Invoice[]): Promise<Listening> {
  const resolvers = {
    Query: { invoices: () => invoices },
    Organization: {
      unpaid: ({ databaseId }: { databaseId: number }) =>
        invoices.filter(({ organization }) => organization.databaseId === databaseId).length,
    },
    EmailContact: {
      isBilledTo: ({ id }: { id: string }) => invoices.some(({ sentTo }) => sentTo === id),
    },
  }
  return serve(invoicesSchema, resolvers)
}

function serve(typeDefs: string, resolvers: NonNullable<GraphQLSchemaModule['resolvers']>): Promise<Listening> {
  // biome-ignore lint/suspicious/noExplicitAny: a document of the other graphql, which is the same
  const schema = buildSubgraphSchema([{ typeDefs: parse(typeDefs) as any, resolvers }])
  return listenTo(createServer(createYoga({ schema, logging: false, graphiql: false })))
}
