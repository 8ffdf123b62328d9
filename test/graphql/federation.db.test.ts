import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createApp } from '../../src/app.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { printSubgraph } from '../../src/graphql/federation.ts'
import { createSchema, printSortedSchema } from '../../src/graphql/schema.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { type Answer, dataOf, type Execute, executeFor } from '../support/graphql.ts'

const database = useDatabase()
let execute: Execute
let organization: { id: number; name: string }
let telephone: { id: number }
let email: { id: number }
let foreign: { organization: number; contact: number }
beforeAll(async () => {
  execute = executeFor(database.ctx, { federation: true })
  organization = await anOrganization(database.ctx)
  telephone = await aContact(database.ctx, organization.id)
  email = await aContact(database.ctx, organization.id, { channel: 'email' })
  const { id } = await anOrganization(database.otherCtx)
  foreign = { organization: id, contact: (await aContact(database.otherCtx, id)).id }
})

const entities = `query Entities($representations: [_Any!]!) {
  _entities(representations: $representations) {
    __typename
    ... on Organization { id name }
    ... on TelephoneContact { id telephone }
    ... on EmailContact { id email }
    ... on WebsiteContact { id website }
  }
}`
const entitiesOf = async (...representations: unknown[]) =>
  (await dataOf(execute(entities, { representations })))._entities

const organizationId = (id: number) => encodeId('Organization', id)
const contactId = (id: number) => encodeId('Contact', id)
const codesOf = ({ errors = [] }: Answer) => errors.map(({ extensions }) => extensions.code)

describe('the schema for a gateway', () => {
  it('is told by _service, whether introspection is on or off', async () => {
    const sdl = printSubgraph(createSchema())
    const silent = executeFor(database.ctx, { federation: true, introspection: false })

    for (const each of [execute, silent])
      expect(await dataOf(each('{ _service { sdl } }'))).toEqual({ _service: { sdl } })
    expect(codesOf(await silent('{ __schema { queryType { name } } }'))).toContain('BAD_USER_INPUT')
  })

  it('is not there, nor anything else for a gateway, unless it is asked for', async () => {
    const plain = executeFor(database.ctx)
    const answers = [
      await plain('{ _service { sdl } }'),
      await plain(entities, { representations: [] }),
      await plain('{ __type(name: "_Entity") { name } }'),
    ]

    expect(answers.map(codesOf).map((codes) => new Set(codes))).toEqual([
      new Set(['BAD_USER_INPUT']),
      new Set(['BAD_USER_INPUT']),
      new Set(),
    ])
    expect(answers[2]!.data).toEqual({ __type: null })
    expect(printSortedSchema(createSchema())).not.toContain('_Entity')
  })
})

describe('what another subgraph refers to', () => {
  it('is found by each of its keys, in the order of the references', async () => {
    const found = await entitiesOf(
      { __typename: 'EmailContact', id: contactId(email.id) },
      { __typename: 'Organization', databaseId: organization.id },
      { __typename: 'TelephoneContact', databaseId: telephone.id },
      { __typename: 'Organization', id: organizationId(organization.id) },
      { __typename: 'EmailContact', id: contactId(email.id) },
    )

    const anEmail = { __typename: 'EmailContact', id: contactId(email.id), email: 'info@best-it.com' }
    const anOrganization = {
      __typename: 'Organization',
      id: organizationId(organization.id),
      name: organization.name,
    }
    const aTelephone = { __typename: 'TelephoneContact', id: contactId(telephone.id), telephone: '+1 203 413 4880' }
    expect(found).toEqual([anEmail, anOrganization, aTelephone, anOrganization, anEmail])
  })

  it('may be a contact of whatever channel', async () => {
    const found = await entitiesOf(
      { __typename: 'ContactDetails', id: contactId(email.id) },
      { __typename: 'ContactDetails', databaseId: telephone.id },
    )

    expect(found).toMatchObject([{ __typename: 'EmailContact' }, { __typename: 'TelephoneContact' }])
  })

  it('can be written into the document', async () => {
    const answer = await dataOf(
      execute(
        `{ _entities(representations: [{ __typename: "Organization", id: "${organizationId(organization.id)}" }, { __typename: "Organization", databaseId: ${organization.id} }]) { ... on Organization { name } } }`,
      ),
    )

    expect(answer._entities).toEqual(Array(2).fill({ name: organization.name }))
  })

  it.each<[string, () => unknown]>([
    ['that is unknown', () => ({ __typename: 'Organization', id: organizationId(9e15) })],
    ['of another account', () => ({ __typename: 'Organization', id: organizationId(foreign.organization) })],
    ['of another account, by its integer', () => ({ __typename: 'Organization', databaseId: foreign.organization })],
    ['that is a contact of another account', () => ({ __typename: 'ContactDetails', id: contactId(foreign.contact) })],
    ['of an unknown type', () => ({ __typename: 'Ticket', id: organizationId(organization.id) })],
    ['of a type that is no entity', () => ({ __typename: 'PageInfo', id: organizationId(organization.id) })],
    ['of a type named as a property of every object', () => ({ __typename: 'constructor', id: '1' })],
    ['of a type that is no name', () => ({ __typename: ['Organization'], id: organizationId(organization.id) })],
    ['of no type', () => ({ id: organizationId(organization.id) })],
    ['with the id of another kind', () => ({ __typename: 'Organization', id: contactId(organization.id) })],
    ['with the channel of another contact', () => ({ __typename: 'EmailContact', id: contactId(telephone.id) })],
    ['with a malformed id', () => ({ __typename: 'Organization', id: 'nonsense' })],
    ['with an integer for the id', () => ({ __typename: 'Organization', id: organization.id })],
    ['with an id that is null', () => ({ __typename: 'Organization', id: null, databaseId: organization.id })],
    ['with an integer that is none', () => ({ __typename: 'Organization', databaseId: organization.id + 0.5 })],
    ['with an integer below 1', () => ({ __typename: 'Organization', databaseId: 0 })],
    ['with an integer that is too large', () => ({ __typename: 'Organization', databaseId: 2 ** 53 })],
    ['with a text for the integer', () => ({ __typename: 'Organization', databaseId: String(organization.id) })],
    ['without a key', () => ({ __typename: 'Organization' })],
    ['that is no object', () => 'Organization'],
    ['that is a list', () => [organizationId(organization.id)]],
  ])('is null, and nothing beside it, for a reference %s', async (_, referenceOf) => {
    const known = { __typename: 'Organization', id: organizationId(organization.id) }

    expect(await entitiesOf(referenceOf(), known)).toEqual([null, expect.objectContaining({ name: organization.name })])
  })

  it('is kept from those who may not read it, each object by itself', async () => {
    const mayReadContacts = executeFor(
      { ...database.ctx, permissions: new Set(['contacts:read']) },
      { federation: true },
    )

    const { data, errors } = await mayReadContacts(entities, {
      representations: [
        { __typename: 'Organization', id: organizationId(organization.id) },
        { __typename: 'EmailContact', id: contactId(email.id) },
      ],
    })

    expect(data._entities).toMatchObject([null, { __typename: 'EmailContact' }])
    expect(errors).toMatchObject([{ path: ['_entities', 0], extensions: { code: 'FORBIDDEN' } }])
  })
})

describe('many references', () => {
  let organizations: { id: number; name: string }[]
  beforeAll(async () => {
    organizations = []
    for (let count = 0; count < 100; count += 1) {
      const made = await anOrganization(database.ctx)
      await aContact(database.ctx, made.id)
      organizations.push(made)
    }
  })
  const references = () => organizations.map(({ id }) => ({ __typename: 'Organization', id: organizationId(id) }))

  it('cost one statement for each kind, however many they are', async () => {
    database.takeStatements()

    const found = await entitiesOf(...references())
    const forOrganizations = database.takeStatements()
    await entitiesOf(...references(), { __typename: 'EmailContact', id: contactId(email.id) })

    expect(found.map(({ name }: { name: string }) => name)).toEqual(organizations.map(({ name }) => name))
    expect(forOrganizations).toHaveLength(1)
    expect(database.takeStatements()).toHaveLength(2)
  })

  it('cost one statement more for each list beneath them', async () => {
    database.takeStatements()

    const { _entities } = await dataOf(
      execute(
        `query($representations: [_Any!]!) {
          _entities(representations: $representations) { ... on Organization { contacts { totalCount } } }
        }`,
        { representations: references() },
      ),
    )

    expect(database.takeStatements()).toHaveLength(3)
    expect(_entities).toEqual(Array(100).fill({ contacts: { totalCount: 1 } }))
  })

  it('are as many as a list may have items', async () => {
    const at = async (length: number) =>
      execute(entities, { representations: Array(length).fill({ __typename: 'Organization', databaseId: 1 }) })
    database.takeStatements()

    expect((await at(250)).errors).toBeUndefined()
    expect(database.takeStatements()).toHaveLength(1)
    expect((await at(251)).errors).toMatchObject([
      { extensions: { code: 'QUERY_TOO_COMPLEX', limit: 250, actual: 251 } },
    ])
    expect(database.takeStatements()).toEqual([])
  })

  it('count as so many nodes, with what is beneath them', async () => {
    const document = `query($representations: [_Any!]!) {
      _entities(representations: $representations) { ... on Organization { contacts(first: 10) { totalCount } } }
    }`
    const few = executeFor(database.ctx, {
      federation: true,
      limits: { ...appOptionsFor(database.ctx).limits, nodes: 1099 },
    })

    expect(await few(document, { representations: references() })).toMatchObject({
      errors: [{ extensions: { code: 'QUERY_TOO_COMPLEX', limit: 1099, actual: 1100 } }],
    })
    expect((await few(document, { representations: references().slice(1) })).errors).toBeUndefined()
  })
})

describe('the short way', () => {
  const servers: RunningServer[] = []
  afterAll(() => Promise.all(servers.map((server) => server.close(0))))
  const start = async (isShortWayOpen: boolean, permissions = database.ctx.permissions) => {
    const options = appOptionsFor({ ...database.ctx, permissions }, { federation: true, isShortWayOpen })
    const server = await listen({ handler: createApp(options), ...serverOptions })
    servers.push(server)
    return server.url
  }
  const send = async (url: string, representations: unknown) => {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json', 'x-request-id': 'the-same' },
      body: JSON.stringify({ query: entities, operationName: 'Entities', variables: { representations } }),
    })
    const { date: _, ...headers } = Object.fromEntries(response.headers)
    return { status: response.status, headers, text: await response.text() }
  }

  it('is taken by what a gateway has asked for before', async () => {
    const url = await start(true)
    const known = [{ __typename: 'Organization', id: organizationId(organization.id) }]
    const { Request } = globalThis
    // Yoga is called by requests of the platform, and nothing else is.
    let made = 0
    globalThis.Request = class extends Request {
      constructor(...given: ConstructorParameters<typeof Request>) {
        super(...given)
        made += 1
      }
    }
    onTestFinished(() => {
      globalThis.Request = Request
    })

    await send(url, known)
    await send(url, known)

    expect(made).toBe(1)
  })

  it('answers word by word as Yoga does', async () => {
    const [short, long] = [await start(true), await start(false)]
    const known = { __typename: 'Organization', id: organizationId(organization.id) }
    const sent = [
      [known],
      [known, { __typename: 'ContactDetails', databaseId: telephone.id }, known],
      [],
      [{ __typename: 'Ticket', id: '1' }, 'nonsense', { __typename: 'Organization' }, known],
      [null],
      [known, null],
      known,
      null,
      'nonsense',
      Array(251).fill(known),
    ]

    for (const representations of [...sent, ...sent]) {
      expect(await send(short, representations)).toEqual(await send(long, representations))
    }
  })

  it('answers as Yoga does where something is refused', async () => {
    const permissions: typeof database.ctx.permissions = new Set(['contacts:read'])
    const [short, long] = [await start(true, permissions), await start(false, permissions)]
    const contact = { __typename: 'EmailContact', id: contactId(email.id) }
    const refused = { __typename: 'Organization', id: organizationId(organization.id) }

    for (const representations of [[contact], [contact], [contact, refused], [refused, contact, refused], [contact]]) {
      expect(await send(short, representations)).toEqual(await send(long, representations))
    }
  })
})
