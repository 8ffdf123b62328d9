import {
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  type GraphQLType,
  isAbstractType,
  isCompositeType,
  isInterfaceType,
  isIntrospectionType,
  isListType,
  isNonNullType,
  isObjectType,
  lexicographicSortSchema,
  TypeKind,
} from 'graphql'
import { printSortedSchema } from './schema.ts'

/** The files that tell programs of the schema, by their names, each with how it is made. */
export const artefacts = {
  'schema.graphql': printSortedSchema,
  'possibleTypes.json': printPossibleTypes,
  'schema.introspection.json': printMinifiedIntrospection,
} satisfies Record<string, (schema: GraphQLSchema) => string>

/** The members of each union and interface, as the option `possibleTypes` of Apollo Client's cache takes them. */
export function printPossibleTypes(schema: GraphQLSchema): string {
  const possible = typesOf(schema)
    .filter(isAbstractType)
    .map((type): [string, string[]] => [type.name, namesOf(schema.getPossibleTypes(type)).toSorted()])
  return `${JSON.stringify(Object.fromEntries(possible), null, 2)}\n`
}

/**
 * What the option `schema` of urql's Graphcache reads of the answer to an introspection query, in the form that
 * `minifyIntrospectionQuery` of `@urql/introspection` gives it.
 */
export function printMinifiedIntrospection(schema: GraphQLSchema): string {
  const sorted = lexicographicSortSchema(schema)
  const rootOf = (type: GraphQLCompositeType | null | undefined) => (type ? referenceTo(type) : null)
  const described = {
    queryType: rootOf(sorted.getQueryType()),
    mutationType: rootOf(sorted.getMutationType()),
    subscriptionType: rootOf(sorted.getSubscriptionType()),
    types: [
      ...typesOf(sorted)
        .filter(isCompositeType)
        .map((type) => describeType(type, sorted)),
      anyLeaf,
    ],
    directives: [],
  }
  return `${JSON.stringify({ __schema: described })}\n`
}

const typesOf = (schema: GraphQLSchema): GraphQLNamedType[] =>
  Object.values(schema.getTypeMap())
    .filter((type) => !isIntrospectionType(type))
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))

const namesOf = (types: readonly GraphQLNamedType[]) => types.map(({ name }) => name)

/** Stands for every scalar, enum and input: a cache does not look into them. */
const anyLeaf = { kind: TypeKind.SCALAR, name: 'Any' }

function describeType(type: GraphQLCompositeType, schema: GraphQLSchema): object {
  const possibleTypes = isAbstractType(type) ? schema.getPossibleTypes(type).map(referenceTo) : undefined
  if (!isObjectType(type) && !isInterfaceType(type)) return { ...referenceTo(type), possibleTypes }
  return {
    ...referenceTo(type),
    fields: Object.values(type.getFields()).map(describeField),
    interfaces: type.getInterfaces().map(referenceTo),
    possibleTypes,
  }
}

const describeField = ({ name, type, args }: GraphQLField<unknown, unknown>) => ({
  name,
  type: shapeOf(type),
  args: args.map((arg) => ({ name: arg.name, type: shapeOf(arg.type) })),
})

function shapeOf(type: GraphQLType): object {
  if (isNonNullType(type)) return { kind: TypeKind.NON_NULL, ofType: shapeOf(type.ofType) }
  if (isListType(type)) return { kind: TypeKind.LIST, ofType: shapeOf(type.ofType) }
  return isCompositeType(type) ? referenceTo(type) : anyLeaf
}

function referenceTo(type: GraphQLCompositeType) {
  const kind = isObjectType(type) ? TypeKind.OBJECT : isInterfaceType(type) ? TypeKind.INTERFACE : TypeKind.UNION
  return { kind, name: type.name }
}
