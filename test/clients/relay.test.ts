import {
  createOperationDescriptor,
  type Environment,
  fetchQuery,
  getFragment,
  getRequest,
  getSingularSelector,
  type Variables,
} from 'relay-runtime'
import { describe, expect, it, onTestFinished } from 'vitest'
import { add, change, changeSeveral, clear, remove } from './snippets/relay/changes'
import { contactFragment, contactsQuery, loadMore, organizationFragment } from './snippets/relay/contacts'
import { codeOf, createEnvironment } from './snippets/relay/environment'
import { watchContacts } from './snippets/relay/live'
import {
  addContacts,
  changeValue,
  clearAll,
  makeOrganization,
  numbered,
  oneOfEach,
  removeById,
  url,
  valuesOf,
} from './support/organizations.ts'

// biome-ignore lint/suspicious/noExplicitAny: what fragments read is typed where components use them
type Data = any

/** Reads a fragment as a component does. */
const read = (environment: Environment, fragment: typeof organizationFragment, reference: Data): Data =>
  environment.lookup(getSingularSelector(getFragment(fragment), reference)!).data

/** Loads the page, and keeps it as a mounted component does; tells what the component shows at any time. */
async function show(environment: Environment, variables: Variables) {
  const operation = createOperationDescriptor(getRequest(contactsQuery), variables)
  environment.retain(operation)
  await fetchQuery(environment, contactsQuery, variables).toPromise()
  const root = () => (environment.lookup(operation.fragment).data as Data).organization
  const organization = (reference = root()) => read(environment, organizationFragment, reference)
  const contacts = (reference = root()): Data[] =>
    organization(reference).contacts.edges.map(({ node }: Data) => read(environment, contactFragment, node))
  return {
    root,
    organization,
    contacts,
    values: (reference = root()) => contacts(reference).map(({ value }) => value),
  }
}

describe('Relay', () => {
  it('reads nested organizations with every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)
    const childId = await makeOrganization(oneOfEach, id)
    const environment = createEnvironment(url)

    const { contacts, root } = await show(environment, { id })

    const expected = [
      { __typename: 'TelephoneContact', label: 'GENERAL', value: '+1 (800) 423 7848', numbers: ['+18004237848'] },
      { __typename: 'EmailContact', label: 'GENERAL', value: 'info@best-it.com' },
      { __typename: 'WebsiteContact', label: 'GENERAL', value: 'www.best-it.com' },
    ].map((contact) => expect.objectContaining(contact))
    expect(contacts()).toEqual(expected)
    const [child] = root().children.edges
    expect(child.node.id).toBe(childId)
    expect(contacts(child.node)).toEqual(expected)
  })

  it('loads more of a connection through node', async () => {
    const all = numbered(5)
    const id = await makeOrganization(all)
    const environment = createEnvironment(url)
    const { organization, values } = await show(environment, { id, count: 2 })
    expect(values()).toEqual(valuesOf(all.slice(0, 2)))

    while (organization().contacts.pageInfo.hasNextPage) {
      await loadMore(environment, { id, count: 2, cursor: organization().contacts.pageInfo.endCursor })
    }

    expect(values()).toEqual(valuesOf(all))
  })

  it('appends a node that was added to the connection', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { organization, contacts, values } = await show(environment, { id })

    const { addContact } = await add(environment, organization().contacts.__id, id, {
      telephone: { label: 'FAX', value: '+1 (203) 413 4881' },
    })

    expect(addContact.__typename).toBe('AddContactSuccess')
    expect(values()).toEqual([...valuesOf(oneOfEach), '+1 (203) 413 4881'])
    expect(contacts().at(-1)).toMatchObject({ __typename: 'TelephoneContact', numbers: ['+12034134881'] })
  })

  it('deletes the records of contacts that were removed', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { organization, contacts, values } = await show(environment, { id })

    const { removeContact } = await remove(environment, organization().contacts.__id, contacts()[1].id)

    expect(removeContact.__typename).toBe('RemoveContactSuccess')
    expect(values()).toEqual(['+1 (800) 423 7848', 'www.best-it.com'])
  })

  it('deletes the records of all contacts when they were cleared', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { organization, values } = await show(environment, { id })

    const { clearContacts } = await clear(environment, organization().contacts.__id, id)

    expect(clearContacts.__typename).toBe('ClearContactsSuccess')
    expect(values()).toEqual([])
  })

  it('shows several changes that were made at once', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { contacts, values } = await show(environment, { id })
    const [telephone, email] = contacts()

    const { changeContacts } = await changeSeveral(environment, {
      organizationId: id,
      add: [{ website: { label: 'SERVICE_DESK', value: 'support.best-it.com' } }],
      update: [{ id: email.id, change: { email: { value: 'office@best-it.com' } } }],
      remove: [{ id: telephone.id }],
    })

    expect(changeContacts.__typename).toBe('ChangeContactsSuccess')
    expect(values()).toEqual(['office@best-it.com', 'www.best-it.com', 'support.best-it.com'])
  })

  it('shows a change at once, and keeps it when it was made', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { contacts, values } = await show(environment, { id })

    const changed = change(environment, contacts()[1], 'office@best-it.com', { email: { value: 'office@best-it.com' } })

    expect(values()[1]).toBe('office@best-it.com')
    await changed
    expect(contacts()[1]).toMatchObject({ value: 'office@best-it.com', version: 2 })
  })

  it('takes a change back that somebody else was faster than', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { contacts, values } = await show(environment, { id })
    await changeValue(contacts()[1].id, { email: { value: 'faster@best-it.com' } })

    const changed = change(environment, contacts()[1], 'slow@best-it.com', { email: { value: 'slow@best-it.com' } })

    expect(values()[1]).toBe('slow@best-it.com')
    expect((await changed).updateContact).toMatchObject({ __typename: 'ConflictError', currentVersion: 2 })
    expect(values()[1]).toBe('info@best-it.com')
  })

  it('shows what others change, live', async () => {
    const id = await makeOrganization(oneOfEach)
    const environment = createEnvironment(url)
    const { organization, contacts, values } = await show(environment, { id })
    const [telephone, email, website] = contacts()
    await changeValue(email.id, { email: { value: 'before@best-it.com' } })
    const watching = watchContacts(environment, organization().contacts.__id, id)
    onTestFinished(() => watching.dispose())
    // The list is read again once the subscription has begun.
    await expect.poll(() => values()[1]).toBe('before@best-it.com')

    const { added } = await addContacts(id, [{ telephone: { label: 'FAX', value: '+1 (203) 413 4881' } }])
    await expect
      .poll(() => values())
      .toEqual([telephone.value, 'before@best-it.com', website.value, '+1 (203) 413 4881'])
    await changeValue(email.id, { email: { value: 'office@best-it.com' } })
    await expect
      .poll(() => values())
      .toEqual([telephone.value, 'office@best-it.com', website.value, '+1 (203) 413 4881'])
    await removeById(added[0].id)
    await expect.poll(() => values()).toEqual([telephone.value, 'office@best-it.com', website.value])
    await clearAll(id)

    await expect.poll(() => values()).toEqual([])
  })

  it('reads the errors of a mutation as data', async () => {
    const id = await makeOrganization()
    const environment = createEnvironment(url)
    const added = async (organizationId: string, value: string) =>
      (await add(environment, '', organizationId, { email: { label: 'GENERAL', value } })).addContact

    expect(await added(id, 'nobody')).toMatchObject({
      __typename: 'ValidationError',
      issues: [{ path: ['contact', 'email', 'value'] }],
    })
    expect(await added('999999999', 'info@best-it.com')).toMatchObject({ __typename: 'NotFoundError' })
  })

  it('hears of top-level errors', async () => {
    const id = await makeOrganization()

    const loaded = loadMore(createEnvironment(url), { id, count: 1000 })

    expect(codeOf(await loaded.catch((error) => error))).toBe('BAD_USER_INPUT')
  })
})
