import type { Client, OperationResult } from '@urql/core'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { addContact, changeContacts, clearContacts, removeContact, updateContact } from './snippets/changes'
import { contactsQuery, lineOf, treeQuery } from './snippets/contacts'
import type { ContactsQuery, NewContact } from './snippets/gql/graphql'
import { codeOf, createClient } from './snippets/urql'
import { watchContacts } from './snippets/urql-live'
import {
  addContacts,
  changeValue,
  clearAll,
  expectType,
  makeOrganization,
  numbered,
  oneOfEach,
  removeById,
  url,
  valuesOf,
} from './support/organizations.ts'

/** Reads the contacts of an organization as a component does: it hears of every change. */
async function watch(client: Client, id: string, first = 100) {
  const shown: OperationResult<ContactsQuery>[] = []
  const pages: { unsubscribe(): void }[] = []
  const show = (after?: string | null) => {
    pages.push(client.query(contactsQuery, { id, first, after }).subscribe((result) => shown.push(result)))
  }
  show()
  await vi.waitFor(() => expect(shown).not.toEqual([]))
  const list = () => shown.at(-1)!.data!.organization!.contacts
  const contacts = () => list().edges.map(({ node }) => node)
  return {
    show,
    contacts,
    pageInfo: () => list().pageInfo,
    values: () => contacts().map(({ value }) => value),
    /** What it has shown of one contact, one after the other. */
    history: (id: string) =>
      shown
        .map(({ data }) => data!.organization!.contacts.edges.find(({ node }) => node.id === id)!.node)
        .map(({ value, version }) => `${version}: ${value}`)
        .filter((line, i, lines) => line !== lines[i - 1]),
  }
}

describe('urql', () => {
  const printed = {
    warn: vi.spyOn(console, 'warn').mockReturnValue(),
    error: vi.spyOn(console, 'error').mockReturnValue(),
  }

  beforeEach(() => {
    printed.warn.mockClear()
    printed.error.mockClear()
  })

  // Graphcache warns of all that it does not find in the schema, and of objects that it cannot tell apart.
  afterEach(() => {
    expect([...printed.warn.mock.calls, ...printed.error.mock.calls]).toEqual([])
  })

  it('reads nested organizations with every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)
    await makeOrganization(oneOfEach, id)

    const { data } = await createClient(url).query(treeQuery, { id })

    const lines = ['+1 (800) 423 7848 (+18004237848)', 'info@best-it.com', 'www.best-it.com']
    const { contacts, children } = data!.organization!
    expect(contacts.edges.map(({ node }) => lineOf(node))).toEqual(lines)
    expect(children.edges.map(({ node }) => node.contacts.edges.map((edge) => lineOf(edge.node)))).toEqual([lines])
  })

  it('answers from its cache what it has read already', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    await client.query(treeQuery, { id })

    const { data, stale } = await client.query(contactsQuery, { id }, { requestPolicy: 'cache-only' })

    expect(stale).toBe(false)
    expect(data!.organization!.contacts.edges.map(({ node }) => node.value)).toEqual(valuesOf(oneOfEach))
  })

  it('joins the pages of a list', async () => {
    const all = numbered(5)
    const id = await makeOrganization(all)
    const { show, values, pageInfo } = await watch(createClient(url), id, 2)
    expect(values()).toEqual(valuesOf(all.slice(0, 2)))

    for (const count of [4, 5]) {
      show(pageInfo().endCursor)
      await expect.poll(values).toEqual(valuesOf(all.slice(0, count)))
    }

    expect(pageInfo().hasNextPage).toBe(false)
  })

  it('shows a contact that was added where it belongs', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { values } = await watch(client, id)
    const contact: NewContact = { telephone: { label: 'FAX', value: '+1 (203) 413 4881' } }

    const { data } = await client.mutation(addContact, { input: { organizationId: id, contact } })

    expectType(data!.addContact, 'AddContactSuccess')
    const [telephone, ...others] = valuesOf(oneOfEach)
    await expect.poll(values).toEqual([telephone, '+1 (203) 413 4881', ...others])
  })

  it('shows a contact no longer that was removed', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, values } = await watch(client, id)

    await client.mutation(removeContact, { input: { id: contacts()[1]!.id } })

    await expect.poll(values).toEqual(['+1 (800) 423 7848', 'www.best-it.com'])
  })

  it('shows none after they were cleared', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { values } = await watch(client, id)

    await client.mutation(clearContacts, { input: { organizationId: id } })

    await expect.poll(values).toEqual([])
  })

  it('shows several changes that were made at once', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, values } = await watch(client, id)
    const [telephone, email] = contacts()

    await client.mutation(changeContacts, {
      input: {
        organizationId: id,
        add: [{ website: { label: 'SERVICE_DESK', value: 'support.best-it.com' } }],
        update: [{ id: email!.id, change: { email: { value: 'office@best-it.com' } } }],
        remove: [{ id: telephone!.id }],
      },
    })

    await expect.poll(values).toEqual(['office@best-it.com', 'www.best-it.com', 'support.best-it.com'])
  })

  it('shows a change at once, and keeps it when it was made', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, history } = await watch(client, id)
    const email = contacts()[1]!
    const change = { email: { value: 'office@best-it.com' } }

    await client.mutation(updateContact, { input: { id: email.id, ifVersion: email.version, change } })

    await expect.poll(() => history(email.id)).toEqual(['1: info@best-it.com', '2: office@best-it.com'])
    await expect.poll(() => contacts()[1]).toMatchObject({ href: 'mailto:office@best-it.com' })
  })

  it('takes a change back that somebody else was faster than', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, history } = await watch(client, id)
    const email = contacts()[1]!
    await changeValue(email.id, { email: { value: 'faster@best-it.com' } })
    const change = { email: { value: 'slow@best-it.com' } }

    const { data } = await client.mutation(updateContact, { input: { id: email.id, ifVersion: email.version, change } })
    const { currentVersion } = expectType(data!.updateContact, 'ConflictError')

    expect(currentVersion).toBe(2)
    await expect
      .poll(() => history(email.id))
      .toEqual(['1: info@best-it.com', '2: slow@best-it.com', '1: info@best-it.com'])
  })

  it('shows what others change, live', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, values } = await watch(client, id)
    const [telephone, email, website] = contacts()
    await changeValue(email!.id, { email: { value: 'before@best-it.com' } })
    const watching = watchContacts(client, id)
    onTestFinished(() => watching.unsubscribe())
    // The list is read again once the subscription has begun.
    await expect.poll(() => values()[1]).toBe('before@best-it.com')

    const { added } = await addContacts(id, [{ telephone: { label: 'FAX', value: '+1 (203) 413 4881' } }])
    await expect.poll(values).toEqual([telephone!.value, '+1 (203) 413 4881', 'before@best-it.com', website!.value])
    await changeValue(email!.id, { email: { value: 'office@best-it.com' } })
    await expect.poll(values).toEqual([telephone!.value, '+1 (203) 413 4881', 'office@best-it.com', website!.value])
    await removeById(added[0].id)
    await expect.poll(values).toEqual([telephone!.value, 'office@best-it.com', website!.value])
    await clearAll(id)

    await expect.poll(values).toEqual([])
  })

  it('reads the errors of a mutation as data', async () => {
    const id = await makeOrganization()
    const client = createClient(url)
    const added = async (organizationId: string, value: string) => {
      const contact: NewContact = { email: { label: 'GENERAL', value } }
      return (await client.mutation(addContact, { input: { organizationId, contact } })).data!.addContact
    }
    expect(expectType(await added(id, 'nobody'), 'ValidationError').issues).toMatchObject([
      { path: ['contact', 'email', 'value'], code: 'INVALID_FORMAT' },
    ])
    expectType(await added('999999999', 'info@best-it.com'), 'NotFoundError')
  })

  it('hears of top-level errors', async () => {
    const id = await makeOrganization()

    const { error } = await createClient(url).query(contactsQuery, { id, first: 1000 })

    expect(codeOf(error)).toBe('BAD_USER_INPUT')
  })
  it('would print a warning of a field that the schema does not have', async () => {
    const client = createClient(url)
    await client.query(contactsQuery, { id: '1' })

    await client.query('query ($id: ID!) { organization(id: $id) { id nickname } }', { id: '1' })

    expect(printed.warn.mock.calls.flat().join()).toContain('nickname')
    printed.warn.mockClear()
  })
})
