import { describe, expect, it } from 'vitest'
import { addContact, changeContacts, clearContacts, outcomeOf, removeContact, updateContact } from './snippets/changes'
import { contactsQuery, lineOf, treeQuery } from './snippets/contacts'
import { allContacts, codeOf, execute } from './snippets/fetch'
import { get } from './snippets/get'
import type { NewContact } from './snippets/gql/graphql'
import {
  changeValue,
  expectType,
  makeOrganization,
  numbered,
  oneOfEach,
  url,
  valuesOf,
} from './support/organizations.ts'

const lines = ['+1 (800) 423 7848 (+18004237848)', 'info@best-it.com', 'www.best-it.com']

describe('fetch', () => {
  it('reads nested organizations with every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)
    await makeOrganization(oneOfEach, id)

    const { organization } = await execute(url, treeQuery, { id })

    const { contacts, children } = organization!
    expect(contacts.edges.map(({ node }) => lineOf(node))).toEqual(lines)
    expect(children.edges.map(({ node }) => node.contacts.edges.map((edge) => lineOf(edge.node)))).toEqual([lines])
  })

  it('reads all pages of a list', async () => {
    const all = numbered(5)
    const id = await makeOrganization(all)

    expect((await allContacts(url, id, 2)).map(({ value }) => value)).toEqual(valuesOf(all))
  })

  it('reads no pages where there is no organization', async () => {
    expect(await allContacts(url, '999999999')).toEqual([])
  })

  it('adds, changes, removes and clears', async () => {
    const id = await makeOrganization()
    const values = async () => (await allContacts(url, id)).map(({ value }) => value)
    const [telephone, email, website] = oneOfEach as [NewContact, NewContact, NewContact]

    const added = await execute(url, addContact, { input: { organizationId: id, contact: email } })
    const { contact } = expectType(added.addContact, 'AddContactSuccess')
    expect(await values()).toEqual(['info@best-it.com'])

    const change = { email: { value: 'office@best-it.com' } }
    const updated = await execute(url, updateContact, { input: { id: contact.id, ifVersion: contact.version, change } })
    expectType(updated.updateContact, 'UpdateContactSuccess')
    expect(await values()).toEqual(['office@best-it.com'])

    const changed = await execute(url, changeContacts, { input: { organizationId: id, add: [telephone, website] } })
    const { organization } = expectType(changed.changeContacts, 'ChangeContactsSuccess')
    expect(organization.contacts.edges.map(({ node }) => lineOf(node))).toEqual([
      lines[0],
      'office@best-it.com',
      lines[2],
    ])

    const removed = await execute(url, removeContact, { input: { id: contact.id } })
    expect(expectType(removed.removeContact, 'RemoveContactSuccess').removedContactId).toBe(contact.id)
    expect(await values()).toEqual(valuesOf([telephone, website]))

    const cleared = await execute(url, clearContacts, { input: { organizationId: id } })
    expect(expectType(cleared.clearContacts, 'ClearContactsSuccess').removedContactIds).toHaveLength(2)
    expect(await values()).toEqual([])
  })

  it('tells each outcome of a mutation', async () => {
    const id = await makeOrganization()
    const outcome = async (organizationId: string, value: string) =>
      outcomeOf(
        (await execute(url, addContact, { input: { organizationId, contact: { email: { label: 'GENERAL', value } } } }))
          .addContact,
      )

    expect(await outcome(id, 'info@best-it.com')).toBe('Added info@best-it.com.')
    expect(await outcome(id, 'nobody')).toMatch(/^contact\.email\.value: /)
    expect(await outcome('999999999', 'info@best-it.com')).toBe('The organization is no longer there.')
    expect(outcomeOf({ __typename: 'ConflictError', message: '', currentVersion: 2 })).toBe('Somebody else was faster.')
    // What a later gateway answers with.
    expect(outcomeOf({ __typename: 'QuotaError' } as never)).toBe('Something went wrong.')
  })

  it('hears of a conflict as data', async () => {
    const id = await makeOrganization(oneOfEach)
    const [contact] = await allContacts(url, id)
    await changeValue(contact!.id, { telephone: { value: '+1 (203) 413 4880' } })

    const input = { id: contact!.id, ifVersion: contact!.version, change: { telephone: { label: 'FAX' } } } as const
    const { updateContact: result } = await execute(url, updateContact, { input })

    expect(expectType(result, 'ConflictError').currentVersion).toBe(2)
  })

  it('hears of top-level errors', async () => {
    const answer = execute(url, contactsQuery, { id: '1', first: 1000 })

    expect(codeOf(await answer.catch((error) => error))).toBe('BAD_USER_INPUT')
  })

  it('shows contacts of a member that comes later', () => {
    expect(lineOf({ __typename: 'PagerContact', value: '5550100' } as never)).toBe('5550100')
  })
})

describe('fetch by GET', () => {
  const query = `query ($id: ID!) {
    organization(id: $id) { contacts { nodes { __typename ... on ContactDetails { id value } } } }
  }`

  it('spares the body of an answer that has not changed', async () => {
    const id = await makeOrganization(oneOfEach)
    const first = await get(url, query, { id })
    expect(first).toMatchObject({ data: { organization: { contacts: { nodes: { length: 3 } } } } })

    const again = await get(url, query, { id })

    // The very object: it was kept, and not read again.
    expect(again).toBe(first)
  })

  it('reads an answer again that has changed', async () => {
    const id = await makeOrganization(oneOfEach)
    await get(url, query, { id })
    await execute(url, clearContacts, { input: { organizationId: id } })

    expect(await get(url, query, { id })).toEqual({ data: { organization: { contacts: { nodes: [] } } } })
  })

  it('is refused for mutations', async () => {
    const mutation = 'mutation { clearContacts(input: { organizationId: 1 }) { __typename } }'

    const response = await fetch(`${url}?${new URLSearchParams({ query: mutation })}`)

    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('POST')
  })

  it.each(['application/graphql-response+json', 'application/json'])(
    'answers as %s where that is accepted',
    async (accept) => {
      const response = await fetch(`${url}?${new URLSearchParams({ query: '{ __typename }' })}`, {
        headers: { accept },
      })

      expect(response.headers.get('content-type')).toBe(`${accept}; charset=utf-8`)
      expect(await response.json()).toEqual({ data: { __typename: 'Query' } })
    },
  )
})
