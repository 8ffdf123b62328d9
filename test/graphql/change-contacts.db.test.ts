import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { changeContacts } from '../../src/domain/change-contacts.ts'
import type { Contact } from '../../src/domain/contacts.ts'
import { encodeId } from '../../src/domain/ids.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { dataOf, type Execute, executeFor, resultOf } from '../support/graphql.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let execute: Execute
let executeAsOther: Execute
let organization: Organization
let telephone: Contact
let email: Contact
let website: Contact
beforeAll(() => {
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})
beforeEach(async () => {
  organization = await anOrganization(database.ctx)
  telephone = await aContact(database.ctx, organization.id)
  email = await aContact(database.ctx, organization.id, { channel: 'email' })
  website = await aContact(database.ctx, organization.id, { channel: 'website' })
})

const change = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: ChangeContactsInput!) {
        changeContacts(input: $input) {
          __typename
          ... on UserError { message code path }
          ... on ValidationError { issues { path code } }
          ... on ConflictError { currentVersion }
          ... on ChangeContactsSuccess {
            added { ... on ContactDetails { label value version } }
            updated { ... on ContactDetails { databaseId label value version } }
            removedContactIds
            organization { contacts { nodes { ... on ContactDetails { value } } } }
          }
        }
      }`,
      { input },
    ),
  )
const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

describe('changeContacts', () => {
  it('adds, changes and removes together', async () => {
    const result = await change({
      organizationId: organization.id,
      add: [
        { website: { label: 'GENERAL', value: 'second.example' } },
        { telephone: { label: 'FAX', value: '+1 203 413 4881' } },
      ],
      update: [
        { id: website.id, change: { website: { value: 'first.example' } } },
        { id: encodeId('Contact', telephone.id), ifVersion: 1, change: { telephone: { label: 'SERVICE_DESK' } } },
      ],
      remove: [{ id: email.id, ifVersion: 1 }],
    })

    expect(result).toEqual({
      __typename: 'ChangeContactsSuccess',
      added: [
        { label: 'GENERAL', value: 'second.example', version: 1 },
        { label: 'FAX', value: '+1 203 413 4881', version: 1 },
      ],
      updated: [
        { databaseId: website.id, label: 'GENERAL', value: 'first.example', version: 2 },
        { databaseId: telephone.id, label: 'SERVICE_DESK', value: '+1 203 413 4880', version: 2 },
      ],
      removedContactIds: [encodeId('Contact', email.id)],
      organization: {
        contacts: {
          nodes: [
            { value: '+1 203 413 4880' },
            { value: '+1 203 413 4881' },
            { value: 'first.example' },
            { value: 'second.example' },
          ],
        },
      },
    })
  })

  it('keeps the reverse look-up in step', async () => {
    await change({
      organizationId: organization.id,
      add: [{ email: { label: 'GENERAL', value: 'added@change.example' } }],
      update: [{ id: website.id, change: { website: { value: 'changed.example' } } }],
      remove: [{ id: telephone.id }],
    })
    const found = await dataOf(
      execute(`{
        added: contacts(filter: { email: "added@change.example" }) { nodes { ... on ContactDetails { organization { databaseId } } } }
        changed: contacts(filter: { website: "changed.example" }) { nodes { ... on ContactDetails { databaseId } } }
        before: contacts(filter: { website: "www.best-it.com" }) { nodes { ... on ContactDetails { databaseId } } }
        removed: contacts(filter: { telephone: "+1 203 413 4880" }) { nodes { ... on ContactDetails { databaseId } } }
      }`),
    )

    expect(found.added.nodes).toEqual([{ organization: { databaseId: organization.id } }])
    expect(found.changed.nodes).toEqual([{ databaseId: website.id }])
    expect(found.before.nodes).not.toContainEqual({ databaseId: website.id })
    expect(found.removed.nodes).not.toContainEqual({ databaseId: telephone.id })
  })

  it('leaves alone what is already so, beside what is not', async () => {
    const result = await change({
      organizationId: organization.id,
      update: [
        { id: email.id, change: { email: { value: 'info@best-it.com' } } },
        { id: website.id, change: { website: { label: 'SERVICE_DESK' } } },
      ],
    })

    expect(result.updated).toMatchObject([
      { databaseId: email.id, version: 1 },
      { databaseId: website.id, version: 2 },
    ])
  })

  it.each([{}, { add: [], update: [], remove: [] }, { add: null, update: null, remove: null }])(
    'with nothing to do does nothing: %j',
    async (nothing) => {
      const result = await refused(() => change({ organizationId: organization.id, ...nothing }))

      expect(result).toMatchObject({
        __typename: 'ChangeContactsSuccess',
        added: [],
        updated: [],
        removedContactIds: [],
      })
    },
  )

  it('takes a hundred of each', async () => {
    const before = await Promise.all(Array.from({ length: 200 }, () => aContact(database.ctx, organization.id)))
    const result = await change({
      organizationId: organization.id,
      add: Array.from({ length: 100 }, (_, i) => ({ email: { label: 'GENERAL', value: `a${i}@b` } })),
      update: before.slice(0, 100).map(({ id }) => ({ id, change: { telephone: { label: 'FAX' } } })),
      remove: before.slice(100).map(({ id }) => ({ id })),
    })

    expect(result.added.map(({ value }: { value: string }) => value)).toEqual(
      Array.from({ length: 100 }, (_, i) => `a${i}@b`),
    )
    expect(result.updated.map(({ databaseId }: { databaseId: number }) => databaseId)).toEqual(
      before.slice(0, 100).map(({ id }) => id),
    )
    expect(result.removedContactIds).toEqual(before.slice(100).map(({ id }) => encodeId('Contact', id)))
  })
})

describe('changeContacts does nothing at all', () => {
  const good = () => ({
    add: [{ email: { label: 'GENERAL', value: 'new@example.com' } }],
    update: [{ id: website.id, change: { website: { value: 'new.example' } } }],
  })

  it('when a contact is not there', async () => {
    const result = await refused(() =>
      change({ organizationId: organization.id, ...good(), remove: [{ id: email.id }, { id: 999_999 }] }),
    )

    expect(result).toMatchObject({
      __typename: 'NotFoundError',
      message: 'Contact not found.',
      path: ['remove', '1', 'id'],
    })
  })

  it('when a contact is of another organization', async () => {
    const elsewhere = await aContact(database.ctx, (await anOrganization(database.ctx)).id)
    const result = await refused(() =>
      change({ organizationId: organization.id, ...good(), remove: [{ id: elsewhere.id }] }),
    )

    expect(result).toMatchObject({ __typename: 'NotFoundError', path: ['remove', '0', 'id'] })
  })

  it('when a contact has moved on', async () => {
    const result = await refused(() =>
      change({ organizationId: organization.id, ...good(), remove: [{ id: email.id, ifVersion: 7 }] }),
    )

    expect(result).toMatchObject({ __typename: 'ConflictError', path: ['remove', '0', 'ifVersion'], currentVersion: 1 })
  })

  it('when a contact is of another channel', async () => {
    const update = [
      { id: telephone.id, change: { website: { value: 'x.example' } } },
      { id: website.id, change: { website: { value: 'x.example' } } },
      { id: email.id, change: { telephone: { value: '1' } } },
    ]
    const result = await refused(() => change({ organizationId: organization.id, update }))

    expect(result.issues).toEqual([
      { path: ['update', '0', 'change', 'website'], code: 'CHANNEL_FIXED' },
      { path: ['update', '2', 'change', 'telephone'], code: 'CHANNEL_FIXED' },
    ])
  })

  it('when any part of the input is wrong, and tells every such part', async () => {
    const result = await refused(() =>
      change({
        organizationId: '-5',
        add: [
          { email: { label: 'GENERAL', value: 'new@example.com' } },
          { telephone: { label: 'FAX', value: 'none' } },
        ],
        update: [{ id: 'x', ifVersion: 0, change: { website: { value: '' } } }],
        remove: [{ id: 'y' }],
      }),
    )

    expect(result.issues).toEqual([
      { path: ['organizationId'], code: 'INVALID_ID' },
      { path: ['add', '1', 'telephone', 'value'], code: 'INVALID_FORMAT' },
      { path: ['update', '0', 'id'], code: 'INVALID_ID' },
      { path: ['update', '0', 'ifVersion'], code: 'OUT_OF_RANGE' },
      { path: ['update', '0', 'change', 'website', 'value'], code: 'BLANK' },
      { path: ['remove', '0', 'id'], code: 'INVALID_ID' },
    ])
  })

  it('when a contact is named twice', async () => {
    const result = await refused(() =>
      change({
        organizationId: organization.id,
        update: [{ id: website.id, change: { website: {} } }],
        remove: [{ id: encodeId('Contact', website.id) }, { id: email.id }, { id: email.id }],
      }),
    )

    expect(result.issues).toEqual([
      { path: ['remove', '0', 'id'], code: 'DUPLICATE' },
      { path: ['remove', '2', 'id'], code: 'DUPLICATE' },
    ])
  })

  it('when a list is too long', async () => {
    const remove = Array.from({ length: 101 }, (_, i) => ({ id: i + 1 }))
    const attempt = refused(() => changeContacts(database.ctx, { organizationId: organization.id, remove }))

    // Over GraphQL the limit of documents is met before.
    await expect(attempt).rejects.toMatchObject({
      message: 'remove has 101 items; at most 100 are allowed.',
      issues: [{ path: ['remove'], code: 'TOO_MANY' }],
    })
  })

  it('when the organization is not there, or belongs to another account', async () => {
    const unknown = await refused(() => change({ organizationId: 999_999, ...good() }))
    const foreign = await refused(() => change({ organizationId: organization.id, ...good() }, executeAsOther))

    expect(unknown).toMatchObject({
      __typename: 'NotFoundError',
      message: 'Organization not found.',
      path: ['organizationId'],
    })
    expect(foreign).toEqual(unknown)
  })
})
