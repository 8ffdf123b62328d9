import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  buildSchema,
  type GraphQLEnumType,
  type GraphQLInterfaceType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  type GraphQLUnionType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isNonNullType,
  isObjectType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  isUnionType,
  specifiedDirectives,
} from 'graphql'
import { describe, expect, it } from 'vitest'
import { channelLabels, contactChannel, contactLabel } from '../src/db/tables.ts'
import { channels } from '../src/domain/channels.ts'
import { issueCodes } from '../src/domain/errors.ts'
import { artefacts } from '../src/graphql/artefacts.ts'
import { createSchema, printSortedSchema } from '../src/graphql/schema.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const schema = createSchema()
const typeOf = <Type extends GraphQLNamedType>(name: string) => schema.getType(name) as Type
const valuesOf = (name: string) =>
  typeOf<GraphQLEnumType>(name)
    .getValues()
    .map((value) => value.name)
    .toSorted()
const upper = (names: readonly string[]) => names.map((name) => name.toUpperCase()).toSorted()

const ownTypes = (of: GraphQLSchema) =>
  Object.values(of.getTypeMap()).filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type))

/** Everything that can carry a description, by its coordinate, and its description. */
function describable(of: GraphQLSchema): [coordinate: string, description: string | null | undefined][] {
  const types = ownTypes(of).flatMap((type): ReturnType<typeof describable> => {
    const own: ReturnType<typeof describable>[number] = [type.name, type.description]
    if (isEnumType(type)) return [own, ...type.getValues().map((value) => at(type.name, value))]
    if (isInputObjectType(type)) return [own, ...Object.values(type.getFields()).map((field) => at(type.name, field))]
    if (!isObjectType(type) && !isInterfaceType(type)) return [own]
    const fields = Object.values(type.getFields()).flatMap((field) => [
      at(type.name, field),
      ...field.args.map((arg): [string, typeof arg.description] => [
        `${type.name}.${field.name}(${arg.name}:)`,
        arg.description,
      ]),
    ])
    return [own, ...fields]
  })
  const directives = of
    .getDirectives()
    .filter((directive) => !isSpecifiedDirective(directive))
    .flatMap((directive) => [
      at('@', directive),
      ...directive.args.map((arg): [string, typeof arg.description] => [
        `@${directive.name}(${arg.name}:)`,
        arg.description,
      ]),
    ])
  return [...types, ...directives]
}

const at = (parent: string, { name, description }: { name: string; description?: string | null | undefined }) =>
  [parent === '@' ? `@${name}` : `${parent}.${name}`, description] as [string, typeof description]

const undescribed = (of: GraphQLSchema) =>
  describable(of)
    .filter(([, description]) => !description?.trim())
    .map(([coordinate]) => coordinate)

describe('the files that tell of the schema', () => {
  it.each(Object.entries(artefacts))('tell of the one that is served: %s', async (name, print) => {
    const onDisk = await readFile(join(root, name), 'utf8')

    expect(onDisk, `${name} is stale; run: npm run schema:write`).toBe(print(schema))
  })

  it.each(['schema.graphql', 'schema.released.graphql'])('are schemas that tools can read: %s', async (name) => {
    const onDisk = await readFile(join(root, name), 'utf8')

    expect(printSortedSchema(buildSchema(onDisk))).toBe(onDisk)
  })

  it('are known to editors', async () => {
    const settings = await readFile(join(root, '.graphqlrc.yml'), 'utf8')

    expect(settings).toMatch(/^schema: schema\.graphql$/m)
  })
})

describe('the schema', () => {
  it('describes every type, field, argument, input field and enum value', () => {
    expect(describable(schema).length).toBeGreaterThan(200)
    expect(undescribed(schema)).toEqual([])
  })

  it('describes by sentences', () => {
    const unfinished = describable(schema).filter(([, description]) => !/^[A-Z`].*[.?]$/s.test(description!.trim()))

    expect(unfinished).toEqual([])
  })

  it('names enum values in upper case', () => {
    const values = ownTypes(schema)
      .filter(isEnumType)
      .flatMap((type) => type.getValues().map(({ name }) => name))

    expect(values.filter((name) => !/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/.test(name))).toEqual([])
  })

  it('implements Node by every object that has an id', () => {
    const withId = ownTypes(schema)
      .filter(isObjectType)
      .filter((type) => 'id' in type.getFields())

    const others = withId.filter((type) => !type.getInterfaces().some(({ name }) => name === 'Node'))

    expect(withId.length).toBeGreaterThan(3)
    expect(others.map(({ name }) => name)).toEqual([])
  })
})

describe('the check of descriptions', () => {
  it('finds whatever has none, or a blank one', () => {
    const made = buildSchema(`
      directive @marked(by: String) on FIELD
      type Query { plain(arg: Int): Named  "Told." told("Told." arg: Int, other: In): Int }
      "Told." interface Named { name: String }
      "Told." input In { field: Int  "Told." told: Int }
      "Told." enum Letters { A  " " B  "Told." C }
      union Either = Query
      scalar Time
    `)

    expect(undescribed(made).toSorted()).toEqual(
      [
        '@marked',
        '@marked(by:)',
        'Either',
        'In.field',
        'Letters.A',
        'Letters.B',
        'Named.name',
        'Query',
        'Query.plain',
        'Query.plain(arg:)',
        'Query.told(other:)',
        'Time',
      ].toSorted(),
    )
  })
})

describe('the mutations', () => {
  const mutations = Object.values(schema.getMutationType()!.getFields())

  it('are those of the contract', () => {
    expect(mutations.map(({ name }) => name).toSorted()).toEqual([
      'addContact',
      'changeContacts',
      'clearContacts',
      'createOrganization',
      'importContacts',
      'removeContact',
      'updateContact',
      'updateOrganization',
    ])
  })

  it.each(mutations.map((field) => [field.name, field] as const))(
    'take one required input of their own: %s',
    (name, { args }) => {
      expect(args.map((arg) => `${arg.name}: ${arg.type}`)).toEqual([`input: ${capitalized(name)}Input!`])
    },
  )

  it.each(mutations.map((field) => [field.name, field] as const))(
    'answer with their success or an error that is told as data: %s',
    (name, { type }) => {
      const union = typeOf<GraphQLUnionType>(`${capitalized(name)}Result`)
      const members = isUnionType(union) ? union.getTypes() : []
      const errors = members.filter((member) => member.name !== `${capitalized(name)}Success`)

      expect(String(type)).toBe(`${capitalized(name)}Result!`)
      expect(errors.length).toBe(members.length - 1)
      expect(errors.map((error) => error.name).toSorted()).toEqual([
        'ConflictError',
        'NotFoundError',
        'ValidationError',
      ])
      for (const error of errors) expect(error.getInterfaces().map((face) => face.name)).toEqual(['UserError'])
    },
  )

  it.each(mutations.map(({ name }) => name))('show the organization and the query after their success: %s', (name) => {
    const { organization, query } = typeOf<GraphQLObjectType>(`${capitalized(name)}Success`).getFields()

    expect([organization, query].map((field) => String(field?.type))).toEqual(['Organization!', 'Query!'])
  })
})

describe('the directives', () => {
  it('beside those of GraphQL are one, for fields', () => {
    const own = schema.getDirectives().filter((directive) => !isSpecifiedDirective(directive))
    const told = own.map(({ name, args, locations, isRepeatable }) => ({
      name,
      args: args.map((arg) => `${arg.name}: ${arg.type}`),
      locations,
      isRepeatable,
    }))

    expect(told).toEqual([{ name: 'idempotent', args: ['key: String!'], locations: ['FIELD'], isRepeatable: false }])
    expect(schema.getDirectives().filter(isSpecifiedDirective)).toHaveLength(specifiedDirectives.length)
  })
})

describe('the errors', () => {
  it('implement the interface of the contract', () => {
    const fields = Object.values(typeOf<GraphQLInterfaceType>('UserError').getFields())

    expect(fields.map(({ name, type }) => `${name}: ${type}`).toSorted()).toEqual([
      'code: ErrorCode!',
      'message: String!',
      'path: [String!]',
    ])
  })

  it('tell every issue that the rules know', () => {
    expect(valuesOf('ValidationIssueCode')).toEqual(Object.keys(issueCodes).toSorted())
  })
})

describe('contacts', () => {
  const members = typeOf<GraphQLUnionType>('Contact').getTypes()
  const typenames = contactChannel.enumValues.map((channel) => channels[channel].typename).toSorted()

  it('are of one type for each channel', () => {
    expect(members.map(({ name }) => name).toSorted()).toEqual(typenames)
  })

  it.each(members.map((member) => [member.name, member] as const))(
    'implement ContactDetails and Node: %s',
    (_, member) => {
      expect(
        member
          .getInterfaces()
          .map(({ name }) => name)
          .toSorted(),
      ).toEqual(['ContactDetails', 'Node'])
    },
  )

  it.each(contactChannel.enumValues)('carry their text under the name of their channel too: %s', (channel) => {
    const { [channel]: field } = typeOf<GraphQLObjectType>(channels[channel].typename).getFields()

    expect(String(field?.type)).toBe('String!')
  })

  it('are read by one interface that is a Node', () => {
    const details = typeOf<GraphQLInterfaceType>('ContactDetails')

    expect(details.getInterfaces().map(({ name }) => name)).toEqual(['Node'])
    const possible = schema.getPossibleTypes(details).map(({ name }) => name)
    expect(possible.toSorted()).toEqual(typenames)
  })

  it('have the channels and labels of the database in what is shown', () => {
    expect(valuesOf('ContactChannel')).toEqual(upper(contactChannel.enumValues))
    expect(valuesOf('ContactLabel')).toEqual(upper(contactLabel.enumValues))
  })

  it.each(contactChannel.enumValues)('take the labels that the database allows on their channel: %s', (channel) => {
    expect(valuesOf(`${channels[channel].typename}Label`)).toEqual(upper(channelLabels[channel]))
  })

  it.each(
    contactChannel.enumValues.flatMap((channel) => [
      [`New${channels[channel].typename}`, channel] as const,
      [`${channels[channel].typename}Change`, channel] as const,
    ]),
  )('are written with the labels of their channel: %s', (name, channel) => {
    const type = typeOf(name)
    const label = isInputObjectType(type) ? type.getFields().label?.type : undefined

    expect(String(isNonNullType(label) ? label.ofType : label)).toBe(`${channels[channel].typename}Label`)
  })

  it.each(['NewContact', 'ContactChange', 'ContactSearch'])('are named by exactly one channel in %s', (name) => {
    const type = typeOf(name)

    expect(isInputObjectType(type) && type.isOneOf).toBe(true)
    expect(isInputObjectType(type) && Object.keys(type.getFields()).toSorted()).toEqual(
      contactChannel.enumValues.toSorted(),
    )
  })
})

describe('drizzle/', () => {
  const run = promisify(execFile)

  /** What drizzle-kit says about a folder of migrations, and the files that it leaves there. */
  async function generate(prepare: (folder: string) => Promise<void>) {
    const folder = await mkdtemp(join(tmpdir(), 'contacts-gateway-drizzle-'))
    try {
      await prepare(join(folder, 'drizzle'))
      // It takes a path of its own folder only, and ends with 0 when it fails.
      const { stdout } = await run(
        process.execPath,
        [
          join(root, 'node_modules/drizzle-kit/bin.cjs'),
          'generate',
          '--dialect=postgresql',
          `--schema=${join(root, 'src/db/tables.ts')}`,
          '--out=drizzle',
        ],
        { cwd: folder },
      )
      return { said: stdout, files: await filesIn(join(folder, 'drizzle')) }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  const filesIn = async (folder: string) => (await readdir(folder, { recursive: true })).toSorted()

  it('holds migrations for all that tables.ts says', async () => {
    const committed = await filesIn(join(root, 'drizzle'))

    const { said, files } = await generate((folder) => cp(join(root, 'drizzle'), folder, { recursive: true }))

    const advice = 'drizzle/ is stale; run: npm run db:generate -- --name WHAT_CHANGED'
    expect(said, advice).toContain('No schema changes')
    expect(files, advice).toEqual(committed)
  })

  it('would get a migration if one were missing', async () => {
    const { said, files } = await generate(async () => {})

    expect(said).toContain('Your SQL migration file')
    expect(files.filter((file) => file.endsWith('.sql'))).toHaveLength(1)
  })

  it('lists every migration in its journal', async () => {
    const journal = JSON.parse(await readFile(join(root, 'drizzle/meta/_journal.json'), 'utf8'))
    const tags: string[] = journal.entries.map(({ tag }: { tag: string }) => tag)

    const migrations = (await readdir(join(root, 'drizzle'))).filter((file) => file.endsWith('.sql')).toSorted()

    expect(tags.map((tag) => `${tag}.sql`)).toEqual(migrations)
  })
})

function capitalized(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1)
}
