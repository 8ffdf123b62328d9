import { makeExecutableSchema } from '@graphql-tools/schema'
import { GraphQLScalarType, type GraphQLSchema } from 'graphql'
import { contactChannel, contactLabel } from '../../../src/db/tables.ts'
import { defaultContactPageSize } from '../../../src/domain/contact-lists.ts'
import { defaultOrganizationPageSize } from '../../../src/domain/organization-lists.ts'

// The part of our schema that the workloads ask for, written as the users of these peers write it: SDL and resolvers.

const enumOf = (name: string, values: readonly string[]) =>
  `enum ${name} { ${values.map((value) => value.toUpperCase()).join(' ')} }`

const contactFields = `
  databaseId: Int! channel: ContactChannel! label: ContactLabel! value: String! integration: Boolean! version: Int!
  createdAt: DateTime! updatedAt: DateTime!`

const contactType = (channel: string) => `
  type ${typenameOf(channel)} implements ContactDetails { ${contactFields} ${channel}: String! }
  input New${typenameOf(channel)} { label: ContactLabel! value: String! integration: Boolean }`

const typenameOf = (channel: string) => `${channel.charAt(0).toUpperCase()}${channel.slice(1)}Contact`

const typeDefs = `
  scalar DateTime
  ${enumOf('ContactChannel', contactChannel.enumValues)}
  ${enumOf('ContactLabel', contactLabel.enumValues)}
  interface ContactDetails { ${contactFields} }
  ${contactChannel.enumValues.map(contactType).join('\n')}
  union Contact = ${contactChannel.enumValues.map(typenameOf).join(' | ')}
  type ContactConnection { nodes: [Contact!]! }
  type Organization {
    databaseId: Int! name: String! disabled: Boolean!
    contacts(first: Int! = ${defaultContactPageSize}): ContactConnection!
    children(first: Int! = ${defaultOrganizationPageSize}): OrganizationConnection!
  }
  type OrganizationConnection { nodes: [Organization!]! }
  input OrganizationFilter { root: Boolean }
  type Query {
    organization(id: ID!): Organization
    organizations(first: Int! = ${defaultOrganizationPageSize}, filter: OrganizationFilter): OrganizationConnection!
  }
  input NewContact @oneOf { ${contactChannel.enumValues.map((channel) => `${channel}: New${typenameOf(channel)}`).join(' ')} }
  input AddContactInput { organizationId: ID! contact: NewContact! }
  type AddContactSuccess { contact: Contact! }
  type NotFoundError { message: String! }
  union AddContactResult = AddContactSuccess | NotFoundError
  type Mutation { addContact(input: AddContactInput!): AddContactResult! }`

const internal = (values: readonly string[]) => Object.fromEntries(values.map((value) => [value.toUpperCase(), value]))

const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  serialize: (instant) => (instant as Date).toISOString(),
})

// biome-ignore lint/suspicious/noExplicitAny: rows and arguments have the types of the schema, which is a text here
export type Resolvers = Record<string, Record<string, (source: any, args: any, context: any) => unknown>>

/**
 * An executable schema with these resolvers beside those of the plain fields. Rows carry their `__typename`, by which graphql
 * tells the members of a union.
 */
export function createPeerSchema(resolvers: Resolvers): GraphQLSchema {
  const databaseId = ({ id }: { id: number }) => id
  return makeExecutableSchema({
    typeDefs,
    resolvers: [
      {
        DateTime,
        ContactChannel: internal(contactChannel.enumValues),
        ContactLabel: internal(contactLabel.enumValues),
        ...Object.fromEntries(contactChannel.enumValues.map((channel) => [typenameOf(channel), { databaseId }])),
        Organization: { databaseId },
      },
      resolvers,
    ],
  })
}
