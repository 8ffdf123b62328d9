import {
  type GraphQLObjectType,
  type GraphQLSchema,
  isObjectType,
  lexicographicSortSchema,
  printSchema,
  specifiedDirectives,
} from 'graphql'
import { builder } from './builder.ts'
import './contact-mutations.ts'
import './contacts.ts'
import { toSubgraph } from './federation.ts'
import { idempotent } from './idempotent.ts'
import './nodes.ts'
import './organization-mutations.ts'
import './organizations.ts'
import './subscriptions.ts'

/** The executable schema; with `federation`, as a subgraph of a supergraph. */
export function createSchema({ federation = false } = {}): GraphQLSchema {
  const plain = builder.toSchema({ directives: [...specifiedDirectives, idempotent] })
  const schema = federation ? toSubgraph(plain) : plain
  for (const type of Object.values(schema.getTypeMap())) if (isObjectType(type)) rejectLater(type)
  return schema
}

/**
 * Arguments that are wrong throw at once. Within a list, the executor then leaves what the items before have begun to
 * itself, and a rejection there that nobody waits for would end the process. A promise for each keeps them together.
 */
function rejectLater(type: GraphQLObjectType) {
  for (const field of Object.values(type.getFields())) {
    const { resolve } = field
    if (!resolve || field.args.length === 0) continue
    field.resolve = (source, args, context, info) => {
      try {
        return resolve(source, args, context, info)
      } catch (error) {
        return Promise.reject(error)
      }
    }
  }
}

/** The schema as `schema.graphql` has it: sorted, so that its history shows changes alone. */
export function printSortedSchema(schema: GraphQLSchema): string {
  return `${printSchema(lexicographicSortSchema(schema))}\n`
}
