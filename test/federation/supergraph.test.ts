import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AppOptions, createApp } from '../../src/app.ts'
import { AuthError } from '../../src/auth/authenticate.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { listen } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { executeAt } from '../support/gateway.ts'
import { type Answer, dataOf } from '../support/graphql.ts'
import type { Listening } from './listening.ts'
import { type Invoice, serveInvoices, serveTickets, type Ticket } from './subgraphs.ts'
import { type Subgraph, stacks } from './supergraphs.ts'

const token = 'Bearer of the caller'

const database = useDatabase()
const running: (() => unknown)[] = []
const names: string[] = []
const tickets: Ticket[] = []
const invoices: Invoice[] = []
let contactsUrl: string
let ticketsUrl: string
let invoicesUrl: string
let one: { id: string; email: string }

beforeAll(async () => {
  const organizations = []
  for (let count = 0; count < 60; count += 1) organizations.push(await anOrganization(database.ctx))
  const [first] = organizations
  await aContact(database.ctx, first!.id)
  const email = await aContact(database.ctx, first!.id, { channel: 'email' })
  one = { id: encodeId('Organization', first!.id), email: encodeId('Contact', email.id) }
  names.push(...organizations.map(({ name }) => name))
  tickets.push(
    ...organizations.map(({ id, name }, index) => ({
      id: `ticket-${index}`,
      subject: `About ${name}`,
      organizationId: encodeId('Organization', id),
      callerId: one.email,
    })),
  )
  invoices.push(
    ...organizations
      .slice(0, 2)
      .map(({ id }) => ({ number: `${id}`, organization: { databaseId: id }, sentTo: one.email })),
  )

  const authenticate: AppOptions['authenticate'] = async (headers) => {
    if (headers.get('authorization') !== token) throw new AuthError(401, 'Unauthorized')
    return { ...database.ctx, key: undefined }
  }
  const handler = createApp(appOptionsFor(database.ctx, { federation: true, authenticate }))
  const server = await listen({ ...serverOptions, handler })
  running.push(() => server.close(0))
  contactsUrl = `${server.url}/graphql`

  const lost = { id: 'lost', subject: 'About nobody', organizationId: encodeId('Organization', 9e15) }
  const ticketServer = await serveTickets([...tickets, lost])
  running.push(ticketServer.close)
  ticketsUrl = ticketServer.url
  const invoiceServer = await serveInvoices(invoices)
  running.push(invoiceServer.close)
  invoicesUrl = invoiceServer.url
})
afterAll(async () => {
  for (const close of running.toReversed()) await close()
})

async function sdlAt(url: string): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: token },
    body: JSON.stringify({ query: '{ _service { sdl } }' }),
  })
  return ((await response.json()) as Answer).data._service.sdl
}

describe.each(Object.entries(stacks))('a supergraph by %s composition and gateway', (_name, stack) => {
  let gateway: Listening
  let subgraphs: Subgraph[]
  beforeAll(async () => {
    subgraphs = [
      { name: 'contacts', url: contactsUrl, sdl: await sdlAt(contactsUrl) },
      { name: 'tickets', url: ticketsUrl, sdl: await sdlAt(ticketsUrl) },
      { name: 'invoices', url: invoicesUrl, sdl: await sdlAt(invoicesUrl) },
    ]
    gateway = await stack.serve(stack.compose(subgraphs))
    running.push(gateway.close)
  })
  const execute = async (query: string, variables?: object): Promise<Answer> => {
    const response = await fetch(gateway.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: token },
      body: JSON.stringify({ query, variables }),
    })
    return (await response.json()) as Answer
  }

  it('adds fields of another subgraph to organizations', async () => {
    const { organizations } = await dataOf(
      execute(`{
        organizations(first: 3) {
          nodes {
            name
            openTickets
            contacts { nodes { __typename ... on ContactDetails { label value } ... on EmailContact { email } } }
          }
          pageInfo { hasNextPage endCursor }
        }
      }`),
    )

    expect(organizations.nodes).toHaveLength(3)
    expect(organizations.nodes).toMatchObject(Array(3).fill({ openTickets: 1 }))
    expect(organizations.nodes[0].contacts.nodes).toEqual([
      { __typename: 'TelephoneContact', label: 'GENERAL', value: '+1 203 413 4880' },
      { __typename: 'EmailContact', label: 'GENERAL', value: 'info@best-it.com', email: 'info@best-it.com' },
    ])
    expect(organizations.pageInfo).toMatchObject({ hasNextPage: true })
  })

  it('finds what another subgraph refers to by one statement for each kind and list', async () => {
    database.takeStatements()

    const { data } = await execute(`{
      tickets(first: 100) {
        edges { node { subject organization { name contacts { totalCount } } caller { value } } }
        pageInfo { hasNextPage }
      }
    }`)

    // Organizations, their contacts and how many these are, and the caller, who is the same everywhere.
    expect(database.takeStatements()).toHaveLength(4)
    const nodes = data.tickets.edges.map(({ node }: { node: object }) => node)
    expect(nodes).toEqual([
      ...names.map((name, index) => ({
        subject: `About ${name}`,
        organization: { name, contacts: { totalCount: index === 0 ? 2 : 0 } },
        caller: { value: 'info@best-it.com' },
      })),
      { subject: 'About nobody', organization: null, caller: null },
    ])
  })

  it('finds organizations by their integers', async () => {
    const { invoices, organizations } = await dataOf(
      execute('{ invoices { number organization { id name unpaid } } organizations(first: 100) { nodes { unpaid } } }'),
    )

    expect(invoices).toHaveLength(2)
    expect(invoices[0].organization).toEqual({ id: one.id, name: names[0], unpaid: 1 })
    expect(organizations.nodes.filter(({ unpaid }: { unpaid: number }) => unpaid === 1)).toHaveLength(2)
  })

  it('adds a field of another subgraph to the contacts of one channel', async () => {
    const { organization } = await dataOf(
      execute(
        `query($id: ID!) {
          organization(id: $id) { contacts { nodes { __typename ... on EmailContact { email isBilledTo } } } }
        }`,
        { id: one.id },
      ),
    )

    expect(organization.contacts.nodes).toEqual([
      { __typename: 'TelephoneContact' },
      { __typename: 'EmailContact', email: 'info@best-it.com', isBilledTo: true },
    ])
  })

  if (stack.addsToInterfaces) {
    it('adds a field of another subgraph to the contacts of all channels', async () => {
      const { organization } = await dataOf(
        execute(
          'query($id: ID!) { organization(id: $id) { contacts { nodes { __typename ... on ContactDetails { calls } } } } }',
          { id: one.id },
        ),
      )

      expect(organization.contacts.nodes).toEqual([
        { __typename: 'TelephoneContact', calls: 0 },
        { __typename: 'EmailContact', calls: 60 },
      ])
    })
  }

  it('finds organizations by their global ids, where a subgraph has node', async () => {
    const answer = await dataOf(
      execute('query($id: ID!) { node(id: $id) { __typename id ... on Organization { name } } }', { id: one.id }),
    )

    expect(answer).toEqual({ node: { __typename: 'Organization', id: one.id, name: names[0] } })
  })

  it('changes contacts, once for each key of @idempotent', async () => {
    const document = `mutation($input: AddContactInput!, $key: String!) {
      addContact(input: $input) @idempotent(key: $key) {
        __typename
        ... on AddContactSuccess { contact { ... on ContactDetails { id value } } organization { openTickets contacts { totalCount } } }
        ... on UserError { message }
      }
    }`
    const { id } = await anOrganization(database.ctx)
    const organizationId = encodeId('Organization', id)
    const input = { organizationId, contact: { website: { label: 'GENERAL', value: 'best-it.com' } } }
    const answers = [
      await dataOf(execute(document, { input, key: gateway.url })),
      await dataOf(execute(document, { input, key: gateway.url })),
    ]

    expect(answers[0]).toEqual({
      addContact: {
        __typename: 'AddContactSuccess',
        contact: { id: expect.any(String), value: 'best-it.com' },
        organization: { openTickets: 0, contacts: { totalCount: 1 } },
      },
    })
    expect(answers[1]).toEqual(answers[0])
  })

  it('knows @idempotent only if every subgraph does', () => {
    const [contacts, ...others] = subgraphs
    const without = others.map(({ sdl, ...rest }) => ({
      ...rest,
      sdl: sdl.replace(/^.*directive @idempotent.*$/m, ''),
    }))

    expect(stack.compose(subgraphs)).toContain('directive @idempotent')
    expect(stack.compose([contacts!, ...without])).not.toContain('directive @idempotent')
  })

  it('tells errors as the subgraph does', async () => {
    const { errors } = await execute('{ organization(id: "nonsense") { name } }')

    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', issues: [{ code: 'INVALID_ID' }] } }])
  })

  it('takes exactly one channel, also where the supergraph does not say so', async () => {
    const input = {
      organizationId: one.id,
      contact: {
        email: { label: 'GENERAL', value: 'a@example.com' },
        website: { label: 'GENERAL', value: 'example.com' },
      },
    }

    const { errors } = await execute(
      'mutation($input: AddContactInput!) { addContact(input: $input) { __typename } }',
      { input },
    )

    expect(JSON.stringify(errors)).toMatch(/[Ee]xactly one key must be specified/)
  })

  it('is refused as its caller is', async () => {
    expect((await executeAt(gateway.url)('{ organizations { totalCount } }')).errors).toMatchObject([
      { extensions: { code: 'UNAUTHENTICATED' } },
    ])
  })
})
