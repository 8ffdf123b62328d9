import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  isUnionType,
} from 'graphql'
import { beforeAll, describe, expect, it } from 'vitest'
import { listOrder, searchOrder } from '../src/domain/contact-lists.ts'
import type { Contact } from '../src/domain/contacts.ts'
import { encodeId } from '../src/domain/ids.ts'
import { organizationOrderings } from '../src/domain/organization-lists.ts'
import type { Organization } from '../src/domain/organizations.ts'
import { encodeCursor } from '../src/domain/page.ts'
import { createSchema } from '../src/graphql/schema.ts'
import { restRoutes } from '../src/rest/handler.ts'
import { useDatabase } from './support/database.ts'
import { aContact, anOrganization } from './support/factory.ts'
import { type Execute, executeFor } from './support/graphql.ts'
import { type CallRest, restFor } from './support/rest.ts'
import { stateOf } from './support/state.ts'

// Every argument of every field and mutation, and every parameter of every REST call, is given what another account has:
// ids, cursors, names and values. The answer must be the very one that it is for what never existed, and the other account
// must stay as it is. Fields, inputs and routes are found in the schema and the table of routes, so new ones are tested too.

const database = useDatabase()
const schema = createSchema()

/** What values are taken from: the caller's own, another account's, or nowhere. */
interface World {
  organization: number
  contact: number
  /** Another contact of the same organization. */
  otherContact: number
  name: string
  source: string
  sourceID: string
  value: string
  cursors: { contacts: string; search: string; organizations: string }
}

let own: World
let foreign: World
let unknown: World
let execute: Execute
let executeAsOther: Execute
let call: CallRest
let callAsOther: CallRest

const worldOf = (
  organization: Pick<Organization, 'id' | 'name' | 'source' | 'sourceId'>,
  contact: Pick<Contact, 'id' | 'channel' | 'label' | 'value'>,
  otherContact: { id: number },
): World => ({
  organization: organization.id,
  contact: contact.id,
  otherContact: otherContact.id,
  name: organization.name,
  source: organization.source!,
  sourceID: organization.sourceId!,
  value: contact.value,
  cursors: {
    contacts: encodeCursor(listOrder, contact as Contact),
    search: encodeCursor(searchOrder, contact as Contact),
    organizations: encodeCursor(organizationOrderings.NAME, organization as Organization),
  },
})

beforeAll(async () => {
  const { ctx, otherCtx } = database
  // The other account first: its names, ids and positions come before all of the caller's, as those of nowhere do.
  const theirs = await anOrganization(otherCtx, { name: 'A secret name', source: 'secret', sourceID: 'secret' })
  const theirContact = await aContact(otherCtx, theirs.id, { value: '+1 203 413 4880' })
  const ours = await anOrganization(ctx, { name: 'Our own', source: 'own', sourceID: 'own' })
  await anOrganization(ctx, { name: 'Our child', parentId: ours.id })
  const ourContact = await aContact(ctx, ours.id, { value: '+44 20 7946 0958' })
  own = worldOf(ours, ourContact, await aContact(ctx, ours.id, { value: '+44 20 7946 0959' }))
  foreign = worldOf(theirs, theirContact, await aContact(otherCtx, theirs.id))
  unknown = worldOf(
    { id: 999_999, name: 'A name of nobody', source: 'nobody', sourceId: 'nobody' },
    { id: 999, channel: 'telephone', label: 'general', value: '+1 203 413 4999' },
    { id: 999_997 },
  )
  // An id that never was, larger than any; as a position it must come before the caller's, like that of the other account.
  unknown.contact = 999_998
  execute = executeFor(ctx)
  executeAsOther = executeFor(otherCtx)
  call = restFor(ctx)
  callAsOther = restFor(otherCtx)
})

const otherState = async () => (await stateOf(database.db)).filter((line) => /secret|4134880|203 413/.test(line))

/** What each ID of the schema names; a new one must be added here. */
const idKinds: Record<string, ('organization' | 'contact')[]> = {
  'Query.node.id': ['organization', 'contact'],
  'Query.nodes.ids': ['organization', 'contact'],
  'Query.organization.id': ['organization'],
  'Query.contact.id': ['contact'],
  'AddContactInput.organizationId': ['organization'],
  'UpdateContactInput.id': ['contact'],
  'RemoveContactInput.id': ['contact'],
  'ClearContactsInput.organizationId': ['organization'],
  'ChangeContactsInput.organizationId': ['organization'],
  'ImportContactsInput.organizationId': ['organization'],
  'ImportedContact.id': ['contact'],
  'CreateOrganizationInput.parentId': ['organization'],
  'UpdateOrganizationInput.id': ['organization'],
  'UpdateOrganizationInput.parentId': ['organization'],
}

/** A value that can be taken from any world. */
type Template = (world: (coordinate: string) => World) => unknown

/** All that can be given for an input: several templates where an id may name objects of several kinds. */
function templatesFor(coordinate: string, type: GraphQLInputType, owner: string): Template[] {
  if (isNonNullType(type)) return templatesFor(coordinate, type.ofType, owner)
  if (isListType(type)) return templatesFor(coordinate, type.ofType, owner).map((item) => (world) => [item(world)])
  if (isEnumType(type)) return [() => (type.getValue('NAME') ?? type.getValues()[0]!).name]
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields())
    const parts = fields.map(
      (field) => [field.name, templatesFor(`${type.name}.${field.name}`, field.type, owner)] as const,
    )
    // A search is tried with each channel; where a contact is only to be valid, one stands for all.
    if (type.isOneOf) {
      const tried = owner === 'Query.contacts' ? parts : parts.filter(([name]) => name === 'telephone')
      return tried.map(
        ([name, [template]]): Template =>
          (world) => ({ [name]: template!(world) }),
      )
    }
    return [
      (world) =>
        Object.fromEntries(
          parts.map(([name, [template]]) => [name, template!(world)]).filter(([, value]) => value !== undefined),
        ),
    ]
  }
  if (type.name === 'ID') {
    const kinds = idKinds[coordinate]
    expect(kinds, `the ids of ${coordinate} are not known to this test`).toBeDefined()
    const isGlobal = coordinate.startsWith('Query.node')
    return kinds!.map((kind) => (world) => {
      // One contact cannot be changed and removed together.
      const id = world(coordinate)[coordinate === 'RemoveContactInput.id' ? 'otherContact' : kind]
      return isGlobal ? encodeId(kind === 'organization' ? 'Organization' : 'Contact', id) : String(id)
    })
  }
  const name = coordinate.split('.').at(-1)!
  if (name === 'after')
    return [
      (world) =>
        world(coordinate).cursors[
          owner === 'Query.contacts' ? 'search' : owner.endsWith('contacts') ? 'contacts' : 'organizations'
        ],
    ]
  if (name === 'namePrefix' || name === 'name') return [(world) => world(coordinate).name]
  if (name === 'source' || name === 'sourceID') return [(world) => world(coordinate)[name]]
  if (name === 'telephone' || name === 'value') return [(world) => world(coordinate).value]
  if (name === 'email' || name === 'website') return [() => 'a@b.example']
  // Page sizes, versions, flags and the other end of a page say nothing about objects.
  return [() => undefined]
}

const leavesOf = (typeName: string, depth = 2): string => {
  const type = schema.getType(typeName)
  if (isUnionType(type))
    return `{ __typename ${type
      .getTypes()
      .map((member) => `... on ${member.name} ${leavesOf(member.name, depth)}`)
      .join(' ')} }`
  if (!isObjectType(type) && !isInterfaceType(type)) return ''
  const fields = Object.values(type.getFields())
    .filter((field) => field.args.length === 0 && field.name !== 'query')
    .flatMap((field) => {
      const named = getNamedType(field.type)
      if (isLeafType(named))
        return [conflicting.has(`${typeName}.${field.name}`) ? `${typeName}_${field.name}: ${field.name}` : field.name]
      return depth > 0 ? [`${field.name} ${leavesOf(named.name, depth - 1)}`] : []
    })
  return `{ __typename ${fields.join(' ')} }`
}

/** Fields that members of one union have with different types. */
const conflicting = new Set([
  'UserError.path',
  'ValidationError.path',
  'ConflictError.currentVersion',
  'ValidationIssue.path',
])

interface Case {
  name: string
  document: string
  variables: (world: World) => Record<string, unknown>
}

/** For a field: all of its arguments from one world, and each id of its input alone from there, the rest being the caller's. */
function casesOf(parent: string, field: GraphQLField<unknown, unknown>): Case[] {
  const owner = `${parent}.${field.name}`
  const args: readonly GraphQLArgument[] = field.args
  const templates = args.map((arg) => templatesFor(`${owner}.${arg.name}`, arg.type, owner))
  const variants = Math.max(...templates.map(({ length }) => length))
  const signature = args.map((arg) => `$${arg.name}: ${arg.type}`).join(', ')
  const given = args.map((arg) => `${arg.name}: $${arg.name}`).join(', ')
  const selected = `${field.name}(${given}) ${leavesOf(getNamedType(field.type).name)}`
  const operation = parent === 'Mutation' ? 'mutation' : 'query'
  const document =
    parent === 'Organization'
      ? `query(${signature}, $own: ID!) { organization(id: $own) { ${selected} } }`
      : `${operation}(${signature}) { ${selected} }`
  type Choice = [name: string, choose: (world: World) => (coordinate: string) => World, only?: string]
  const everything = (world: World) => () => world
  const choices: Choice[] = [
    ['everything', everything],
    ...idCoordinates(args).map(
      (chosen): Choice => [chosen, (world) => (coordinate) => (coordinate === chosen ? world : own)],
    ),
    ...(args.length > 1 ? args : []).map((arg): Choice => [`${arg.name} alone`, everything, arg.name]),
  ]
  return Array.from({ length: variants }, (_, i) => i).flatMap((i) =>
    choices.map(([choice, choose, only]) => ({
      name: `${owner}, ${choice}${variants > 1 ? `, ${i + 1}` : ''}`,
      document,
      variables: (world) => ({
        own: String(own.organization),
        ...Object.fromEntries(
          args.map((arg, n) => {
            const isGiven = only === undefined || only === arg.name || isNonNullType(arg.type)
            return [arg.name, isGiven ? (templates[n]![i] ?? templates[n]![0]!)(choose(world)) : undefined]
          }),
        ),
      }),
    })),
  )
}

/** The ids within the input of a mutation. */
function idCoordinates(args: readonly GraphQLArgument[]): string[] {
  const found = new Set<string>()
  const walk = (owner: string, inputs: readonly (GraphQLArgument | GraphQLInputField)[]) => {
    for (const { name, type } of inputs) {
      const named = getNamedType(type)
      if (named.name === 'ID') found.add(`${owner}.${name}`)
      else if (isInputObjectType(named)) walk(named.name, Object.values(named.getFields()))
    }
  }
  for (const { type } of args) {
    const named = getNamedType(type)
    if (isInputObjectType(named)) walk(named.name, Object.values(named.getFields()))
  }
  return [...found]
}

const allCases = ['Query', 'Mutation', 'Organization'].flatMap((parent) => {
  const type = schema.getType(parent)
  if (!isObjectType(type)) throw new Error(`${parent} is no object type`)
  return Object.values(type.getFields())
    .filter(({ args }) => args.length > 0)
    .flatMap((field) => casesOf(parent, field))
})

/** What differs between two successes by itself: what was just created, and when. */
function comparable(answer: unknown): unknown {
  const text = JSON.stringify(answer, (key, value) =>
    [
      'id',
      'databaseId',
      'name',
      'source',
      'sourceID',
      'createdAt',
      'updatedAt',
      'version',
      'value',
      'telephone',
      'numbers',
      'href',
      'cursor',
      'startCursor',
      'endCursor',
    ].includes(key) && value !== null
      ? typeof value
      : value,
  )
  return JSON.parse(text)
}

describe('what another account has makes no difference', () => {
  it('for any field with arguments beyond these types', () => {
    const withArguments = Object.values(schema.getTypeMap())
      .filter((type) => isObjectType(type) && !type.name.startsWith('__'))
      .filter((type) => isObjectType(type) && Object.values(type.getFields()).some(({ args }) => args.length > 0))
      .map(({ name }) => name)

    // graphql/subscriptions.db.test.ts is about the last.
    expect(withArguments.sort()).toEqual(['Mutation', 'Organization', 'Query', 'Subscription'])
  })

  it.each(allCases)('to $name', async ({ document, variables }) => {
    const before = await otherState()
    const withForeign = await execute(document, variables(foreign))
    const withUnknown = await execute(document, variables(unknown))

    expect(comparable(withForeign)).toEqual(comparable(withUnknown))
    // What is refused for its form would show nothing.
    expect(withForeign.errors).toBeUndefined()
    expect(JSON.stringify(withForeign)).not.toContain('ValidationError')
    expect(JSON.stringify(withForeign)).not.toMatch(/"A secret name"|"secret"(?!,"sourceID":"secret")/)
    expect(await otherState()).toEqual(before)
    expect(before.length).toBeGreaterThanOrEqual(3)
  })

  const restCases = restRoutes
    .filter(({ isOpen }) => !isOpen)
    .flatMap(({ method, path }) => {
      const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name!)
      const choices = names.length > 1 ? [names, ...names.map((name) => [name])] : [names]
      return choices.map((chosen) => ({ method, path, chosen }))
    })

  it.each(restCases)('to $method $path with $chosen', async ({ method, path, chosen }) => {
    const before = await otherState()
    const callWith = (world: World) => {
      const target = path.replace(/:(\w+)/g, (_, name: string) => {
        const from = chosen.includes(name) ? world : own
        return String(name === 'organization_id' ? from.organization : from.contact)
      })
      const query =
        method === 'GET'
          ? `?search_after=${world.cursors[path.endsWith('contacts') ? 'contacts' : 'organizations']}`
          : ''
      const body = ['POST', 'PATCH', 'PUT'].includes(method) ? { label: 'general', telephone: world.value } : undefined
      return call(method, target + query, body)
    }
    const [withForeign, withUnknown] = [await callWith(foreign), await callWith(unknown)]

    expect([withForeign.status, comparable(withForeign.body)]).toEqual([
      withUnknown.status,
      comparable(withUnknown.body),
    ])
    expect(withForeign.text).not.toContain('secret')
    expect(await otherState()).toEqual(before)
  })
})

// The other account sends each write with a key, for what it has itself; then the caller sends the very same.

describe('a key that another account has used', () => {
  let made = 0
  const anotherWorld = async () => {
    made += 1
    const { otherCtx } = database
    const name = `Another secret name ${made}`
    const organization = await anOrganization(otherCtx, { name, source: 'secret', sourceID: `secret ${made}` })
    const [contact, otherContact] = [
      await aContact(otherCtx, organization.id),
      await aContact(otherCtx, organization.id),
    ]
    return worldOf(organization, contact, otherContact)
  }
  const foreignKey = 'secret'
  const unknownKey = 'nobody'
  /** The caller's own keys have the same names, and may come. */
  const theirState = async () =>
    (await otherState()).filter((line) => !line.startsWith(`idempotency key (${database.ctx.account},`))

  const fields = Object.values(schema.getMutationType()!.getFields())
  it.each(fields)('is another one to $name', async (field) => {
    const world = await anotherWorld()
    const [given] = casesOf('Mutation', field)
    const { input } = given!.variables(world)
    const document = given!.document
      .replace('mutation(', 'mutation($key: String!, ')
      .replace('(input: $input)', '(input: $input) @idempotent(key: $key)')
    const theirs = await executeAsOther(document, { input, key: `${foreignKey}-${made}` })
    const before = await theirState()
    const withForeign = await execute(document, { input, key: `${foreignKey}-${made}` })
    const withUnknown = await execute(document, { input, key: `${unknownKey}-${made}` })

    expect(JSON.stringify(theirs)).not.toContain('NotFoundError')
    expect(withForeign).toEqual(withUnknown)
    expect(withForeign.data[field.name].__typename).toBe('NotFoundError')
    expect(await theirState()).toEqual(before)
    expect(before.some((line) => line.includes(`${foreignKey}-${made}`))).toBe(true)
  })

  const writes = restRoutes.filter(({ method }) => method !== 'GET')
  it.each(writes)('is another one to $method $path', async ({ method, path }) => {
    const world = await anotherWorld()
    const target = path.replace(/:(\w+)/g, (_, name: string) =>
      String(name === 'organization_id' ? world.organization : world.contact),
    )
    const body = method === 'DELETE' ? undefined : { label: 'general', telephone: world.value }
    const send = (as: CallRest, key: string) => as(method, target, body, { 'idempotency-key': `${key}-${made}` })
    const theirs = await send(callAsOther, foreignKey)
    const before = await theirState()
    const [withForeign, withUnknown] = [await send(call, foreignKey), await send(call, unknownKey)]

    expect(theirs.status).toBeLessThan(300)
    expect([withForeign.status, withForeign.body]).toEqual([withUnknown.status, withUnknown.body])
    expect(withForeign.status).toBe(404)
    expect(await theirState()).toEqual(before)
  })
})
