import { beforeAll, describe, expect, it } from 'vitest'
import { encodeId } from '../../src/domain/ids.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { dataOf, type Execute, executeFor } from '../support/graphql.ts'

const database = useDatabase()
let execute: Execute
/** What is written goes to another account, so that the lists stay as they are. */
let executeAsOther: Execute
beforeAll(async () => {
  await seedOrganizations(
    database.ctx,
    Array.from({ length: 75 }, (_, i) => plausibleOrganization(i, 4)),
  )
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})

/** How many statements reach the driver while the document is executed. */
async function statementsOf(
  document: string,
  variables?: Record<string, unknown>,
  executeOne = execute,
): Promise<string[]> {
  database.takeStatements()
  await dataOf(executeOne(document, variables))
  return database.takeStatements()
}

const threeLevels = (organizations: number) => `{
  organizations(first: ${organizations}, filter: { root: true }) {
    nodes {
      children(first: 3) { nodes { name contacts(first: 2) { nodes { ... on ContactDetails { value } } } } }
    }
  }
}`

describe('a query', () => {
  it('three levels deep costs one statement for each level', async () => {
    expect(await statementsOf(threeLevels(3))).toHaveLength(3)
  })

  it('costs the same whatever the number of rows', async () => {
    expect(await statementsOf(threeLevels(1))).toHaveLength(3)
    expect(await statementsOf(threeLevels(100))).toHaveLength(3)
  })

  it('costs one statement more for each other set of arguments, not for each alias', async () => {
    const statements = await statementsOf(`{
      organizations(first: 50) {
        nodes {
          few: contacts(first: 1) { nodes { __typename } }
          more: contacts(first: 2) { nodes { __typename } }
          again: contacts(first: 2) { nodes { __typename } }
          faxes: contacts(filter: { labels: [FAX] }) { nodes { __typename } }
          last: contacts(last: 2) { nodes { __typename } }
        }
      }
    }`)

    expect(statements).toHaveLength(1 + 4)
  })

  it('counts with one statement for each level, and only when asked', async () => {
    const statements = await statementsOf(
      '{ organizations { totalCount nodes { contacts { totalCount nodes { __typename } } children { totalCount } } } }',
    )

    // Three lists and their three counts.
    expect(statements).toHaveLength(6)
  })

  it('finds parents and ancestors with one statement each', async () => {
    const { organizations } = await dataOf(
      execute('{ organizations(first: 100) { nodes { databaseId parent { databaseId } } } }'),
    )
    const nested = organizations.nodes.filter(({ parent }: { parent: object | null }) => parent !== null)
    const ids = nested.map(({ databaseId }: { databaseId: number }) => encodeId('Organization', databaseId))
    const nodes = 'query($ids: [ID!]!) { nodes(ids: $ids) { ... on Organization'

    expect(await statementsOf(`${nodes} { parent { name } } } }`, { ids })).toHaveLength(2)
    expect(await statementsOf(`${nodes} { ancestors { name } } } }`, { ids })).toHaveLength(2)
  })

  it('does not read again what a list has brought', async () => {
    const statements = await statementsOf(`{
      organizations(first: 100) {
        nodes { parent { name } contacts(first: 1) { nodes { ... on ContactDetails { organization { name } } } } }
      }
    }`)

    expect(statements).toHaveLength(2)
  })

  it('for many nodes costs one statement for each kind', async () => {
    const { organizations } = await dataOf(
      execute('{ organizations(first: 20) { nodes { id contacts(first: 2) { nodes { ... on Node { id } } } } } }'),
    )
    const ids = organizations.nodes.flatMap((node: { id: string; contacts: { nodes: { id: string }[] } }) => [
      node.id,
      ...node.contacts.nodes.map(({ id }) => id),
    ])
    expect(ids).toHaveLength(60)

    expect(await statementsOf('query($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids })).toHaveLength(2)
  })
})

describe('requests at the same time', () => {
  it('share the statements of what they ask alike, whatever their organizations', async () => {
    const { organizations } = await dataOf(execute('{ organizations(first: 20) { nodes { databaseId name } } }'))
    const document = `query($id: ID!) {
      organization(id: $id) { databaseId name contacts { totalCount nodes { ... on ContactDetails { value } } } }
    }`
    database.takeStatements()

    const answers = await Promise.all(
      organizations.nodes.map(({ databaseId }: { databaseId: number }) =>
        dataOf(execute(document, { id: databaseId })),
      ),
    )

    // Of the organizations, of their contacts, and of how many these are.
    expect(database.takeStatements()).toHaveLength(3)
    expect(answers.map(({ organization }) => organization)).toMatchObject(organizations.nodes)
    for (const { organization } of answers)
      expect(organization.contacts.nodes).toHaveLength(organization.contacts.totalCount)
  })

  it('of two accounts share nothing', async () => {
    await anOrganization(database.otherCtx)
    const document = '{ organizations { nodes { name } } }'
    database.takeStatements()

    const [mine, theirs] = await Promise.all([dataOf(execute(document)), dataOf(executeAsOther(document))])

    expect(database.takeStatements()).toHaveLength(2)
    const names = ({ organizations }: typeof mine) => organizations.nodes.map(({ name }: { name: string }) => name)
    expect(names(mine).filter((name: string) => names(theirs).includes(name))).toEqual([])
  })
})

describe('of the contacts of a list', () => {
  const inList = (selection: string, more = '') =>
    `{ organizations(first: 3) { nodes { contacts(first: 3) { ${selection} } } } } ${more}`
  const details = '... on ContactDetails'
  const isWhole = (statements: string[]) => statements.at(-1)!.includes('c.version')

  it.each([
    ['no field', 'totalCount'],
    ['fields of the summary', `nodes { __typename ${details} { id databaseId channel label value href integration } }`],
    ['their organization', `nodes { ${details} { organization { id name } } }`],
    ['what has the name as an alias', `nodes { ${details} { version: value createdAt: label } }`],
    ['cursors', 'edges { cursor node { __typename } } pageInfo { startCursor endCursor }'],
  ])('only the summary is read for %s', async (_, selection) => {
    const statements = await statementsOf(inList(selection))

    expect(statements.filter((text) => text.includes('c.version'))).toEqual([])
  })

  it.each([
    ['version', inList(`nodes { ${details} { version } }`)],
    ['createdAt', inList(`edges { node { ${details} { createdAt } } }`)],
    ['updatedAt', inList('nodes { ... on EmailContact { updatedAt } __typename }')],
    ['an alias', inList(`nodes { ${details} { value: version } }`)],
    [
      'a fragment of a fragment',
      inList(
        '...A',
        'fragment A on ContactConnection { nodes { ...B } } fragment B on Contact { ... on ContactDetails { version } }',
      ),
    ],
    [
      'one of several selections of the field',
      `{ organizations(first: 3) { nodes { contacts { nodes { __typename } } ...A } } }
       fragment A on Organization { contacts { nodes { ${details} { version } } } }`,
    ],
  ])('everything is read for %s', async (_, document) => {
    expect(isWhole(await statementsOf(document))).toBe(true)
  })

  it('both are the same where both are asked for', async () => {
    const all = `nodes { ${details} { id value channel label integration`
    const answer = await dataOf(
      execute(`{ organizations { nodes { few: contacts { ${all} } } } more: contacts { ${all} version } } } } } }`),
    )

    for (const { few, more } of answer.organizations.nodes) {
      expect(more.nodes).toEqual(few.nodes.map((contact: object) => ({ ...contact, version: 1 })))
    }
  })
})

describe('a write', () => {
  const values = { telephone: { label: 'GENERAL', value: '+1 203 413 4880' } }

  it.each<[string, string, (organizationId: number, id: number) => object]>([
    ['addContact', 'AddContactInput', (organizationId: number) => ({ organizationId, contact: values })],
    [
      'updateContact',
      'UpdateContactInput',
      (_: number, id: number) => ({ id, change: { telephone: { value: '+1 203 413 4889', label: 'FAX' } } }),
    ],
    ['removeContact', 'RemoveContactInput', (_: number, id: number) => ({ id })],
    ['clearContacts', 'ClearContactsInput', (organizationId: number) => ({ organizationId })],
    [
      'changeContacts',
      'ChangeContactsInput',
      (organizationId: number, id: number) => ({
        organizationId,
        add: [values, values],
        update: [{ id, change: { telephone: { label: 'FAX' } } }],
      }),
    ],
    [
      'importContacts',
      'ImportContactsInput',
      (organizationId: number, id: number) => ({
        organizationId,
        contacts: [{ id, contact: { telephone: { label: 'FAX', value: '+1 203 413 4889' } } }, { contact: values }],
        mode: 'REPLACE_INTEGRATION',
      }),
    ],
    ['createOrganization', 'CreateOrganizationInput', (parentId: number) => ({ name: 'A new one', parentId })],
    ['updateOrganization', 'UpdateOrganizationInput', (id: number) => ({ id, name: 'A new name', parentId: null })],
  ])('by %s is one statement', async (mutation, type, inputFor) => {
    const { id: organizationId } = await anOrganization(database.otherCtx)
    const { id } = await aContact(database.otherCtx, organizationId)

    const input = inputFor(organizationId, id)
    const statements = await statementsOf(
      `mutation($input: ${type}!) { ${mutation}(input: $input) { __typename } }`,
      { input },
      executeAsOther,
    )
    const withKey = `mutation($input: ${type}!, $key: String!) { ${mutation}(input: $input) @idempotent(key: $key) { __typename } }`
    const first = await statementsOf(withKey, { input, key: mutation }, executeAsOther)
    const again = await statementsOf(withKey, { input, key: mutation }, executeAsOther)

    expect([statements, first, again].map(({ length }) => length)).toEqual([1, 1, 1])
    // Who sends no key pays nothing for those who do.
    expect(statements[0]).not.toContain('idempotency_keys')
    expect(first[0]).toContain('idempotency_keys')
  })

  it('that is refused for its input costs none', async () => {
    const statements = await statementsOf(
      'mutation { addContact(input: { organizationId: "x", contact: { email: { label: GENERAL, value: "x" } } }) { __typename } }',
    )

    expect(statements).toEqual([])
  })

  it('is seen by its own answer and by every later one of the document', async () => {
    const { id } = await anOrganization(database.otherCtx)
    const list = 'contacts { totalCount nodes { ... on ContactDetails { value } } }'
    const answer = await dataOf(
      executeAsOther(
        `mutation($id: ID!) {
          first: addContact(input: { organizationId: $id, contact: { email: { label: GENERAL, value: "a@example.com" } } }) {
            ... on AddContactSuccess { organization { ${list} } query { organization(id: $id) { ${list} } } }
          }
          second: addContact(input: { organizationId: $id, contact: { email: { label: GENERAL, value: "b@example.com" } } }) {
            ... on AddContactSuccess { organization { ${list} } query { contacts(filter: { email: "b@example.com" }) { totalCount } } }
          }
          rename: updateOrganization(input: { id: $id, name: "Renamed after both" }) {
            ... on UpdateOrganizationSuccess { organization { name } query { organization(id: $id) { name } } }
          }
          clear: clearContacts(input: { organizationId: $id }) {
            ... on ClearContactsSuccess { removedContactIds organization { name ${list} } }
          }
        }`,
        { id },
      ),
    )
    const contacts = (...values: string[]) => ({ totalCount: values.length, nodes: values.map((value) => ({ value })) })

    expect(answer).toEqual({
      first: {
        organization: { contacts: contacts('a@example.com') },
        query: { organization: { contacts: contacts('a@example.com') } },
      },
      second: {
        organization: { contacts: contacts('a@example.com', 'b@example.com') },
        query: { contacts: { totalCount: 1 } },
      },
      rename: { organization: { name: 'Renamed after both' }, query: { organization: { name: 'Renamed after both' } } },
      clear: {
        removedContactIds: [expect.any(String), expect.any(String)],
        organization: { name: 'Renamed after both', contacts: contacts() },
      },
    })
  })
})
