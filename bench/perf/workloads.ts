import type { Dataset } from './dataset.ts'
import type { Expected } from './load.ts'

/**
 * How a stack is asked: `gateway` by the documents of our schema, and by REST; `peer` by the same documents alone;
 * `postgraphile` by those of the schema that it makes itself; the floor has a path for each workload.
 */
export type Dialect = 'gateway' | 'peer' | 'postgraphile' | 'floor'

export const workloadNames = ['W1', 'W2', 'W3', 'W4', 'W5'] as const
export type WorkloadName = (typeof workloadNames)[number]

export interface Call {
  method: 'GET' | 'POST'
  path: string
  body?: unknown
}

export interface Workload {
  /** What is asked for, and how many objects come. */
  title: string
  /** A call for each of what is to be asked in turn; undefined where the dialect cannot say it. */
  calls(dialect: Dialect, data: Dataset): Call[] | undefined
  expected: Expected
  /** Whether it writes, so that the data is to be put back afterwards. */
  writes?: boolean
}

/** The schema of the database with what PostGraphile serves beside the tables. */
export const postgraphileSchema = 'bench'

/** How many different organizations a workload goes through: enough that nothing keeps an answer. */
const different = 2000
/** The same for everybody, and the page sizes of the documents. */
export const organizationsInPage = 50
export const contactsInPage = 100
export const rootsInPage = 10
export const childrenInPage = 10

const noErrors = '"errors"'

const contactFields = 'databaseId channel label value integration'
const addedFields = `${contactFields} version createdAt updatedAt`
const postgraphileContact = 'rowId channel label value integration'
const inListOrder = 'orderBy: [CHANNEL_ASC, LABEL_ASC, ROW_ID_ASC]'

const afterOf = (cursor: string | undefined) => (cursor === undefined ? '' : `, after: "${cursor}"`)

/** Lists of our schema, of any length and from anywhere. */
export const documentOf = {
  nested: (first: number, after?: string) => `query Nested {
    organizations(first: ${first}${afterOf(after)}) { nodes {
      databaseId name disabled
      contacts(first: ${contactsInPage}) { nodes { ... on ContactDetails { ${contactFields} } } }
    } }
  }`,
  threeLevels: (first: number, after?: string) => `query ThreeLevels {
    organizations(first: ${first}${afterOf(after)}, filter: { root: true }) { nodes {
      databaseId name
      children(first: ${childrenInPage}) { nodes {
        databaseId name
        contacts(first: ${contactsInPage}) { nodes { ... on ContactDetails { ${contactFields} } } }
      } }
    } }
  }`,
}

const ours = {
  W1: documentOf.nested(organizationsInPage),
  W2: `query One($id: ID!) {
    organization(id: $id) {
      databaseId name disabled
      contacts(first: ${contactsInPage}) { nodes { ... on ContactDetails { ${contactFields} } } }
    }
  }`,
  W3: `mutation Add($input: AddContactInput!) {
    addContact(input: $input) { ... on AddContactSuccess { contact { ... on ContactDetails { ${addedFields} } } } }
  }`,
  W4: documentOf.threeLevels(rootsInPage),
}

const postgraphiles = {
  W1: `query Nested($account: BigInt!) {
    organizations: allOrganizations(condition: { accountId: $account }, orderBy: NAME_ASC, first: ${organizationsInPage}) {
      nodes {
        rowId name disabled
        contacts: contactsByAccountIdAndOrganizationId(${inListOrder}, first: ${contactsInPage}) {
          nodes { ${postgraphileContact} }
        }
      }
    }
  }`,
  W2: `query One($account: BigInt!, $id: BigInt!) {
    organization: organizationByAccountIdAndRowId(accountId: $account, rowId: $id) {
      rowId name disabled
      contacts: contactsByAccountIdAndOrganizationId(${inListOrder}, first: ${contactsInPage}) {
        nodes { ${postgraphileContact} }
      }
    }
  }`,
  W3: `mutation Add($input: BenchAddContactInput!) {
    addContact: benchAddContact(input: $input) { contact: result { ${postgraphileContact} version createdAt updatedAt } }
  }`,
  W4: `query ThreeLevels($account: BigInt!) {
    organizations: allOrganizations(
      condition: { accountId: $account, parentId: null }, orderBy: NAME_ASC, first: ${rootsInPage}
    ) {
      nodes {
        rowId name
        children: organizationsByAccountIdAndParentId(orderBy: NAME_ASC, first: ${childrenInPage}) {
          nodes {
            rowId name
            contacts: contactsByAccountIdAndOrganizationId(${inListOrder}, first: ${contactsInPage}) {
              nodes { ${postgraphileContact} }
            }
          }
        }
      }
    }
  }`,
}

const documents = { gateway: ours, peer: ours, postgraphile: postgraphiles }

/** The same contact for everybody: an e-mail address in ASCII, whose key for look-ups is itself in lower case. */
export const newContact = {
  channel: 'email',
  label: 'service_desk',
  value: 'New.Desk@Bench.example',
  integration: true,
}

export const graphql = (query: string, variables?: Record<string, unknown>): Call => ({
  method: 'POST',
  path: '/graphql',
  // White space is for those who read this file.
  body: { query: query.replace(/\s+/g, ' '), variables },
})

const ofEach = ({ organizationIds }: Dataset, call: (id: number) => Call): Call[] =>
  organizationIds.slice(0, different).map(call)

export const workloads: Record<WorkloadName, Workload> = {
  W1: {
    title: `nested list: the first ${organizationsInPage} organizations with their contacts (50 + 350 objects)`,
    calls: (dialect, { account }) => [
      dialect === 'floor'
        ? { method: 'GET', path: '/w1' }
        : graphql(documents[dialect].W1, dialect === 'postgraphile' ? { account: String(account) } : undefined),
    ],
    expected: { status: 200, includes: '@', excludes: noErrors },
  },
  W2: {
    title: 'one organization by its id, with its contacts (1 + 7 objects)',
    calls: (dialect, data) =>
      ofEach(data, (id) => {
        if (dialect === 'floor') return { method: 'GET', path: `/w2/${id}` }
        const variables = dialect === 'postgraphile' ? { account: String(data.account), id: String(id) } : { id }
        return graphql(documents[dialect].W2, variables)
      }),
    expected: { status: 200, includes: '@', excludes: noErrors },
  },
  W3: {
    title: 'add a contact to an organization, and show it',
    calls: (dialect, data) =>
      ofEach(data, (id) => {
        const { channel, label, value, integration } = newContact
        if (dialect === 'floor') return { method: 'POST', path: `/w3/${id}`, body: newContact }
        if (dialect === 'postgraphile') {
          const input = { accountId: String(data.account), organizationId: String(id), ...newContact }
          return graphql(documents[dialect].W3, { input })
        }
        const contact = { [channel]: { label: label.toUpperCase(), value, integration } }
        return graphql(documents[dialect].W3, { input: { organizationId: id, contact } })
      }),
    expected: { status: 200, includes: newContact.value, excludes: noErrors },
    writes: true,
  },
  W4: {
    title: `three levels: ${rootsInPage} roots, their children, and the contacts of these (10 + 40 + 280 objects)`,
    calls: (dialect, { account }) => [
      dialect === 'floor'
        ? { method: 'GET', path: '/w4' }
        : graphql(documents[dialect].W4, dialect === 'postgraphile' ? { account: String(account) } : undefined),
    ],
    expected: { status: 200, includes: '@', excludes: noErrors },
  },
  W5: {
    title: 'the REST list of the contacts of one organization (7 objects)',
    // The peers have no REST API.
    calls: (dialect, data) =>
      dialect === 'postgraphile' || dialect === 'peer'
        ? undefined
        : ofEach(data, (id) => ({ method: 'GET', path: `/v1/organizations/${id}/contacts` })),
    expected: { status: 200, includes: '@', excludes: '"message"' },
  },
}

/** A whole request as it goes over the wire. */
export function wireOf({ method, path, body }: Call, headers: Record<string, string> = {}): string {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const all = {
    host: 'bench',
    accept: 'application/json',
    ...(text !== undefined && {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text)),
    }),
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${text ?? ''}`
}
