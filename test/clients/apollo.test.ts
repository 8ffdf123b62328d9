import type { ApolloClient } from '@apollo/client'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { codeOf, createClient } from './snippets/apollo'
import { add, change, clear, remove } from './snippets/apollo-changes'
import { watchContacts } from './snippets/apollo-live'
import { changeContacts } from './snippets/changes'
import { contactsQuery, lineOf, treeQuery } from './snippets/contacts'
import type { ContactsQuery } from './snippets/gql/graphql'
import possibleTypes from './snippets/possibleTypes.json'
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

/** Watches the contacts of an organization as a component does. It hears of changes a little later. */
async function watch(client: ApolloClient, id: string, first = 100) {
  const query = client.watchQuery({ query: contactsQuery, variables: { id, first } })
  const shown: Contacts[] = []
  query.subscribe(({ data, dataState }) => {
    if (dataState === 'complete') shown.push(data.organization!.contacts)
  })
  await vi.waitFor(() => expect(shown).not.toEqual([]))
  const contacts = () => shown.at(-1)!.edges.map(({ node }) => node)
  return {
    query,
    contacts,
    pageInfo: () => shown.at(-1)!.pageInfo,
    values: () => contacts().map(({ value }) => value),
    /** What it has shown of one contact, one after the other. */
    history: (id: string) =>
      shown
        .map(({ edges }) => edges.find(({ node }) => node.id === id)!.node)
        .map(({ value, version }) => `${version}: ${value}`)
        .filter((line, i, lines) => line !== lines[i - 1]),
  }
}

type Contacts = NonNullable<ContactsQuery['organization']>['contacts']

describe('Apollo Client', () => {
  it('reads nested organizations with every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)
    await makeOrganization(oneOfEach, id)

    const { data } = await createClient(url).query({ query: treeQuery, variables: { id } })

    const lines = ['+1 (800) 423 7848 (+18004237848)', 'info@best-it.com', 'www.best-it.com']
    const { contacts, children } = data!.organization!
    expect(contacts.edges.map(({ node }) => lineOf(node))).toEqual(lines)
    expect(children.edges.map(({ node }) => node.contacts.edges.map((edge) => lineOf(edge.node)))).toEqual([lines])
  })

  it('keeps each object once, under its id', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts } = await watch(client, id)

    const kept = client.cache.extract() as Record<string, { __typename: string; value?: string }>

    expect(kept[id]!.__typename).toBe('Organization')
    for (const { id, __typename, value } of contacts()) expect(kept[id]).toMatchObject({ __typename, value })
  })

  it('fetches more, and joins the pages', async () => {
    const all = numbered(5)
    const id = await makeOrganization(all)
    const { query, values, pageInfo } = await watch(createClient(url), id, 2)
    expect(values()).toEqual(valuesOf(all.slice(0, 2)))

    for (const count of [4, 5]) {
      await query.fetchMore({ variables: { after: pageInfo().endCursor } })
      await expect.poll(values).toEqual(valuesOf(all.slice(0, count)))
    }

    expect(pageInfo().hasNextPage).toBe(false)
  })

  it('shows a contact that was added where it belongs', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { values } = await watch(client, id)

    const { data } = await add(client, id, { telephone: { label: 'FAX', value: '+1 (203) 413 4881' } })

    expect(data!.addContact.__typename).toBe('AddContactSuccess')
    const [telephone, ...others] = valuesOf(oneOfEach)
    await expect.poll(values).toEqual([telephone, '+1 (203) 413 4881', ...others])
  })

  it('shows a contact no longer that was removed', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, values } = await watch(client, id)
    const [telephone, email, website] = valuesOf(oneOfEach)
    expect(values()).toEqual([telephone, email, website])

    await remove(client, contacts()[1]!)

    await expect.poll(values).toEqual([telephone, website])
  })

  it('shows none after they were cleared', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { values } = await watch(client, id)

    await clear(client, id)

    await expect.poll(values).toEqual([])
  })

  it('shows several changes that were made at once', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, values } = await watch(client, id)
    const [telephone, email] = contacts()

    await client.mutate({
      mutation: changeContacts,
      variables: {
        input: {
          organizationId: id,
          add: [{ website: { label: 'SERVICE_DESK', value: 'support.best-it.com' } }],
          update: [{ id: email!.id, change: { email: { value: 'office@best-it.com' } } }],
          remove: [{ id: telephone!.id }],
        },
      },
    })

    await expect.poll(values).toEqual(['office@best-it.com', 'www.best-it.com', 'support.best-it.com'])
  })

  it('shows a change at once, and keeps it when it was made', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { contacts, history } = await watch(client, id)
    const email = contacts()[1]!

    const changed = change(client, email, 'office@best-it.com', { email: { value: 'office@best-it.com' } })

    await expect.poll(() => history(email.id)).toEqual(['1: info@best-it.com', '2: office@best-it.com'])
    await changed
    await expect.poll(() => contacts()[1]).toMatchObject({ href: 'mailto:office@best-it.com', version: 2 })
  })

  it('takes a change back that somebody else was faster than', async () => {
    const id = await makeOrganization(oneOfEach)
    const client = createClient(url)
    const { query, contacts, history } = await watch(client, id)
    const email = contacts()[1]!
    await changeValue(email.id, { email: { value: 'faster@best-it.com' } })

    const { data } = await change(client, email, 'slow@best-it.com', { email: { value: 'slow@best-it.com' } })
    const { currentVersion } = expectType(data!.updateContact, 'ConflictError')
    await query.refetch()

    expect(currentVersion).toBe(2)
    await expect
      .poll(() => history(email.id))
      .toEqual(['1: info@best-it.com', '2: slow@best-it.com', '1: info@best-it.com', '2: faster@best-it.com'])
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
    const added = async (organizationId: string, value: string) =>
      (await add(client, organizationId, { email: { label: 'GENERAL', value } })).data!.addContact

    expect(await added(id, 'nobody')).toMatchObject({
      __typename: 'ValidationError',
      issues: [{ path: ['contact', 'email', 'value'], code: 'INVALID_FORMAT' }],
    })
    expect(await added('999999999', 'info@best-it.com')).toMatchObject({ __typename: 'NotFoundError' })
  })

  it('hears of top-level errors', async () => {
    const id = await makeOrganization()

    const read = createClient(url).query({ query: contactsQuery, variables: { id, first: 1000 } })

    expect(codeOf(await read.catch((error) => error))).toBe('BAD_USER_INPUT')
  })

  describe('on a page that is older than a member of the union', () => {
    afterEach(() => {
      vi.doUnmock('./snippets/possibleTypes.json')
      vi.resetModules()
    })

    it('reads what ContactDetails has of it', async () => {
      const id = await makeOrganization(oneOfEach)
      const older = mapValues(possibleTypes, (members) => members.filter((name) => name !== 'WebsiteContact'))
      vi.resetModules()
      vi.doMock('./snippets/possibleTypes.json', () => ({ default: older }))
      const { createClient: createOlder } = await import('./snippets/apollo')

      const { data } = await createOlder(url).query({ query: contactsQuery, variables: { id } })

      expect(data!.organization!.contacts.edges.map(({ node }) => lineOf(node)).at(-1)).toBe('www.best-it.com')
    })
  })
})

const mapValues = <Value>(object: Record<string, Value>, change: (value: Value) => Value) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]))
