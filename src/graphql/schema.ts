import { type GraphQLSchema, lexicographicSortSchema, printSchema } from 'graphql'
import { builder } from './builder.ts'
import './contact-mutations.ts'
import './contacts.ts'
import './nodes.ts'
import './organization-mutations.ts'
import './organizations.ts'

/** The executable schema. */
export function createSchema(): GraphQLSchema {
  return builder.toSchema()
}

/** The schema as `schema.graphql` has it: sorted, so that its history shows changes alone. */
export function printSortedSchema(schema: GraphQLSchema): string {
  return `${printSchema(lexicographicSortSchema(schema))}\n`
}
