import type { ResultOf } from 'gql.tada'
import { print } from 'graphql'
import { describe, expect, it } from 'vitest'
import { codeOf, execute } from './snippets/fetch'
import { addContact, changeContacts, clearContacts, removeContact, updateContact } from './snippets/tada/changes'
import { contactsQuery, linesOf } from './snippets/tada/contacts'
import { runTool } from './support/generate.ts'
import { expectType, makeOrganization, numbered, oneOfEach, url, valuesOf } from './support/organizations.ts'

describe('gql.tada', () => {
  it('reads every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)

    const answer = await execute(url, contactsQuery, { id })

    expect(linesOf(answer)).toEqual(['+1 (800) 423 7848 (+18004237848)', 'info@best-it.com', 'www.best-it.com'])
    expect(linesOf({ organization: null })).toBeUndefined()
  })

  it('reads nested organizations, and page after page', async () => {
    const all = numbered(5)
    const id = await makeOrganization(all)
    await makeOrganization(oneOfEach, id)

    const values: string[] = []
    for (let after: string | null = null, isMore = true; isMore; ) {
      const { organization } = (await execute(url, contactsQuery, { id, first: 2, after })) as ResultOf<
        typeof contactsQuery
      >
      const { edges, pageInfo } = organization!.contacts
      values.push(...edges.map(({ node }) => node.value))
      after = pageInfo.endCursor
      isMore = pageInfo.hasNextPage
      expect(organization!.children.edges.map(({ node }) => node.contacts.totalCount)).toEqual([3])
    }

    expect(values).toEqual(valuesOf(all))
  })

  it('adds, changes, removes and clears', async () => {
    const id = await makeOrganization()
    const lines = async () => linesOf(await execute(url, contactsQuery, { id }))
    const email = { email: { label: 'GENERAL', value: 'info@best-it.com' } } as const
    const website = { website: { label: 'GENERAL', value: 'www.best-it.com' } } as const

    const added = await execute(url, addContact, { input: { organizationId: id, contact: email } })
    const { contact } = expectType(added.addContact, 'AddContactSuccess')
    const change = { email: { value: 'office@best-it.com' } }
    const updated = await execute(url, updateContact, { input: { id: contact.id, ifVersion: contact.version, change } })
    expect(expectType(updated.updateContact, 'UpdateContactSuccess').contact.version).toBe(2)
    const changed = await execute(url, changeContacts, { input: { organizationId: id, add: [website] } })
    expect(expectType(changed.changeContacts, 'ChangeContactsSuccess').added[0]?.value).toBe('www.best-it.com')
    expect(await lines()).toEqual(['office@best-it.com', 'www.best-it.com'])

    const removed = await execute(url, removeContact, { input: { id: contact.id } })
    expect(expectType(removed.removeContact, 'RemoveContactSuccess').removedContactId).toBe(contact.id)
    const cleared = await execute(url, clearContacts, { input: { organizationId: id } })
    expect(expectType(cleared.clearContacts, 'ClearContactsSuccess').removedContactIds).toHaveLength(1)
    expect(await lines()).toEqual([])
  })

  it('hears of each error', async () => {
    const id = await makeOrganization()
    const add = async (organizationId: string, value: string) => {
      const contact = { email: { label: 'GENERAL', value } } as const
      return (await execute(url, addContact, { input: { organizationId, contact } })).addContact
    }
    const { contact } = expectType(await add(id, 'info@best-it.com'), 'AddContactSuccess')
    const stale = { id: contact.id, ifVersion: 9, change: { email: { label: 'SERVICE_DESK' } } } as const
    const { updateContact: conflict } = await execute(url, updateContact, { input: stale })
    const refusal = await execute(url, contactsQuery, { id, first: 1000 }).catch((error) => error)

    expect(expectType(await add(id, 'nobody'), 'ValidationError').issues[0]?.path).toEqual([
      'contact',
      'email',
      'value',
    ])
    expect(expectType(await add('999999999', 'a@b'), 'NotFoundError').message).toBe('Organization not found.')
    expect(expectType(conflict, 'ConflictError').currentVersion).toBe(1)
    expect(codeOf(refusal)).toBe('BAD_USER_INPUT')
  })

  it('sends the documents as they were written', () => {
    expect(print(contactsQuery)).toContain('... on ContactDetails {')
  })

  it('finds no fault in them', async () => {
    await expect(runTool('gql.tada', ['check', '--fail-on-warn'], 'tada')).resolves.not.toMatch(/error|warn/i)
  })
})
