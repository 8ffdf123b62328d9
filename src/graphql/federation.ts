import {
  type ConstDirectiveNode,
  extendSchema,
  type FieldDefinitionNode,
  type GraphQLField,
  type GraphQLSchema,
  type InterfaceTypeDefinitionNode,
  Kind,
  lexicographicSortSchema,
  type ObjectTypeDefinitionNode,
  parse,
  print,
  printSchema,
  type ScalarTypeDefinitionNode,
  type TypeNode,
  visit,
} from 'graphql'
import { channelNames, channels } from '../domain/channels.ts'
import type { Contact } from '../domain/contacts.ts'
import type { ObjectKind } from '../domain/errors.ts'
import { decodeId } from '../domain/ids.ts'
import type { Organization } from '../domain/organizations.ts'
import type { GraphQLContext } from './builder.ts'
import type { NodeCount } from './limits.ts'
import type { Loaders } from './loaders.ts'

// The gateway as a subgraph of Federation 2: other subgraphs refer to its objects and add fields to them.

/** Stands for the contacts of all channels: who adds a field to it, as an `@interfaceObject`, adds it to each. */
const anyContact = 'ContactDetails'
const contacts = channelNames.map((channel) => channels[channel].typename)

/** The kind of what other subgraphs may refer to, by the name of its type. */
const kinds: ReadonlyMap<unknown, ObjectKind> = new Map<string, ObjectKind>([
  ['Organization', 'Organization'],
  ...[anyContact, ...contacts].map((name) => [name, 'Contact'] as const),
])

/** Both keys are ours to find by: the global id, and the integer that REST clients know. */
const keys = '@key(fields: "id") @key(fields: "databaseId")'

/**
 * What comes before the types. The version is the newest that Apollo's and The Guild's composition both know; Apollo's knows
 * no `@oneOf` that is not defined.
 */
const prologue = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])

directive @oneOf on INPUT_OBJECT
`

/** The directives of types in a subgraph schema, by their names. */
const directives: ReadonlyMap<string, string> = new Map([
  ...['Organization', anyContact, ...contacts].map((name) => [name, keys] as const),
  ['PageInfo', '@shareable'] as const,
])

function directivesOf(name: string): readonly ConstDirectiveNode[] {
  const [definition] = parse(`scalar Any ${directives.get(name) ?? ''}`, { noLocation: true }).definitions
  return (definition as ScalarTypeDefinitionNode).directives ?? []
}

/**
 * Whether a field is left to the supergraph. A gateway asks for `node` in any subgraph that has it, and none can find the
 * objects of another; and not every composition can lead from a payload back to the queries of all subgraphs.
 */
const isLeftOut = (parent: string, { name, type }: FieldDefinitionNode) =>
  (parent === 'Query' && (name.value === 'node' || name.value === 'nodes')) || namedTypeOf(type) === 'Query'

const namedTypeOf = (type: TypeNode): string =>
  type.kind === Kind.NAMED_TYPE ? type.name.value : namedTypeOf(type.type)

/** The subgraph schema, from which a supergraph is composed: sorted, and without what Federation defines itself. */
export function printSubgraph(schema: GraphQLSchema): string {
  const asSubgraph = <Type extends ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode>(type: Type): Type => ({
    ...type,
    directives: directivesOf(type.name.value),
    fields: type.fields?.filter((field) => !isLeftOut(type.name.value, field)),
  })
  const document = visit(parse(printSchema(lexicographicSortSchema(schema)), { noLocation: true }), {
    ObjectTypeDefinition: asSubgraph,
    InterfaceTypeDefinition: asSubgraph,
  })
  return `${prologue}\n${print(document)}\n`
}

const extension = `
  "An object as another subgraph refers to it: \`__typename\` with the fields of one of its keys."
  scalar _Any

  "What a gateway reads of a subgraph."
  type _Service {
    "The subgraph schema, from which a supergraph is composed."
    sdl: String!
  }

  "Whatever other subgraphs may refer to."
  union _Entity = ${['Organization', ...contacts].join(' | ')}

  extend type Query {
    "For gateways: the schema of this subgraph."
    _service: _Service!

    "For gateways: the objects that other subgraphs refer to, in their order, with null where there is none."
    _entities(
      "An object each."
      representations: [_Any!]!
    ): [_Entity]!
  }
`

/** The schema with what a gateway asks of a subgraph. */
export function toSubgraph(schema: GraphQLSchema): GraphQLSchema {
  const subgraph = extendSchema(schema, parse(extension))
  const fields = subgraph.getQueryType()!.getFields() as Record<string, GraphQLField<unknown, GraphQLContext>>
  const { _service, _entities } = fields
  const sdl = printSubgraph(schema)
  _service!.resolve = () => ({ sdl })
  _entities!.extensions = { nodeCount: { listArgument: 'representations' } satisfies NodeCount }
  _entities!.resolve = (_root, { representations }, { loaders }) =>
    representations.map((representation: unknown) => find(loaders, Object(representation)))
  return subgraph
}

type Representation = Readonly<Record<string, unknown>>

/** What a representation refers to. What is none refers to nothing: gateways send on what other subgraphs have told them. */
async function find(loaders: Loaders, representation: Representation): Promise<Organization | Contact | null> {
  const { __typename: name } = representation
  const kind = kinds.get(name)
  const id = kind && integerIdOf(kind, representation)
  if (id === undefined) return null
  const row = await (kind === 'Organization' ? loaders.organization.load(id) : loaders.contact.load(id))
  return name === anyContact || name === row?.__typename ? row : null
}

/** Of several keys the global id counts, as in whatever a client sees. */
function integerIdOf(kind: ObjectKind, { id, databaseId }: Representation): number | undefined {
  if (id !== undefined) {
    const named = typeof id === 'string' ? decodeId(id) : undefined
    return named?.kind === kind ? named.id : undefined
  }
  return Number.isSafeInteger(databaseId) && Number(databaseId) > 0 ? Number(databaseId) : undefined
}
