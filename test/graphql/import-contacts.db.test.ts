import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { Contact } from '../../src/domain/contacts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { importContacts, maxImported } from '../../src/domain/import-contacts.ts'
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
  email = await aContact(database.ctx, organization.id, { channel: 'email', integration: true })
  website = await aContact(database.ctx, organization.id, { channel: 'website', integration: true })
})

const document = `mutation($input: ImportContactsInput!) {
  importContacts(input: $input) {
    __typename
    ... on UserError { message code path }
    ... on ValidationError { issues { path code message } }
    ... on ImportContactsSuccess {
      results { outcome contact { ... on ContactDetails { databaseId label value integration version } } }
      removedContactIds
      organization { contacts { totalCount nodes { ... on ContactDetails { value } } } }
      query { organization(id: 1) { name } }
    }
  }
}`
const send = (input: object, as = execute) => resultOf(as(document, { input }))
const run = (given: object, as = execute) => send({ organizationId: organization.id, ...given }, as)
const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

/** As the factory makes them. */
const theTelephone = { telephone: { label: 'GENERAL', value: '+1 203 413 4880' } }
const theEmail = { email: { label: 'GENERAL', value: 'info@best-it.com', integration: true } }
const theWebsite = { website: { label: 'GENERAL', value: 'www.best-it.com', integration: true } }
const anEmail = (value: string, integration = false) => ({ email: { label: 'GENERAL', value, integration } })

interface Imported {
  outcome: string
  contact: { databaseId: number; value: string; version: number }
}
const outcomesOf = ({ results }: { results: Imported[] }) => results.map(({ outcome }) => outcome)
const idsOf = ({ results }: { results: Imported[] }) => results.map(({ contact }) => contact.databaseId)
const globalIds = (...contacts: { id: number }[]) => contacts.map(({ id }) => encodeId('Contact', id))

describe('importContacts', () => {
  it('adds what is not there, changes what is named by its id, and leaves what is there already', async () => {
    const result = await run({
      contacts: [
        { contact: anEmail('new@import.example') },
        { contact: theTelephone },
        {
          id: encodeId('Contact', website.id),
          contact: { website: { label: 'SERVICE_DESK', value: ' desk.example ', integration: false } },
        },
        { id: email.id, contact: theEmail },
      ],
    })

    expect(result).toEqual({
      __typename: 'ImportContactsSuccess',
      results: [
        {
          outcome: 'CREATED',
          contact: {
            databaseId: expect.any(Number),
            label: 'GENERAL',
            value: 'new@import.example',
            integration: false,
            version: 1,
          },
        },
        {
          outcome: 'UNCHANGED',
          contact: {
            databaseId: telephone.id,
            label: 'GENERAL',
            value: '+1 203 413 4880',
            integration: false,
            version: 1,
          },
        },
        {
          outcome: 'UPDATED',
          contact: {
            databaseId: website.id,
            label: 'SERVICE_DESK',
            value: 'desk.example',
            integration: false,
            version: 2,
          },
        },
        {
          outcome: 'UNCHANGED',
          contact: {
            databaseId: email.id,
            label: 'GENERAL',
            value: 'info@best-it.com',
            integration: true,
            version: 1,
          },
        },
      ],
      removedContactIds: [],
      organization: {
        contacts: {
          totalCount: 4,
          nodes: [
            { value: '+1 203 413 4880' },
            { value: 'info@best-it.com' },
            { value: 'new@import.example' },
            { value: 'desk.example' },
          ],
        },
      },
      query: { organization: null },
    })
  })

  it('changes nothing when it is sent again', async () => {
    const given = {
      contacts: [
        { contact: anEmail('twice@import.example') },
        { id: email.id, contact: anEmail('twice@import.example') },
        { contact: anEmail('twice@import.example') },
      ],
      mode: 'REPLACE_INTEGRATION',
    }
    const first = await run(given)
    const again = await refused(() => run(given))

    expect(outcomesOf(first)).toEqual(['CREATED', 'UPDATED', 'CREATED'])
    expect(outcomesOf(again)).toEqual(['UNCHANGED', 'UNCHANGED', 'UNCHANGED'])
    expect(idsOf(again)).toEqual(idsOf(first))
    expect(again.removedContactIds).toEqual([])
  })

  it('tells contacts apart by label and integration, too', async () => {
    const result = await run({
      contacts: [
        { contact: { telephone: { label: 'FAX', value: '+1 203 413 4880' } } },
        { contact: { telephone: { label: 'GENERAL', value: '+1 203 413 4880', integration: true } } },
        { contact: { website: { label: 'GENERAL', value: '+1-203-413-4880.example' } } },
        { contact: theTelephone },
      ],
    })

    expect(outcomesOf(result)).toEqual(['CREATED', 'CREATED', 'CREATED', 'UNCHANGED'])
    expect(result.organization.contacts.totalCount).toBe(6)
  })

  it('takes an absent integration and one of null for false', async () => {
    const result = await run({
      contacts: [{ contact: { telephone: { label: 'GENERAL', value: '+1 203 413 4880', integration: null } } }],
    })

    expect(outcomesOf(result)).toEqual(['UNCHANGED'])
  })

  it('counts each of several that are the same', async () => {
    const second = await aContact(database.ctx, organization.id)
    const result = await run({
      contacts: [{ contact: theTelephone }, { contact: theTelephone }, { contact: theTelephone }],
    })
    const again = await refused(() => run({ contacts: [{ contact: theTelephone }, { contact: theTelephone }] }))

    expect(outcomesOf(result)).toEqual(['UNCHANGED', 'UNCHANGED', 'CREATED'])
    expect(idsOf(result).slice(0, 2)).toEqual([telephone.id, second.id])
    expect(new Set(idsOf(result)).size).toBe(3)
    expect(outcomesOf(again)).toEqual(['UNCHANGED', 'UNCHANGED'])
  })

  it('does not take a contact that is named by its id for another one that is the same', async () => {
    const result = await run({
      contacts: [{ contact: theTelephone }, { id: telephone.id, contact: theTelephone }],
    })

    expect(outcomesOf(result)).toEqual(['CREATED', 'UNCHANGED'])
    expect(idsOf(result)[1]).toBe(telephone.id)
  })

  it('does not take a contact for one that it is to become', async () => {
    const result = await run({
      contacts: [
        { id: email.id, contact: anEmail('moved@import.example', true) },
        { contact: theEmail },
        { contact: anEmail('moved@import.example', true) },
      ],
    })

    expect(outcomesOf(result)).toEqual(['UPDATED', 'CREATED', 'CREATED'])
  })

  it('changes each part of a contact that is named by its id, and takes absent integration away', async () => {
    const result = await run({
      contacts: [{ id: email.id, contact: { email: { label: 'GENERAL', value: 'info@best-it.com' } } }],
    })

    expect(result.results).toEqual([
      {
        outcome: 'UPDATED',
        contact: expect.objectContaining({ databaseId: email.id, integration: false, version: 2 }),
      },
    ])
  })

  it.each([{}, { mode: 'MERGE' }])('keeps what is not named: %j', async (mode) => {
    const result = await run({ contacts: [{ contact: anEmail('new@import.example', true) }], ...mode })

    expect(result.removedContactIds).toEqual([])
    expect(result.organization.contacts.totalCount).toBe(4)
  })

  it.each([{}, { mode: 'MERGE' }])('of no contacts does nothing: %j', async (mode) => {
    const result = await refused(() => run({ contacts: [], ...mode }))

    expect(result).toMatchObject({ __typename: 'ImportContactsSuccess', results: [], removedContactIds: [] })
  })

  it('takes 250 contacts, and tells of them in their order', async () => {
    const many = await anOrganization(database.ctx)
    const values = Array.from({ length: 250 }, (_, i) => `${(i * 7) % 250}@import.example`)
    const result = await send({
      organizationId: encodeId('Organization', many.id),
      contacts: values.map((value) => ({ contact: anEmail(value) })),
    })

    expect(maxImported).toBe(250)
    expect(result.results.map(({ contact }: Imported) => contact.value)).toEqual(values)
    expect(new Set(outcomesOf(result))).toEqual(new Set(['CREATED']))
    expect(idsOf(result)).toEqual(idsOf(result).toSorted((a, b) => a - b))
  })

  it('keeps the reverse look-up in step', async () => {
    await run({
      contacts: [
        { contact: anEmail('added@lookup.example') },
        { id: website.id, contact: { website: { label: 'GENERAL', value: 'changed.example' } } },
        { id: telephone.id, contact: theTelephone },
      ],
      mode: 'REPLACE_INTEGRATION',
    })
    const id = 'nodes { ... on ContactDetails { databaseId organization { databaseId } } }'
    const found = await dataOf(
      execute(`{
        added: contacts(filter: { email: "added@lookup.example" }) { ${id} }
        changed: contacts(filter: { website: "changed.example" }) { ${id} }
        before: contacts(filter: { website: "www.best-it.com" }, last: 100) { ${id} }
        removed: contacts(filter: { email: "info@best-it.com" }, last: 100) { ${id} }
        left: contacts(filter: { telephone: "+1 203 413 4880" }, last: 100) { ${id} }
      }`),
    )
    const ids = (name: string) => found[name].nodes.map(({ databaseId }: { databaseId: number }) => databaseId)

    expect(found.added.nodes).toMatchObject([{ organization: { databaseId: organization.id } }])
    expect(ids('changed')).toEqual([website.id])
    expect(ids('before')).not.toContain(website.id)
    expect(ids('removed')).not.toContain(email.id)
    expect(ids('left')).toContain(telephone.id)
  })

  it('leaves other organizations and accounts alone', async () => {
    const beside = await anOrganization(database.ctx)
    await aContact(database.ctx, beside.id, { channel: 'email', integration: true })
    const theirs = await anOrganization(database.otherCtx)
    await aContact(database.otherCtx, theirs.id, { channel: 'email', integration: true })
    const others = async () => {
      const list = 'contacts { nodes { ... on ContactDetails { databaseId value version } } }'
      return [
        await dataOf(execute(`{ organization(id: ${beside.id}) { ${list} } }`)),
        await dataOf(executeAsOther(`{ organization(id: ${theirs.id}) { ${list} } }`)),
      ]
    }
    const before = await others()
    const result = await run({ contacts: [{ contact: theEmail }], mode: 'REPLACE_INTEGRATION' })

    expect(result.removedContactIds).toEqual(globalIds(website))
    expect(await others()).toEqual(before)
  })
})

describe('importContacts with REPLACE_INTEGRATION', () => {
  const replace = (contacts: object[]) => run({ contacts, mode: 'REPLACE_INTEGRATION' })

  it('removes the contacts of the integration that are not named, and no others', async () => {
    const fax = await aContact(database.ctx, organization.id, { label: 'fax', integration: true })
    const result = await replace([{ contact: theEmail }, { contact: anEmail('new@import.example', true) }])

    expect(outcomesOf(result)).toEqual(['UNCHANGED', 'CREATED'])
    expect(idsOf(result)[0]).toBe(email.id)
    expect(result.removedContactIds).toEqual(globalIds(fax, website))
    expect(result.organization.contacts.nodes).toEqual([
      { value: '+1 203 413 4880' },
      { value: 'info@best-it.com' },
      { value: 'new@import.example' },
    ])
  })

  it('keeps what is named by its id, whatever it becomes', async () => {
    const result = await replace([{ id: website.id, contact: { website: { label: 'GENERAL', value: 'a.example' } } }])

    expect(outcomesOf(result)).toEqual(['UPDATED'])
    expect(result.removedContactIds).toEqual(globalIds(email))
  })

  it('removes those of several that are the same that are not named', async () => {
    const second = await aContact(database.ctx, organization.id, { channel: 'email', integration: true })
    const third = await aContact(database.ctx, organization.id, { channel: 'email', integration: true })
    const result = await replace([{ contact: theEmail }, { contact: theEmail }, { contact: theWebsite }])

    expect(idsOf(result)).toEqual([email.id, second.id, website.id])
    expect(result.removedContactIds).toEqual(globalIds(third))
  })

  it('of no contacts removes all of the integration', async () => {
    const result = await replace([])

    expect(result).toMatchObject({ results: [], removedContactIds: globalIds(email, website) })
    expect(result.organization.contacts.nodes).toEqual([{ value: '+1 203 413 4880' }])
  })

  it('does nothing where all of them are named', async () => {
    const result = await refused(() => replace([{ contact: theWebsite }, { id: email.id, contact: theEmail }]))

    expect(outcomesOf(result)).toEqual(['UNCHANGED', 'UNCHANGED'])
    expect(result.removedContactIds).toEqual([])
  })
})

describe('importContacts does nothing at all', () => {
  const good = () => [
    { contact: anEmail('new@import.example', true) },
    { id: website.id, contact: { website: { label: 'GENERAL', value: 'new.example' } } },
  ]
  const refusal = (contacts: object[], as = execute) =>
    refused(() => run({ contacts: [...good(), ...contacts], mode: 'REPLACE_INTEGRATION' }, as))

  it('when the organization is not there, or belongs to another account', async () => {
    const unknown = await refused(() => send({ organizationId: 999_999, contacts: good() }))
    const foreign = await refusal([], executeAsOther)

    expect(unknown).toEqual({
      __typename: 'NotFoundError',
      message: 'Organization not found.',
      code: 'NOT_FOUND',
      path: ['organizationId'],
    })
    expect(foreign).toEqual(unknown)
  })

  it('when a contact is not there, or is of another organization or another account', async () => {
    const beside = await aContact(database.ctx, (await anOrganization(database.ctx)).id, { channel: 'email' })
    const theirs = await aContact(database.otherCtx, (await anOrganization(database.otherCtx)).id, { channel: 'email' })
    const unknown = await refusal([{ id: 999_999, contact: theEmail }])

    expect(unknown).toEqual({
      __typename: 'NotFoundError',
      message: 'Contact not found.',
      code: 'NOT_FOUND',
      path: ['contacts', '2', 'id'],
    })
    expect(await refusal([{ id: beside.id, contact: theEmail }])).toEqual(unknown)
    expect(await refusal([{ id: theirs.id, contact: theEmail }])).toEqual(unknown)
  })

  it('when contacts are of another channel', async () => {
    const result = await refusal([
      { id: telephone.id, contact: theEmail },
      { id: email.id, contact: theWebsite },
    ])

    expect(result).toMatchObject({ __typename: 'ValidationError', code: 'VALIDATION_FAILED', path: null })
    expect(result.issues).toEqual([
      {
        path: ['contacts', '2', 'contact', 'email'],
        code: 'CHANNEL_FIXED',
        message: 'The channel of the contact is telephone and cannot become email: add a new contact instead.',
      },
      {
        path: ['contacts', '3', 'contact', 'website'],
        code: 'CHANNEL_FIXED',
        message: 'The channel of the contact is email and cannot become website: add a new contact instead.',
      },
    ])
  })

  it('when a contact is named twice', async () => {
    const result = await refusal([
      { id: encodeId('Contact', website.id), contact: theWebsite },
      { id: email.id, contact: theEmail },
      { id: website.id, contact: theWebsite },
    ])

    expect(result.issues).toEqual([
      { path: ['contacts', '2', 'id'], code: 'DUPLICATE', message: `Contact ${website.id} is named twice.` },
      { path: ['contacts', '4', 'id'], code: 'DUPLICATE', message: `Contact ${website.id} is named twice.` },
    ])
  })

  it('when any part of the input is wrong, and tells every such part', async () => {
    const result = await refused(() =>
      send({
        organizationId: '-5',
        contacts: [
          ...good(),
          { contact: anEmail(' ') },
          { contact: { telephone: { label: 'FAX', value: 'none' } } },
          { id: 'x', contact: { website: { label: 'GENERAL', value: 'javascript:alert(1)' } } },
          { contact: anEmail('a\u0000@b') },
        ],
        mode: null,
      }),
    )

    expect(result.issues.map(({ path, code }: { path: string[]; code: string }) => [path.join('.'), code])).toEqual([
      ['organizationId', 'INVALID_ID'],
      ['mode', 'REQUIRED'],
      ['contacts.2.contact.email.value', 'BLANK'],
      ['contacts.3.contact.telephone.value', 'INVALID_FORMAT'],
      ['contacts.4.id', 'INVALID_ID'],
      ['contacts.4.contact.website.value', 'INVALID_FORMAT'],
      ['contacts.5.contact.email.value', 'INVALID_CHARACTER'],
    ])
  })

  it('when the mode is null', async () => {
    const result = await refused(() => run({ contacts: good(), mode: null }))

    expect(result.issues).toEqual([
      { path: ['mode'], code: 'REQUIRED', message: 'mode must be MERGE or REPLACE_INTEGRATION.' },
    ])
  })

  it('when a list is too long', async () => {
    const contacts = Array.from({ length: 251 }, (_, i) => ({ contact: anEmail(`${i}@import.example`) }))
    const unlimited = executeFor(database.ctx, { limits: { ...readConfig({}).limits, listItems: 1000 } })
    const result = await refused(() => run({ contacts }, unlimited))

    expect(result.issues).toEqual([
      { path: ['contacts'], code: 'TOO_MANY', message: 'contacts has 251 items; at most 250 are allowed.' },
    ])
  })

  it('when a label is of another channel', async () => {
    const contact = { email: { label: 'FAX', value: 'a@b' } }
    const { errors } = await refused(() =>
      execute(document, { input: { organizationId: organization.id, contacts: [...good(), { contact }] } }),
    )
    const attempt = refused(() =>
      importContacts(database.ctx, {
        organizationId: organization.id,
        contacts: [{ contact: { email: { label: 'fax', value: 'a@b' } } }],
      }),
    )

    expect(errors).toMatchObject([{ message: expect.stringContaining('"FAX" does not exist in "EmailContactLabel"') }])
    await expect(attempt).rejects.toMatchObject({
      issues: [
        {
          path: ['contacts', '0', 'contact', 'email', 'label'],
          code: 'NOT_ALLOWED',
          message: 'Label "fax" is not one of general, service_desk.',
        },
      ],
    })
  })

  it('when two channels are given for one contact', async () => {
    const { errors } = await refused(() =>
      execute(document, {
        input: { organizationId: organization.id, contacts: [{ contact: { ...theEmail, ...theWebsite } }] },
      }),
    )

    expect(errors).toMatchObject([{ message: expect.stringMatching(/exactly one/i) }])
  })

  it('without the permission to write contacts', async () => {
    const permissions = new Set([...allPermissions].filter((name) => name !== 'contacts:write'))
    const { errors } = await refused(() =>
      executeFor({ ...database.ctx, permissions })(document, {
        input: { organizationId: organization.id, contacts: good() },
      }),
    )

    expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }])
  })
})
