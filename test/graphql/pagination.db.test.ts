import { beforeAll, describe, expect, it } from 'vitest'
import type { Channel, Label } from '../../src/db/tables.ts'
import { type Contact, removeContact } from '../../src/domain/contacts.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { type Answer, dataOf, type Execute, executeFor } from '../support/graphql.ts'

const database = useDatabase()
let execute: Execute
beforeAll(() => {
  execute = executeFor(database.ctx)
})

interface Connection {
  nodes: { databaseId: number }[]
  edges: { cursor: string; node: { databaseId: number } }[]
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null }
  totalCount: number
}

const connectionFields = `
  nodes { ... on ContactDetails { databaseId } }
  edges { cursor node { ... on ContactDetails { databaseId } } }
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  totalCount`

async function contactsOf(organizationId: number, args: string): Promise<Connection> {
  const { organization } = await dataOf(
    execute(`query($id: ID!) { organization(id: $id) { contacts${args && `(${args})`} { ${connectionFields} } } }`, {
      id: organizationId,
    }),
  )
  return organization.contacts
}

const idsOf = (connection: Connection) => connection.nodes.map(({ databaseId }) => databaseId)

/** Follows the pages from one end to the other. */
async function walk(
  organizationId: number,
  size: number,
  direction: 'forward' | 'backward',
  between: () => Promise<unknown> = async () => {},
): Promise<number[]> {
  const ids: number[] = []
  let cursor: string | null = null
  for (;;) {
    const position: string = cursor === null ? '' : `, ${direction === 'forward' ? 'after' : 'before'}: "${cursor}"`
    const page: Connection = await contactsOf(
      organizationId,
      `${direction === 'forward' ? 'first' : 'last'}: ${size}${position}`,
    )
    if (direction === 'forward') ids.push(...idsOf(page))
    else ids.unshift(...idsOf(page))
    if (!(direction === 'forward' ? page.pageInfo.hasNextPage : page.pageInfo.hasPreviousPage)) return ids
    cursor = direction === 'forward' ? page.pageInfo.endCursor : page.pageInfo.startCursor
    await between()
  }
}

const kinds: [Channel, Label][] = [
  ['website', 'service_desk'],
  ['telephone', 'service_desk_fax'],
  ['email', 'general'],
  ['telephone', 'general'],
  ['website', 'general'],
  ['telephone', 'fax'],
  ['email', 'service_desk'],
  ['telephone', 'service_desk'],
]

/** Contacts of every channel and label, several of each, added in an order that is not the list's. Returns their ids in list order. */
async function organizationWithContacts(count: number): Promise<{ id: number; inListOrder: number[] }> {
  const { id } = await anOrganization(database.ctx)
  const channelOrder: Channel[] = ['telephone', 'email', 'website']
  const labelOrder: Label[] = ['general', 'service_desk', 'fax', 'service_desk_fax']
  const added: Contact[] = []
  for (let i = 0; i < count; i++) {
    const [channel, label] = kinds[i % kinds.length]!
    added.push(await aContact(database.ctx, id, { channel, label }))
  }
  const rank = (contact: Contact) =>
    channelOrder.indexOf(contact.channel) * 1e12 + labelOrder.indexOf(contact.label) * 1e11 + contact.id
  return { id, inListOrder: added.toSorted((a, b) => rank(a) - rank(b)).map((contact) => contact.id) }
}

describe('pages of contacts', () => {
  let organization: { id: number; inListOrder: number[] }
  beforeAll(async () => {
    organization = await organizationWithContacts(20)
  })

  it.each([1, 3, 7, 19, 20, 21, 100])('of %i follow each other without gap or repetition, both ways', async (size) => {
    expect(await walk(organization.id, size, 'forward')).toEqual(organization.inListOrder)
    expect(await walk(organization.id, size, 'backward')).toEqual(organization.inListOrder)
  })

  it('hold everything up to the default size', async () => {
    expect(idsOf(await contactsOf(organization.id, ''))).toEqual(organization.inListOrder)
  })

  it('tell nodes, edges, cursors and whether there is more alike', async () => {
    const all = await contactsOf(organization.id, '')
    const page = await contactsOf(organization.id, `first: 3, after: "${all.edges[4]!.cursor}"`)

    expect(idsOf(page)).toEqual(organization.inListOrder.slice(5, 8))
    expect(page.edges.map(({ node }) => node)).toEqual(page.nodes)
    expect(page.edges.map(({ cursor }) => cursor)).toEqual(all.edges.slice(5, 8).map(({ cursor }) => cursor))
    expect(page.pageInfo).toEqual({
      hasNextPage: true,
      hasPreviousPage: true,
      startCursor: all.edges[5]!.cursor,
      endCursor: all.edges[7]!.cursor,
    })
    expect(page.totalCount).toBe(20)
  })

  it('can be bounded on both sides', async () => {
    const all = await contactsOf(organization.id, '')
    const bounds = `after: "${all.edges[2]!.cursor}", before: "${all.edges[9]!.cursor}"`

    expect(idsOf(await contactsOf(organization.id, bounds))).toEqual(organization.inListOrder.slice(3, 9))
    expect(idsOf(await contactsOf(organization.id, `last: 2, ${bounds}`))).toEqual(organization.inListOrder.slice(7, 9))
    expect(idsOf(await contactsOf(organization.id, `first: 2, ${bounds}`))).toEqual(
      organization.inListOrder.slice(3, 5),
    )
  })

  it('are empty beyond the last one, without cursors', async () => {
    const all = await contactsOf(organization.id, '')
    const page = await contactsOf(organization.id, `after: "${all.pageInfo.endCursor}"`)

    expect(page).toEqual({
      nodes: [],
      edges: [],
      pageInfo: { hasNextPage: false, hasPreviousPage: true, startCursor: null, endCursor: null },
      totalCount: 20,
    })
  })

  it('go on from a cursor whose contact has been removed', async () => {
    const { id, inListOrder } = await organizationWithContacts(8)
    const all = await contactsOf(id, '')
    await removeContact(database.ctx, { id: inListOrder[3] })

    expect(idsOf(await contactsOf(id, `after: "${all.edges[3]!.cursor}"`))).toEqual(inListOrder.slice(4))
    expect(idsOf(await contactsOf(id, `last: 100, before: "${all.edges[3]!.cursor}"`))).toEqual(inListOrder.slice(0, 3))
  })

  it('neither miss nor repeat what was there, while contacts are added and removed', async () => {
    const { id, inListOrder } = await organizationWithContacts(16)
    const removed: number[] = []
    let turn = 0
    const seen = await walk(id, 3, 'forward', async () => {
      const [channel, label] = kinds[turn++ % kinds.length]!
      const { id: extra } = await aContact(database.ctx, id, { channel, label })
      if (turn % 2) {
        await removeContact(database.ctx, { id: extra })
        removed.push(extra)
      }
    })

    expect(seen.filter((contact) => inListOrder.includes(contact))).toEqual(inListOrder)
    expect(new Set(seen).size).toBe(seen.length)
  })
})

describe('pages of organizations', () => {
  const orders = ['NAME', 'CREATED_AT', 'UPDATED_AT'].flatMap((field) =>
    ['ASC', 'DESC'].map((direction) => [field, direction]),
  )
  let parent: number
  let children: string[]
  beforeAll(async () => {
    parent = (await anOrganization(database.ctx)).id
    children = []
    for (const name of ['delta', 'Zeta', 'alpha', 'Émile', 'beta', '😀 smile', 'Alpha']) {
      children.push((await anOrganization(database.ctx, { name, parentId: parent })).name)
    }
  })

  it.each(orders)('by %s %s follow each other both ways', async (field, direction) => {
    const byName = children.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const ascending = field === 'NAME' ? byName : children
    const expected = direction === 'ASC' ? ascending : ascending.toReversed()
    const page = async (args: string) =>
      (
        await dataOf(
          execute(
            `query($id: ID!) { organization(id: $id) { children(${args}, orderBy: { field: ${field}, direction: ${direction} }) {
              nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`,
            { id: parent },
          ),
        )
      ).organization.children
    const forward: string[] = []
    let after = ''
    for (let more = true; more; ) {
      const { nodes, pageInfo } = await page(`first: 2${after}`)
      forward.push(...nodes.map(({ name }: { name: string }) => name))
      after = `, after: "${pageInfo.endCursor}"`
      more = pageInfo.hasNextPage
    }
    const backward: string[] = []
    let before = ''
    for (let more = true; more; ) {
      const { nodes, pageInfo } = await page(`last: 2${before}`)
      backward.unshift(...nodes.map(({ name }: { name: string }) => name))
      before = `, before: "${pageInfo.startCursor}"`
      more = pageInfo.hasPreviousPage
    }

    expect(forward).toEqual(expected)
    expect(backward).toEqual(expected)
  })
})

describe('page arguments that cannot be', () => {
  const cursor = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url')

  it.each([
    ['first: 0', ['first'], 'first is 0; it must be an integer from 1 to 100.'],
    ['first: -1', ['first'], 'first is -1; it must be an integer from 1 to 100.'],
    ['last: 101', ['last'], 'last is 101; it must be an integer from 1 to 100.'],
    ['first: 1, last: 1', ['last'], 'Give first or last, not both.'],
    ['after: "nonsense"', ['after'], 'after is not a cursor of this list in this order.'],
    ['after: ""', ['after'], 'after is not a cursor of this list in this order.'],
    [
      `before: "${cursor('organizations NAME', 'Best IT')}"`,
      ['before'],
      'before is not a cursor of this list in this order.',
    ],
    [
      `after: "${cursor('contacts', 'pager', 'general', 1)}"`,
      ['after'],
      'after is not a cursor of this list in this order.',
    ],
    [
      `after: "${cursor('contacts', 'email', 'general', '1; drop table contacts')}"`,
      ['after'],
      'after is not a cursor of this list in this order.',
    ],
    [
      `after: "${cursor('contacts', 'email', 'general', 2 ** 70)}"`,
      ['after'],
      'after is not a cursor of this list in this order.',
    ],
    [
      `after: "${cursor('contacts', 'email', 'general')}"`,
      ['after'],
      'after is not a cursor of this list in this order.',
    ],
    [`after: "${encodeId('Contact', 68)}"`, ['after'], 'after is not a cursor of this list in this order.'],
  ])('are refused: %s', async (args, path, message) => {
    const { id } = await anOrganization(database.ctx)
    const answer = await execute(`query($id: ID!) { organization(id: $id) { contacts(${args}) { totalCount } } }`, {
      id,
    })

    expect(answer.data).toEqual({ organization: null })
    expect(answer.errors).toMatchObject([
      { message, extensions: { code: 'BAD_USER_INPUT', issues: [{ path, message }] } },
    ])
  })

  it('are told all at once', async () => {
    const { errors } = await execute('{ organizations(first: 0, last: 101, after: "x", before: "y") { totalCount } }')

    expect(errors?.[0]?.extensions.issues).toMatchObject([
      { path: ['first'] },
      { path: ['last'] },
      { path: ['last'] },
      { path: ['after'] },
      { path: ['before'] },
    ])
  })

  it('are cursors of another order', async () => {
    await anOrganization(database.ctx)
    const { organizations } = await dataOf(execute('{ organizations(first: 1) { pageInfo { endCursor } } }'))
    const { errors }: Answer = await execute(
      `{ organizations(after: "${organizations.pageInfo.endCursor}", orderBy: { field: CREATED_AT }) { totalCount } }`,
    )

    expect(errors).toMatchObject([{ extensions: { issues: [{ code: 'INVALID_CURSOR' }] } }])
  })

  it('are no instants that PostgreSQL cannot read', async () => {
    for (const instant of [
      'yesterday',
      'infinity',
      '0000-01-01T00:00:00.000Z',
      '2026-13-01T00:00:00.000Z',
      '+275760-09-13T00:00:00.000Z',
    ]) {
      const { errors } = await execute(
        `{ organizations(after: "${cursor('organizations CREATED_AT', instant, 1)}", orderBy: { field: CREATED_AT }) { totalCount } }`,
      )

      expect(errors).toMatchObject([{ extensions: { issues: [{ code: 'INVALID_CURSOR' }] } }])
    }
  })
})
