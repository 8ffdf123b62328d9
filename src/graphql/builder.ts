import SchemaBuilder from '@pothos/core'
import ValidationPlugin, { type StandardSchemaV1 } from '@pothos/plugin-validation'
import { GraphQLError } from 'graphql'
import type { core, z } from 'zod'
import type { Context } from '../domain/context.ts'
import type { ContactEvent } from '../domain/events.ts'
import { toIssues } from '../domain/parse.ts'
import { badUserInput } from './errors.ts'
import type { Loaders } from './loaders.ts'

/** What resolvers are told, anew for each request. */
export interface GraphQLContext {
  readonly domain: Context
  /** Replaced after each mutation field, so that nothing read before a write is shown after it. */
  loaders: Loaders
  /** What each field of a mutation has come to, by its key: who executes the document again does nothing again. */
  readonly done: Map<string | number, unknown>
  /** Begins a stream of changes; undefined where the request is none for it. */
  readonly subscribe?: ((input: SubscriptionInput) => Promise<AsyncIterable<ContactEvent>>) | undefined
}

/** Which changes a stream is to bring, for the feed to parse. */
export interface SubscriptionInput {
  organizationId: unknown
  includeDescendants?: unknown
  after?: unknown
}

export const builder = new SchemaBuilder<{
  Context: GraphQLContext
  DefaultFieldNullability: false
  Scalars: {
    ID: { Input: string; Output: string }
    DateTime: { Input: Date; Output: Date }
    SafeInt: { Input: number; Output: number }
  }
}>({
  plugins: [ValidationPlugin],
  defaultFieldNullability: false,
  validation: {
    // Zod is the only validator here, so its issues are Zod's.
    validationError: ({ issues }, args) => badUserInput(toIssues(issues as readonly core.$ZodIssue[], args)),
  },
})

builder.scalarType('DateTime', {
  description: 'An instant in UTC with milliseconds, as ISO 8601 writes it, e.g. `2026-11-24T09:30:00.000Z`.',
  serialize: (instant) => instant.toISOString(),
  parseValue: () => {
    throw new GraphQLError('DateTime is not taken as input.')
  },
})

builder.scalarType('SafeInt', {
  description: 'An integer that JavaScript and JSON hold exactly: between -(2^53 - 1) and 2^53 - 1.',
  serialize: (value) => value,
  parseValue: () => {
    throw new GraphQLError('SafeInt is not taken as input.')
  },
})

/**
 * A schema for the arguments of a field, which parses each object of them once: an executor may hand the same one to the
 * field of every row. What comes out is the same object, too, and nobody may change it.
 */
export function parsedOnce<Schema extends z.ZodType>(schema: Schema): StandardSchemaV1<unknown, z.output<Schema>> {
  const { validate, ...standard } = schema['~standard']
  const known = new WeakMap<object, ReturnType<typeof validate>>()
  return {
    '~standard': {
      ...standard,
      validate(args) {
        const parsed = known.get(args as object) ?? validate(args)
        known.set(args as object, parsed)
        return parsed as StandardSchemaV1.Result<z.output<Schema>>
      },
    },
  }
}

export const Query = builder.queryType({ description: 'Where every query begins.' })
builder.mutationType({
  description:
    'Every change is whole or not at all. What a caller can act on is a member of the result union; everything else is in the top-level `errors`.',
})
