import { beforeAll, describe, expect, it } from 'vitest'
import { encodeId } from '../../src/domain/ids.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { firstQuery } from '../../src/graphql/handler.ts'
import { useDatabase } from '../support/database.ts'
import { dataOf, type Execute, executeFor } from '../support/graphql.ts'

const database = useDatabase()
let execute: Execute
let executeAsOther: Execute
beforeAll(async () => {
  await seedOrganizations(database.ctx, sampleOrganizations)
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})

const details = `... on ContactDetails {
  id databaseId channel label value href integration version createdAt updatedAt organization { name }
}`

describe('the sample', () => {
  it('is answered by the first query, in list order', async () => {
    const { organizations } = await dataOf(execute(firstQuery))

    expect(organizations.nodes.map(({ name }: { name: string }) => name)).toEqual([
      'Best IT',
      'Harbour Freight Forwarding',
    ])
    expect(organizations.nodes[0].contacts.totalCount).toBe(7)
    expect(
      organizations.nodes[0].contacts.nodes.map((contact: Record<string, unknown>) => [
        contact.databaseId,
        contact.label,
        contact.__typename,
        contact.value,
      ]),
    ).toEqual([
      [68, 'GENERAL', 'TelephoneContact', '+1 (203) 413 4880'],
      [67, 'SERVICE_DESK', 'TelephoneContact', '+1 (800) 4-BEST-IT or +1 (800) 423 7848'],
      [70, 'FAX', 'TelephoneContact', '+1 (203) 413 4881'],
      [65, 'GENERAL', 'EmailContact', 'info@best-it.com'],
      [69, 'SERVICE_DESK', 'EmailContact', 'helpdesk@best-it.com'],
      [66, 'GENERAL', 'WebsiteContact', 'www.best-it.com'],
      [71, 'SERVICE_DESK', 'WebsiteContact', 'www.support.best-it.com'],
    ])
    expect(organizations.nodes[0].children.nodes.map(({ name }: { name: string }) => name)).toEqual([
      'Best IT Asia Pacific',
      'Best IT Europe',
    ])
  })

  it('shows contact 68 with all it has', async () => {
    const { contact } = await dataOf(
      execute(`{ contact(id: 68) { __typename ${details} ... on TelephoneContact { telephone numbers } } }`),
    )

    expect(contact).toEqual({
      __typename: 'TelephoneContact',
      id: encodeId('Contact', 68),
      databaseId: 68,
      channel: 'TELEPHONE',
      label: 'GENERAL',
      value: '+1 (203) 413 4880',
      telephone: '+1 (203) 413 4880',
      href: 'tel:+12034134880',
      numbers: ['+12034134880'],
      integration: true,
      version: 1,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      updatedAt: contact.createdAt,
      organization: { name: 'Best IT' },
    })
  })

  it('reads vanity numbers as they are dialled', async () => {
    const { contact } = await dataOf(execute('{ contact(id: 67) { ... on TelephoneContact { numbers href } } }'))

    expect(contact).toEqual({ numbers: ['+18004237848'], href: 'tel:+18004237848' })
  })

  it('links e-mail addresses and websites', async () => {
    const { email, website } = await dataOf(
      execute(
        '{ email: contact(id: 65) { ... on EmailContact { email href } } website: contact(id: 66) { ... on WebsiteContact { website href } } }',
      ),
    )

    expect(email).toEqual({ email: 'info@best-it.com', href: 'mailto:info@best-it.com' })
    expect(website).toEqual({ website: 'www.best-it.com', href: 'https://www.best-it.com/' })
  })
})

describe('one object', () => {
  it('is found by its global id and by its integer, given as a string or as a number', async () => {
    const data = await dataOf(
      execute(
        `query($global: ID!, $text: ID!, $number: ID!) {
          global: organization(id: $global) { id databaseId name }
          text: organization(id: $text) { id databaseId name }
          number: organization(id: $number) { id databaseId name }
        }`,
        { global: encodeId('Organization', 1), text: '1', number: 1 },
      ),
    )

    const bestIt = { id: encodeId('Organization', 1), databaseId: 1, name: 'Best IT' }
    expect(data).toEqual({ global: bestIt, text: bestIt, number: bestIt })
  })

  it('is null where there is none, whether it never was or belongs to another account', async () => {
    const askFor = (organization: number, contact: number) => `{
      organization(id: ${organization}) { name }
      contact(id: ${contact}) { __typename }
      node(id: "${encodeId('Organization', organization)}") { id }
      nodes(ids: ["${encodeId('Contact', contact)}", "${encodeId('Organization', organization)}"]) { id }
    }`
    const foreign = await executeAsOther(askFor(1, 68))
    const unknown = await execute(askFor(999_999, 999_998))

    expect(foreign).toEqual({ data: { organization: null, contact: null, node: null, nodes: [null, null] } })
    expect(unknown).toEqual(foreign)
  })

  it('is fetched again by node and nodes, in the order asked for', async () => {
    const ids = [
      encodeId('Contact', 66),
      encodeId('Organization', 1),
      encodeId('Contact', 123_456),
      encodeId('Contact', 65),
    ]
    const { node, nodes } = await dataOf(
      execute('query($id: ID!, $ids: [ID!]!) { node(id: $id) { __typename id } nodes(ids: $ids) { __typename id } }', {
        id: ids[0],
        ids,
      }),
    )

    expect(node).toEqual({ __typename: 'WebsiteContact', id: ids[0] })
    expect(nodes).toEqual([
      { __typename: 'WebsiteContact', id: ids[0] },
      { __typename: 'Organization', id: ids[1] },
      null,
      { __typename: 'EmailContact', id: ids[3] },
    ])
  })

  it('tells where it stands in the tree', async () => {
    const { organization } = await dataOf(
      execute(
        '{ organization(id: 4) { parent { name parent { name parent { name } } } ancestors { name } source sourceID disabled } }',
      ),
    )

    expect(organization).toEqual({
      parent: { name: 'Best IT Europe', parent: { name: 'Best IT', parent: null } },
      ancestors: [{ name: 'Best IT' }, { name: 'Best IT Europe' }],
      source: 'HR',
      sourceID: 'EU-02',
      disabled: false,
    })
  })
})

describe('filters', () => {
  const names = (nodes: { name: string }[]) => nodes.map(({ name }) => name)

  it.each([
    ['root: true', ['Best IT', 'Harbour Freight Forwarding']],
    ['root: false, disabled: false', ['Best IT Asia Pacific', 'Best IT Europe', 'Best IT London']],
    ['disabled: true', ['Harbour Warehouse']],
    ['namePrefix: "Best IT "', ['Best IT Asia Pacific', 'Best IT Europe', 'Best IT London']],
    ['namePrefix: "best"', []],
    ['namePrefix: "%"', []],
    ['source: "HR"', ['Best IT Asia Pacific', 'Best IT Europe', 'Best IT London']],
    ['source: "HR", sourceID: "EU-02"', ['Best IT London']],
    ['sourceID: "\\u0000"', []],
  ])('choose organizations by %s', async (filter, expected) => {
    const { organizations } = await dataOf(
      execute(`{ organizations(filter: { ${filter} }) { totalCount nodes { name } } }`),
    )

    expect(names(organizations.nodes)).toEqual(expected)
    expect(organizations.totalCount).toBe(expected.length)
  })

  it.each([
    ['channels: [EMAIL, WEBSITE]', [65, 69, 66, 71]],
    ['labels: [SERVICE_DESK]', [67, 69, 71]],
    ['integration: true', [68]],
    ['integration: false, channels: [TELEPHONE]', [67, 70]],
    ['channels: []', []],
    ['channels: null, labels: null, integration: null', [68, 67, 70, 65, 69, 66, 71]],
  ])('choose contacts by %s', async (filter, expected) => {
    const { organization } = await dataOf(
      execute(
        `{ organization(id: 1) { contacts(filter: { ${filter} }) { totalCount nodes { ... on ContactDetails { databaseId } } } } }`,
      ),
    )

    expect(organization.contacts.nodes.map(({ databaseId }: { databaseId: number }) => databaseId)).toEqual(expected)
    expect(organization.contacts.totalCount).toBe(expected.length)
  })

  it('choose children as they choose organizations', async () => {
    const { organization } = await dataOf(
      execute(
        '{ organization(id: 5) { children(filter: { disabled: false }) { totalCount } all: children { totalCount nodes { name } } } }',
      ),
    )

    expect(organization).toEqual({
      children: { totalCount: 0 },
      all: { totalCount: 1, nodes: [{ name: 'Harbour Warehouse' }] },
    })
  })
})

describe('orders', () => {
  it.each([
    [
      'field: NAME',
      [
        'Best IT',
        'Best IT Asia Pacific',
        'Best IT Europe',
        'Best IT London',
        'Harbour Freight Forwarding',
        'Harbour Warehouse',
      ],
    ],
    [
      'field: NAME, direction: DESC',
      [
        'Harbour Warehouse',
        'Harbour Freight Forwarding',
        'Best IT London',
        'Best IT Europe',
        'Best IT Asia Pacific',
        'Best IT',
      ],
    ],
    [
      'field: CREATED_AT, direction: DESC',
      [
        'Harbour Warehouse',
        'Harbour Freight Forwarding',
        'Best IT London',
        'Best IT Asia Pacific',
        'Best IT Europe',
        'Best IT',
      ],
    ],
  ])('organizations by %s', async (orderBy, expected) => {
    const { organizations } = await dataOf(execute(`{ organizations(orderBy: { ${orderBy} }) { nodes { name } } }`))

    expect(organizations.nodes.map(({ name }: { name: string }) => name)).toEqual(expected)
  })
})

describe('the reverse look-up', () => {
  it.each([
    ['telephone: "+1 203-413-4880"', [68]],
    ['telephone: "(203) 413 4880"', [68]],
    ['telephone: "001 203 413 4880"', [68]],
    ['telephone: "12034134880"', [68]],
    ['telephone: "+1 800 4-BEST-IT"', [67]],
    ['telephone: "8004237848"', [67]],
    ['telephone: "+44 (0)20 7946 0120"', [72]],
    ['telephone: "020 7946 0120"', [72]],
    ['telephone: "413 4880"', []],
    ['email: "INFO@Best-IT.com"', [65]],
    ['email: "info@best-it.co"', []],
    ['website: "https://best-it.com/"', [66]],
    ['website: "WWW.BEST-IT.COM"', [66]],
    ['website: "best-it.example/europe"', [74]],
  ])('finds who has %s', async (filter, expected) => {
    const { contacts } = await dataOf(
      execute(`{ contacts(filter: { ${filter} }) { totalCount nodes { ... on ContactDetails { databaseId } } } }`),
    )

    expect(contacts.nodes.map(({ databaseId }: { databaseId: number }) => databaseId)).toEqual(expected)
    expect(contacts.totalCount).toBe(expected.length)
  })

  it('finds nothing of another account', async () => {
    const { contacts } = await dataOf(
      executeAsOther('{ contacts(filter: { email: "info@best-it.com" }) { totalCount nodes { __typename } } }'),
    )

    expect(contacts).toEqual({ totalCount: 0, nodes: [] })
  })

  it.each(['telephone: "none"', 'telephone: ""', 'email: "  "', 'website: ""'])(
    'refuses %s, which holds nothing to look for',
    async (filter) => {
      const { errors } = await execute(`{ contacts(filter: { ${filter} }) { totalCount } }`)

      expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', issues: [{ code: 'BLANK' }] } }])
    },
  )
})
