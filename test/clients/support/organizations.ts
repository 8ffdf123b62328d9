import { randomUUID } from 'node:crypto'
import { expect, inject } from 'vitest'
import { executeAt } from '../../support/gateway.ts'
import { resultOf } from '../../support/graphql.ts'

/** The address of a gateway with the sample. */
export const url = inject('gatewayUrl')

// What is done by these, the clients do not know of.
const execute = executeAt(url)

/** An organization that only this test knows, with the contacts that `add` of `changeContacts` takes; its global id. */
export async function makeOrganization(contacts: object[] = [], parentId?: string): Promise<string> {
  const { organization } = await resultOf(
    execute(
      `mutation ($input: CreateOrganizationInput!) {
        createOrganization(input: $input) { ... on CreateOrganizationSuccess { organization { id } } }
      }`,
      { input: { name: randomUUID(), parentId } },
    ),
  )
  if (contacts.length > 0) await addContacts(organization.id, contacts)
  return organization.id
}

export const addContacts = (organizationId: string, add: object[]) =>
  resultOf(
    execute(
      `mutation ($input: ChangeContactsInput!) {
        changeContacts(input: $input) { ... on ChangeContactsSuccess { added { ... on Node { id } } } }
      }`,
      { input: { organizationId, add } },
    ),
  )

export const changeValue = (id: string, change: object) =>
  resultOf(
    execute('mutation ($input: UpdateContactInput!) { updateContact(input: $input) { __typename } }', {
      input: { id, change },
    }),
  )

export const removeById = (id: string) =>
  resultOf(
    execute('mutation ($input: RemoveContactInput!) { removeContact(input: $input) { __typename } }', {
      input: { id },
    }),
  )

export const clearAll = (organizationId: string) =>
  resultOf(
    execute('mutation ($input: ClearContactsInput!) { clearContacts(input: $input) { __typename } }', {
      input: { organizationId },
    }),
  )

/** One of each member of the union, in the order of lists. */
export const oneOfEach = [
  { telephone: { label: 'GENERAL', value: '+1 (800) 423 7848' } },
  { email: { label: 'GENERAL', value: 'info@best-it.com' } },
  { website: { label: 'GENERAL', value: 'www.best-it.com' } },
]

/** Contacts in the order of lists. */
export const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ website: { label: 'GENERAL', value: `page-${i + 1}.example` } }))

export const valuesOf = (contacts: object[]): string[] =>
  contacts.flatMap((contact) => Object.values(contact).map(({ value }) => value))

/** The result of a mutation, as the member of its union that it must be. */
export function expectType<Result extends { __typename: string }, Name extends Result['__typename']>(
  result: Result,
  name: Name,
): Extract<Result, { __typename: Name }> {
  expect(result.__typename).toBe(name)
  return result as Extract<Result, { __typename: Name }>
}
