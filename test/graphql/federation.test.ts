import { readFile } from 'node:fs/promises'
import { buildSchema, type GraphQLSchema, isInterfaceType, isObjectType, parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { channelNames, channels } from '../../src/domain/channels.ts'
import { printSubgraph } from '../../src/graphql/federation.ts'
import { createSchema, printSortedSchema } from '../../src/graphql/schema.ts'
import { executeAt, useGateways } from '../support/gateway.ts'

const gateways = useGateways()
const schema = createSchema()
const sdl = printSubgraph(schema)

/** Every field of an object or interface, by its coordinate, with its type. */
const fieldsOf = (of: GraphQLSchema) =>
  Object.values(of.getTypeMap())
    .filter((type) => (isObjectType(type) || isInterfaceType(type)) && !type.name.startsWith('__'))
    .flatMap((type) =>
      Object.values(isObjectType(type) || isInterfaceType(type) ? type.getFields() : {}).map(
        (field) => `${type.name}.${field.name}: ${field.type}`,
      ),
    )

/** The directives of each type that has any, as they are written. */
function directivesOf(text: string): Record<string, string[]> {
  const written: Record<string, string[]> = {}
  for (const definition of parse(text).definitions) {
    if (!('directives' in definition) || !('name' in definition) || !definition.name) continue
    const own = definition.directives?.map(({ loc }) => text.slice(loc!.start, loc!.end)) ?? []
    if (own.length > 0) written[definition.name.value] = own
  }
  return written
}

describe('the subgraph schema', () => {
  it('is what the command prints, and what a gateway is told where FEDERATION is on', async () => {
    const { code, stdout } = await gateways.run(['schema', '--federation'])
    const { url } = await gateways.serve({ env: { FEDERATION: 'on', DATABASE_URL: 'pglite:memory' } })
    const { data } = await executeAt(url)('{ _service { sdl } }')

    expect({ code, stdout }).toEqual({ code: 0, stdout: sdl })
    expect(data).toEqual({ _service: { sdl } })
  })

  it('is the schema without what no subgraph can answer alone', () => {
    const subgraph = buildSchema(sdl.replace(/^extend schema .*$/m, ''), { assumeValidSDL: true })
    const left = fieldsOf(subgraph)
    const leftOut = fieldsOf(schema).filter((field) => !left.includes(field))

    expect(left.filter((field) => !fieldsOf(schema).includes(field))).toEqual([])
    expect(leftOut.filter((field) => !/^\w+Success\.query: Query!$/.test(field)).toSorted()).toEqual([
      'Query.node: Node',
      'Query.nodes: [Node]!',
    ])
    expect(left.filter((field) => /: \W*Query\W*$/.test(field))).toEqual([])
    expect(subgraph.getType('Node')).toBeDefined()
  })

  it('tells by which fields its objects are found, and what others may have as well', () => {
    const keys = ['@key(fields: "id")', '@key(fields: "databaseId")']
    const contacts = channelNames.map((channel) => channels[channel].typename)

    expect(directivesOf(sdl)).toEqual({
      ...Object.fromEntries(['Organization', 'ContactDetails', ...contacts].map((name) => [name, keys])),
      PageInfo: ['@shareable'],
      ...Object.fromEntries(['NewContact', 'ContactChange', 'ContactSearch'].map((name) => [name, ['@oneOf']])),
    })
  })

  it('says which version of Federation it is written for', () => {
    expect(sdl).toMatch(/^extend schema @link\(url: "https:\/\/specs\.apollo\.dev\/federation\/v2\.9", import: \[/)
  })
})

describe('the schema that is served', () => {
  it('is the plain one where it is no subgraph', async () => {
    const plain = await readFile(new URL('../../schema.graphql', import.meta.url), 'utf8')

    expect(printSortedSchema(createSchema({ federation: false }))).toBe(plain)
  })

  it('has what a gateway asks for besides, and nothing else, where it is one', () => {
    const subgraph = createSchema({ federation: true })
    const plain = fieldsOf(schema)

    expect(
      fieldsOf(subgraph)
        .filter((field) => !plain.includes(field))
        .toSorted(),
    ).toEqual(['Query._entities: [_Entity]!', 'Query._service: _Service!', '_Service.sdl: String!'])
    expect(plain.filter((field) => !fieldsOf(subgraph).includes(field))).toEqual([])
    expect(String(subgraph.getQueryType()!.getFields()._entities!.args[0]!.type)).toBe('[_Any!]!')
    expect(
      Object.keys(subgraph.getTypeMap())
        .filter((name) => !schema.getType(name))
        .toSorted(),
    ).toEqual(['_Any', '_Entity', '_Service'])
  })
})
