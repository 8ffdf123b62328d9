import type { FieldMap, InputRef } from '@pothos/core'
import type { Context } from '../domain/context.ts'
import {
  ConflictError,
  DomainError,
  type Issue,
  issueCodes,
  KeyReusedError,
  NotFoundError,
  ValidationError,
} from '../domain/errors.ts'
import { builder, Query } from './builder.ts'
import { readOnce } from './idempotent.ts'
import { createLoaders } from './loaders.ts'
import { Organization, organizationOf } from './organizations.ts'

// What a mutation answers: what it did, or an error that the caller can act on, as data.

type ErrorCode = 'VALIDATION_FAILED' | 'NOT_FOUND' | 'CONFLICT'

const ErrorCode = builder.enumType('ErrorCode', {
  description: 'What kind of error a mutation answered with; one for each type of error.',
  values: {
    VALIDATION_FAILED: { description: 'The input breaks a rule: see the issues.' },
    NOT_FOUND: { description: 'There is no such object, or it belongs to somebody else.' },
    CONFLICT: { description: 'The object has changed since it was read, or the key of `@idempotent` was used before.' },
  } satisfies Record<ErrorCode, unknown>,
})

const IssueCode = builder.enumType('ValidationIssueCode', {
  description: 'What is wrong with a part of an input.',
  values: Object.fromEntries(
    Object.entries(issueCodes).map(([code, description]) => [code, { value: code, description }]),
  ),
})

const ValidationIssue = builder.objectRef<Issue>('ValidationIssue').implement({
  description: 'One thing that is wrong with an input.',
  fields: (t) => ({
    path: t.exposeStringList('path', {
      description:
        'Where, from the root of `input`, e.g. `["contact", "telephone", "value"]`; list positions count from 0.',
    }),
    message: t.exposeString('message', { description: 'A sentence that names the field, the limit and the value.' }),
    code: t.field({ type: IssueCode, description: 'The same for programs.', resolve: ({ code }) => code }),
  }),
})

interface ErrorResult {
  __typename: 'ValidationError' | 'NotFoundError' | 'ConflictError'
  message: string
  code: ErrorCode
  path: string[] | null
}

const UserError = builder.interfaceRef<ErrorResult>('UserError').implement({
  description: 'An error that the caller can act on. One fragment on it reads the errors of every mutation.',
  fields: (t) => ({
    message: t.exposeString('message', { description: 'What went wrong, for people.' }),
    code: t.field({ type: ErrorCode, description: 'What went wrong, for programs.', resolve: ({ code }) => code }),
    path: t.exposeStringList('path', {
      nullable: true,
      description: 'The part of `input` that it is about; null where it is about several.',
    }),
  }),
})

const ValidationErrorType = builder.objectRef<ErrorResult & { issues: readonly Issue[] }>('ValidationError').implement({
  description: 'The input breaks rules. All of its issues are told at once, and nothing was changed.',
  interfaces: [UserError],
  fields: (t) => ({
    issues: t.field({
      type: [ValidationIssue],
      description: 'Everything that is wrong.',
      resolve: ({ issues }) => issues,
    }),
  }),
})

const NotFoundErrorType = builder.objectRef<ErrorResult>('NotFoundError').implement({
  description: 'There is no object with that id in the account. Nothing was changed.',
  interfaces: [UserError],
})

const ConflictErrorType = builder
  .objectRef<ErrorResult & { currentVersion: number | null }>('ConflictError')
  .implement({
    description:
      'The object is no longer at the version that `ifVersion` names, or the key of `@idempotent` was used for something else. Nothing was changed.',
    interfaces: [UserError],
    fields: (t) => ({
      currentVersion: t.exposeInt('currentVersion', {
        nullable: true,
        description: 'The version that the object has now; null where the conflict is about something else.',
      }),
    }),
  })

/** Any mutation can end in any of them. */
const errorTypes = [ValidationErrorType, NotFoundErrorType, ConflictErrorType]

/** A domain error as a member of the result unions. */
export function toErrorResult(error: DomainError): ErrorResult {
  const { message } = error
  if (error instanceof ValidationError) {
    const path = error.issues.length === 1 ? error.issues[0]!.path : null
    const result = { message, code: 'VALIDATION_FAILED' as const, path, issues: error.issues }
    return { __typename: 'ValidationError', ...result }
  }
  if (error instanceof NotFoundError)
    return { __typename: 'NotFoundError', message, code: 'NOT_FOUND', path: error.path }
  if (error instanceof ConflictError) {
    const result = { message, code: 'CONFLICT' as const, path: error.path, currentVersion: error.currentVersion }
    return { __typename: 'ConflictError', ...result }
  }
  if (error instanceof KeyReusedError) {
    const result = { message, code: 'CONFLICT' as const, path: null, currentVersion: null }
    return { __typename: 'ConflictError', ...result }
  }
  throw error
}

/** What every success is about: its organization. */
interface Affected {
  organizationId: number
}

interface MutationOptions<Outcome, Success extends Affected> {
  description: string
  input: InputRef<object>
  inputDescription: string
  /** Parses the input itself, and throws a DomainError for what the caller can act on. */
  verb: (ctx: Context, input: unknown) => Promise<Outcome>
  /** From what the verb returned to what the success type shows. */
  show: (outcome: Outcome) => Success
  /** The fields of the success type beside `organization` and `query`. */
  fields?: (t: FieldsOf<Success>) => FieldMap
}

type FieldsOf<Shape> = PothosSchemaTypes.ObjectFieldBuilder<BuilderTypes, Shape>
type BuilderTypes = typeof builder extends PothosSchemaTypes.SchemaBuilder<infer Types> ? Types : never

/**
 * Defines a mutation field over a verb of the domain, its success type and the union of its results. What was read before
 * the verb ran is forgotten afterwards, so that the answer shows the new state.
 */
export function defineMutation<Outcome, Success extends Affected>(
  name: string,
  { description, input, inputDescription, verb, show, fields }: MutationOptions<Outcome, Success>,
): void {
  const typename = name.charAt(0).toUpperCase() + name.slice(1)
  const success = builder.objectRef<Affected>(`${typename}Success`).implement({
    description: `What \`${name}\` did, and the state of things after it.`,
    fields: (t) => ({
      ...fields?.(t as unknown as FieldsOf<Success>),
      organization: t.field({
        type: Organization,
        description: 'The organization that it is about, as it is now.',
        resolve: ({ organizationId }, _args, { loaders }) => organizationOf(loaders, organizationId),
      }),
      query: t.field({ type: Query, description: 'Anything else, as it is now.', resolve: () => ({}) }),
    }),
  })
  const result = builder.unionType(`${typename}Result`, {
    description: `What \`${name}\` answers.`,
    types: [success, ...errorTypes] as never,
  })
  builder.mutationField(name, (t) =>
    t.field({
      type: result,
      description,
      args: { input: t.arg({ type: input, required: true, description: inputDescription }) },
      resolve: async (_root, args, context, info) => {
        const once = readOnce(info, args.input)
        const ctx = once ? { ...context.domain, once } : context.domain
        try {
          return { __typename: `${typename}Success`, ...show(await verb(ctx, args.input)) } as never
        } catch (error) {
          if (error instanceof DomainError) return toErrorResult(error) as never
          throw error
        } finally {
          context.loaders = createLoaders(context.domain)
        }
      },
    }),
  )
}
