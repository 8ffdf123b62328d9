import {
  type ASTVisitor,
  DirectiveLocation,
  GraphQLDirective,
  GraphQLError,
  GraphQLNonNull,
  type GraphQLResolveInfo,
  GraphQLString,
  getDirectiveValues,
  type ValidationContext,
} from 'graphql'
import type { Once } from '../domain/context.ts'
import type { IssueCode } from '../domain/errors.ts'
import { faultOfKey, keyDescription, onceFor } from '../domain/once.ts'
import { quote } from '../domain/parse.ts'
import { badUserInput } from './errors.ts'

const name = 'idempotent'

/** Marks a field of a mutation as one that may be sent again. */
export const idempotent = new GraphQLDirective({
  name,
  description: `Gives a field of a mutation one effect, however often it is sent. Within 24 hours, the same key with the same field and \`input\` gets the first outcome again, also where that was a NotFoundError, a ConflictError or a ValidationError about what is stored; with anything else it gets a ConflictError, and nothing is changed. The outcome is what was done: the contacts as they were then, and the ids. \`organization\` and \`query\` show the present. Keys are kept for each account by itself. On any other field the directive is refused.`,
  locations: [DirectiveLocation.FIELD],
  args: {
    key: {
      type: new GraphQLNonNull(GraphQLString),
      description: `Chosen by the caller, anew for each change that is meant, for example a UUID: ${keyDescription}.`,
    },
  },
})

/** The directive does something on the fields of a mutation alone. Elsewhere it would promise what nobody keeps. */
export function idempotentOnMutationsOnly(context: ValidationContext): ASTVisitor {
  return {
    Field(field) {
      const given = field.directives?.find((directive) => directive.name.value === name)
      const parent = context.getParentType()
      if (!given || !parent) return
      if (parent === context.getSchema().getMutationType() && !field.name.value.startsWith('__')) return
      const message = `@${name} is for the fields of a mutation alone, not for ${parent.name}.${field.name.value}.`
      context.reportError(new GraphQLError(message, { nodes: given }))
    },
  }
}

/** The mark of a mutation field that is sent with a key; undefined without one. */
export function readOnce(
  { fieldName, fieldNodes, variableValues }: GraphQLResolveInfo,
  input: object,
): Once | undefined {
  const keys = new Set<string>()
  for (const node of fieldNodes) {
    const given = node.directives?.length ? getDirectiveValues(idempotent, node, variableValues) : undefined
    if (given) keys.add(given.key as string)
  }
  const [key, another] = keys
  if (key === undefined) return undefined
  const refuse = (code: IssueCode, message: string) => badUserInput([{ path: ['key'], code, message }])
  // Written several times under one name, a field is executed once.
  if (another !== undefined) {
    throw refuse('EXCLUSIVE', `${fieldName} is given two keys, ${quote(key)} and ${quote(another)}, but is one field.`)
  }
  const fault = faultOfKey(`The key of @${name}`, key)
  if (fault) throw refuse(fault.code, fault.message)
  return onceFor(key, [fieldName, input])
}
