import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Contact } from '../../src/domain/contacts.ts'
import { encodeId } from '../../src/domain/ids.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { dataOf, type Execute, executeFor, resultOf } from '../support/graphql.ts'
import { stateOf, unchanged } from '../support/state.ts'

const database = useDatabase()
let execute: Execute
let executeAsOther: Execute
let organization: Organization
beforeAll(() => {
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})
beforeEach(async () => {
  organization = await anOrganization(database.ctx)
})

const contactFields = '... on ContactDetails { databaseId label value integration version }'
const errorFields = `
  __typename
  ... on UserError { message code path }
  ... on ValidationError { issues { path code message } }
  ... on ConflictError { currentVersion }`

const add = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: AddContactInput!) { addContact(input: $input) { ${errorFields} ... on AddContactSuccess { contact { __typename ${contactFields} } organization { databaseId } } } }`,
      { input },
    ),
  )
const update = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: UpdateContactInput!) { updateContact(input: $input) { ${errorFields} ... on UpdateContactSuccess { contact { ${contactFields} } organization { databaseId } } } }`,
      { input },
    ),
  )
const remove = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: RemoveContactInput!) { removeContact(input: $input) { ${errorFields} ... on RemoveContactSuccess { removedContactId organization { databaseId contacts { totalCount } } } } }`,
      { input },
    ),
  )
const clear = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: ClearContactsInput!) { clearContacts(input: $input) { ${errorFields} ... on ClearContactsSuccess { removedContactIds organization { databaseId contacts { totalCount } } } } }`,
      { input },
    ),
  )

const read = async (id: number) => (await dataOf(execute(`{ contact(id: ${id}) { ${contactFields} } }`))).contact

const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

const notFound = (kind: string, path: string) => ({
  __typename: 'NotFoundError',
  message: `${kind} not found.`,
  code: 'NOT_FOUND',
  path: [path],
})

describe('addContact', () => {
  it.each([
    ['telephone', 'TelephoneContact', 'SERVICE_DESK_FAX', '+1 (800) 4-BEST-IT'],
    ['email', 'EmailContact', 'SERVICE_DESK', 'info@best-it.com'],
    ['website', 'WebsiteContact', 'GENERAL', 'https://best-it.com/a?b=c#d'],
  ])(
    'adds a %s exactly as it was entered, without surrounding white space',
    async (channel, typename, label, value) => {
      const result = await add({
        organizationId: encodeId('Organization', organization.id),
        contact: { [channel]: { label, value: ` \t\u00a0${value}\u2003\n` } },
      })

      expect(result).toEqual({
        __typename: 'AddContactSuccess',
        contact: { __typename: typename, databaseId: expect.any(Number), label, value, integration: false, version: 1 },
        organization: { databaseId: organization.id },
      })
    },
  )

  it('adds the same channel and label several times', async () => {
    const contact = { email: { label: 'GENERAL', value: 'info@best-it.com', integration: true } }
    await add({ organizationId: organization.id, contact })
    const second = await add({ organizationId: organization.id, contact })

    expect(second.contact).toMatchObject({ value: 'info@best-it.com', integration: true })
    const { organization: found } = await dataOf(
      execute(`{ organization(id: ${organization.id}) { contacts { totalCount } } }`),
    )
    expect(found.contacts.totalCount).toBe(2)
  })

  it('finds no organization where there is none, nor one of another account', async () => {
    const contact = { email: { label: 'GENERAL', value: 'info@best-it.com' } }
    const unknown = await refused(() => add({ organizationId: 999_999, contact }))
    const foreign = await refused(() => add({ organizationId: organization.id, contact }, executeAsOther))

    expect(unknown).toEqual(notFound('Organization', 'organizationId'))
    expect(foreign).toEqual(unknown)
  })

  it('tells everything that is wrong at once', async () => {
    const result = await refused(() =>
      add({
        organizationId: 'nonsense',
        contact: { email: { label: 'GENERAL', value: `no address\u0007${'x'.repeat(255)}` } },
      }),
    )

    expect(result.issues).toEqual([
      {
        path: ['organizationId'],
        code: 'INVALID_ID',
        message: 'Organization id "nonsense" is neither a global id nor a positive integer.',
      },
      {
        path: ['contact', 'email', 'value'],
        code: 'TOO_LONG',
        message: 'Email is too long: 266 characters, at most 255 are allowed.',
      },
      {
        path: ['contact', 'email', 'value'],
        code: 'INVALID_CHARACTER',
        message: 'Email holds the control character U+0007.',
      },
      { path: ['contact', 'email', 'value'], code: 'INVALID_FORMAT', message: 'Email must not hold white space.' },
    ])
  })
})

describe('updateContact', () => {
  let contact: Contact
  beforeEach(async () => {
    contact = await aContact(database.ctx, organization.id, { label: 'fax' })
  })

  it('changes what is given and keeps the rest', async () => {
    const first = await update({
      id: encodeId('Contact', contact.id),
      change: { telephone: { value: ' +44 20 7946 0958 ' } },
    })
    const second = await update({ id: contact.id, change: { telephone: { label: 'GENERAL' } } })
    const third = await update({ id: contact.id, change: { telephone: { integration: true } } })

    const databaseId = contact.id
    expect(first.contact).toEqual({
      databaseId,
      label: 'FAX',
      value: '+44 20 7946 0958',
      integration: false,
      version: 2,
    })
    expect(second.contact).toEqual({
      databaseId,
      label: 'GENERAL',
      value: '+44 20 7946 0958',
      integration: false,
      version: 3,
    })
    expect(third.contact).toEqual({
      databaseId,
      label: 'GENERAL',
      value: '+44 20 7946 0958',
      integration: true,
      version: 4,
    })
  })

  it('moves the contact to its new place in the reverse look-up', async () => {
    await update({ id: contact.id, change: { telephone: { value: '+31 20 794 0810 or +1 203 413 4880' } } })
    const found = async (telephone: string) =>
      (
        await dataOf(
          execute(
            'query($filter: ContactSearch!) { contacts(filter: $filter) { nodes { ... on ContactDetails { databaseId } } } }',
            { filter: { telephone } },
          ),
        )
      ).contacts.nodes
    expect(await found('020 794 0810')).toContainEqual({ databaseId: contact.id })
    expect(await found('+1 203 413 4880')).toContainEqual({ databaseId: contact.id })

    await update({ id: contact.id, change: { telephone: { value: '+44 20 7946 0959' } } })

    expect(await found('020 794 0810')).not.toContainEqual({ databaseId: contact.id })
    expect(await found('+1 203 413 4880')).not.toContainEqual({ databaseId: contact.id })
    expect(await found('+44 20 7946 0959')).toContainEqual({ databaseId: contact.id })
  })

  it.each([
    ['no part', {}],
    ['the parts that it has', { label: 'FAX', value: '+1 203 413 4880', integration: false }],
  ])('leaves a contact alone when given %s', async (_, change) => {
    const result = await refused(() => update({ id: contact.id, ifVersion: 1, change: { telephone: change } }))

    expect(result).toMatchObject({
      __typename: 'UpdateContactSuccess',
      contact: { databaseId: contact.id, version: 1 },
    })
  })

  it('refuses null, which is not the same as leaving out', async () => {
    const result = await refused(() =>
      update({ id: contact.id, change: { telephone: { label: null, value: null, integration: null } } }),
    )

    expect(result.issues).toEqual([
      { path: ['change', 'telephone', 'label'], code: 'REQUIRED', message: "Label can't be blank." },
      { path: ['change', 'telephone', 'value'], code: 'REQUIRED', message: "Telephone can't be blank." },
      { path: ['change', 'telephone', 'integration'], code: 'REQUIRED', message: 'Integration must be true or false.' },
    ])
  })

  it('refuses another channel', async () => {
    const result = await refused(() => update({ id: contact.id, change: { email: { value: 'info@best-it.com' } } }))

    expect(result).toEqual({
      __typename: 'ValidationError',
      message: 'The channel of the contact is telephone and cannot become email: add a new contact instead.',
      code: 'VALIDATION_FAILED',
      path: ['change', 'email'],
      issues: [
        {
          path: ['change', 'email'],
          code: 'CHANNEL_FIXED',
          message: 'The channel of the contact is telephone and cannot become email: add a new contact instead.',
        },
      ],
    })
  })

  it('refuses another version than it has, and tells which that is', async () => {
    await update({ id: contact.id, ifVersion: 1, change: { telephone: { label: 'GENERAL' } } })
    const result = await refused(() =>
      update({ id: contact.id, ifVersion: 1, change: { telephone: { label: 'SERVICE_DESK' } } }),
    )

    expect(result).toEqual({
      __typename: 'ConflictError',
      message: 'The contact is at version 2, not 1: read it again before changing it.',
      code: 'CONFLICT',
      path: ['ifVersion'],
      currentVersion: 2,
    })
  })

  it.each([0, -1])('refuses %i, which is no version', async (ifVersion) => {
    const result = await refused(() =>
      update({ id: contact.id, ifVersion, change: { telephone: { label: 'GENERAL' } } }),
    )

    expect(result.issues).toMatchObject([{ path: ['ifVersion'], code: 'OUT_OF_RANGE' }])
  })

  it('finds no contact where there is none, nor one of another account', async () => {
    const change = { telephone: { label: 'GENERAL' } }
    const unknown = await refused(() => update({ id: 999_999, ifVersion: 1, change }))
    const foreign = await refused(() => update({ id: contact.id, ifVersion: 1, change }, executeAsOther))

    expect(unknown).toEqual(notFound('Contact', 'id'))
    expect(foreign).toEqual(unknown)
  })
})

describe('removeContact', () => {
  it('removes a contact and leaves the others', async () => {
    const [gone, kept] = [await aContact(database.ctx, organization.id), await aContact(database.ctx, organization.id)]
    const result = await remove({ id: encodeId('Contact', gone.id), ifVersion: 1 })

    expect(result).toEqual({
      __typename: 'RemoveContactSuccess',
      removedContactId: encodeId('Contact', gone.id),
      organization: { databaseId: organization.id, contacts: { totalCount: 1 } },
    })
    expect(await read(gone.id)).toBeNull()
    expect(await read(kept.id)).toMatchObject({ databaseId: kept.id })
  })

  it('takes its keys out of the reverse look-up', async () => {
    const contact = await aContact(database.ctx, organization.id, { channel: 'website', value: 'only-once.example' })
    await remove({ id: contact.id })

    const lookups = (await stateOf(database.db)).filter((line) => line.startsWith('lookup'))
    expect(lookups.filter((line) => line.includes('only-once'))).toEqual([])
  })

  it('refuses another version than it has', async () => {
    const contact = await aContact(database.ctx, organization.id)
    const result = await refused(() => remove({ id: contact.id, ifVersion: 2 }))

    expect(result).toMatchObject({ __typename: 'ConflictError', path: ['ifVersion'], currentVersion: 1 })
  })

  it('finds no contact where there is none any more, nor one of another account', async () => {
    const contact = await aContact(database.ctx, organization.id)
    const foreign = await refused(() => remove({ id: contact.id }, executeAsOther))
    await remove({ id: contact.id })
    const again = await refused(() => remove({ id: contact.id }))

    expect(again).toEqual(notFound('Contact', 'id'))
    expect(foreign).toEqual(again)
  })
})

describe('clearContacts', () => {
  it('removes all contacts of the organization and tells exactly which, in list order', async () => {
    const beside = await anOrganization(database.ctx, { parentId: organization.id })
    const kept = await aContact(database.ctx, beside.id)
    const website = await aContact(database.ctx, organization.id, { channel: 'website' })
    const fax = await aContact(database.ctx, organization.id, { label: 'fax' })
    const telephone = await aContact(database.ctx, organization.id)
    const result = await clear({ organizationId: organization.id })

    expect(result).toEqual({
      __typename: 'ClearContactsSuccess',
      removedContactIds: [telephone, fax, website].map(({ id }) => encodeId('Contact', id)),
      organization: { databaseId: organization.id, contacts: { totalCount: 0 } },
    })
    expect(await read(kept.id)).toMatchObject({ databaseId: kept.id })
  })

  it('of an organization without contacts removes none', async () => {
    expect((await clear({ organizationId: organization.id })).removedContactIds).toEqual([])
  })

  it('finds no organization where there is none, nor one of another account', async () => {
    await aContact(database.ctx, organization.id)
    const unknown = await refused(() => clear({ organizationId: 999_999 }))
    const foreign = await refused(() => clear({ organizationId: organization.id }, executeAsOther))

    expect(unknown).toEqual(notFound('Organization', 'organizationId'))
    expect(foreign).toEqual(unknown)
  })
})

describe('ids that cannot be', () => {
  it.each([
    [
      'an organization for a contact',
      () => encodeId('Organization', 1),
      'is the id of an object of type Organization.',
    ],
    ['a negative integer', () => '-1', 'is neither a global id nor a positive integer.'],
    ['zero', () => '0', 'is neither a global id nor a positive integer.'],
    ['one beyond 2^53', () => '9007199254740993', 'is above 9007199254740991, the largest id there can be.'],
    ['a long text', () => 'x'.repeat(1000), 'is neither a global id nor a positive integer.'],
    ['NUL', () => '\0', 'is neither a global id nor a positive integer.'],
    ['nothing', () => '', 'is neither a global id nor a positive integer.'],
  ])('are refused as data: %s', async (_, id, message) => {
    const results = [
      await refused(() => remove({ id: id() })),
      await refused(() => update({ id: id(), change: { telephone: {} } })),
    ]

    for (const result of results) {
      expect(result.issues).toEqual([{ path: ['id'], code: 'INVALID_ID', message: expect.stringContaining(message) }])
    }
  })
})

describe('values that cannot be', () => {
  it.each([
    ['telephone', 'x'.repeat(5), 'INVALID_FORMAT', 'Telephone must hold at least one digit.'],
    ['telephone', '   ', 'BLANK', "Telephone can't be blank."],
    ['telephone', '1\u00002', 'INVALID_CHARACTER', 'Telephone holds the control character U+0000.'],
    ['telephone', '1\ud800', 'INVALID_CHARACTER', 'Telephone holds half of a surrogate pair.'],
    ['email', 'a@b@c', 'INVALID_FORMAT', 'Email must have exactly one @, with text on both sides.'],
    ['email', '@b', 'INVALID_FORMAT', 'Email must have exactly one @, with text on both sides.'],
    ['email', 'a b@c', 'INVALID_FORMAT', 'Email must not hold white space.'],
    ['website', 'a b', 'INVALID_FORMAT', 'Website must not hold white space.'],
    [
      'website',
      'JavaScript:alert(1)',
      'INVALID_FORMAT',
      'Website must not have the scheme "javascript"; only http and https are allowed.',
    ],
    ['website', '\u200b', 'BLANK', "Website can't be blank."],
  ])('are refused: %s %j', async (channel, value, code, message) => {
    const added = await refused(() =>
      add({ organizationId: organization.id, contact: { [channel]: { label: 'GENERAL', value } } }),
    )
    const contact = await aContact(database.ctx, organization.id, { channel: channel as 'email' })
    const updated = await refused(() => update({ id: contact.id, change: { [channel]: { value } } }))

    expect(added.issues).toEqual([{ path: ['contact', channel, 'value'], code, message }])
    expect(updated.issues).toEqual([{ path: ['change', channel, 'value'], code, message }])
  })

  it.each([
    ['ASCII', 'x'],
    ['emoji', '😀'],
  ])('are longer than 255 code points of %s', async (_, character) => {
    const addOf = (length: number) =>
      add({
        organizationId: organization.id,
        contact: { website: { label: 'GENERAL', value: character.repeat(length) } },
      })

    expect((await addOf(254)).__typename).toBe('AddContactSuccess')
    expect((await addOf(255)).contact).toMatchObject({ value: character.repeat(255) })
    const tooLong = await refused(() => addOf(256))
    expect(tooLong.issues).toEqual([
      {
        path: ['contact', 'website', 'value'],
        code: 'TOO_LONG',
        message: 'Website is too long: 256 characters, at most 255 are allowed.',
      },
    ])
  })
})

describe('what the schema itself refuses', () => {
  it.each([
    [
      'a label that the channel does not have',
      { organizationId: 1, contact: { email: { label: 'FAX', value: 'a@b' } } },
    ],
    [
      'two channels',
      {
        organizationId: 1,
        contact: { email: { label: 'GENERAL', value: 'a@b' }, website: { label: 'GENERAL', value: 'b' } },
      },
    ],
    ['no channel', { organizationId: 1, contact: {} }],
    ['null for a channel', { organizationId: 1, contact: { email: null } }],
    ['a number for a text', { organizationId: 1, contact: { telephone: { label: 'GENERAL', value: 1 } } }],
    ['a missing label', { organizationId: 1, contact: { telephone: { value: '1' } } }],
    [
      'a field that is not there',
      { organizationId: 1, contact: { telephone: { label: 'GENERAL', value: '1', id: 5 } } },
    ],
  ])('is a top-level error with a code: %s', async (_, input) => {
    const answer = await refused(() =>
      execute('mutation($input: AddContactInput!) { addContact(input: $input) { __typename } }', { input }),
    )

    expect(answer.data).toBeUndefined()
    expect(answer.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }])
  })

  it('is an update that names no channel', async () => {
    const answer = await refused(() =>
      execute('mutation { updateContact(input: { id: 1, change: {} }) { __typename } }'),
    )

    expect(answer.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }])
  })
})
