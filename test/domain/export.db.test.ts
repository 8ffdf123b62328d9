import { beforeAll, describe, expect, it } from 'vitest'
import { updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { ForbiddenError } from '../../src/domain/errors.ts'
import {
  type ContactGroup,
  countExportedContacts,
  countExportedOrganizations,
  type ExportScope,
  exportContacts,
  exportOrganizations,
  findByIdOrName,
} from '../../src/domain/export.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { updateOrganization } from '../../src/domain/organizations.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

/** So small that the sample has several pages of everything. */
const sizes = { organizations: 4, contactsEach: 2, contacts: 3 }

beforeAll(async () => {
  await seedOrganizations(database.ctx, sampleOrganizations)
  // The same names in another account, with contacts that nobody else has.
  await seedOrganizations(
    database.otherCtx,
    ['Best IT', 'Hidden'].map((name) => ({
      name,
      contacts: [{ channel: 'email', label: 'general', value: 'hidden@best-it.com' }],
    })),
  )
})

async function collect<Item>(pages: AsyncIterable<readonly Item[]>): Promise<(readonly Item[])[]> {
  const collected: (readonly Item[])[] = []
  for await (const page of pages) collected.push(page)
  return collected
}

const names = async (ctx: Context, scope: ExportScope, of = sizes) =>
  (await collect(exportOrganizations(ctx, scope, of))).flat().map(({ name }) => name)

const contactsIn = (pages: readonly (readonly ContactGroup[])[]) =>
  pages.flat().flatMap(({ organization, contacts }) => contacts.map(({ id }) => [organization.id, id]))

const contacts = async (ctx: Context, scope: ExportScope, of = sizes) =>
  contactsIn(await collect(exportContacts(ctx, scope, of)))

/** Organization by organization in the order of their names, each in list order. */
const sampleContacts = [
  ...[68, 67, 70, 65, 69, 66, 71].map((id) => [1, id]),
  ...[75, 76].map((id) => [3, id]),
  ...[72, 73, 74].map((id) => [2, id]),
  ...[77, 78].map((id) => [4, id]),
  ...[79, 80, 81].map((id) => [5, id]),
  [6, 82],
]

const sampleNames = [
  'Best IT',
  'Best IT Asia Pacific',
  'Best IT Europe',
  'Best IT London',
  'Harbour Freight Forwarding',
  'Harbour Warehouse',
]

describe('the export of organizations', () => {
  it('has all of the account by name, each with its parent', async () => {
    const rows = (await collect(exportOrganizations(database.ctx, {}))).flat()

    expect(rows.map(({ name, parentId, parentName }) => [name, parentId, parentName])).toEqual([
      ['Best IT', null, null],
      ['Best IT Asia Pacific', 1, 'Best IT'],
      ['Best IT Europe', 1, 'Best IT'],
      ['Best IT London', 2, 'Best IT Europe'],
      ['Harbour Freight Forwarding', null, null],
      ['Harbour Warehouse', 5, 'Harbour Freight Forwarding'],
    ])
    expect(rows[2]).toMatchObject({ id: 2, disabled: false, source: 'HR', sourceId: 'EU-01' })
    expect(await countExportedOrganizations(database.ctx, {})).toBe(6)
  })

  it.each([1, 2, 3, 5, 6, 7])('is the same in pages of %i', async (organizations) => {
    const pages = await collect(exportOrganizations(database.ctx, {}, { ...sizes, organizations }))

    expect(pages.flat().map(({ name }) => name)).toEqual(sampleNames)
    expect(pages).toHaveLength(Math.ceil(6 / organizations))
  })

  it('keeps to the organizations that are named, and by their names all the same', async () => {
    const scope = { organizations: [6, 1, 4] }

    expect(await names(database.ctx, scope, { ...sizes, organizations: 2 })).toEqual([
      'Best IT',
      'Best IT London',
      'Harbour Warehouse',
    ])
    expect(await countExportedOrganizations(database.ctx, scope)).toBe(3)
  })

  it('of an account without any is empty', async () => {
    const empty = { ...database.ctx, account: 999_999 }

    expect(await names(empty, {})).toEqual([])
    expect(await contacts(empty, {})).toEqual([])
    expect(await countExportedContacts(empty, {})).toBe(0)
  })
})

describe('the export of contacts', () => {
  it('has all of the account by the names of their organizations, then in list order', async () => {
    expect(await contacts(database.ctx, {})).toEqual(sampleContacts)
    expect(await countExportedContacts(database.ctx, {})).toBe(sampleContacts.length)
  })

  it.each(
    [1, 2, 3, 6, 7].flatMap((organizations) =>
      [1, 2, 3, 6, 7, 8].flatMap((contactsEach) =>
        [1, 2, 100].map((contacts) => ({ organizations, contactsEach, contacts })),
      ),
    ),
  )('is the same in pages of %j', async (small) => {
    expect(await contacts(database.ctx, {}, small)).toEqual(sampleContacts)
  })

  it('reads no more of an organization at once than it may, and those of others by one statement', async () => {
    database.takeStatements()

    const pages = await collect(exportContacts(database.ctx, {}, { organizations: 6, contactsEach: 3, contacts: 2 }))

    // Names, the first three of each of the six, and the other four of one of them in two pages.
    expect(database.takeStatements()).toHaveLength(4)
    expect(Math.max(...pages.flat().map((group) => group.contacts.length))).toBe(3)
  })

  it('keeps to the organizations that are named', async () => {
    const scope = { organizations: [6, 1] }

    expect(await contacts(database.ctx, scope)).toEqual(sampleContacts.filter(([of]) => of === 1 || of === 6))
    expect(await countExportedContacts(database.ctx, scope)).toBe(8)
  })

  it('does not know the organizations of another account', async () => {
    const [other] = (await collect(exportOrganizations(database.otherCtx, {}))).flat()
    const scope = { organizations: [other!.id] }

    expect(await names(database.ctx, scope)).toEqual([])
    expect(await contacts(database.ctx, scope)).toEqual([])
    expect(await countExportedContacts(database.ctx, scope)).toBe(0)
    expect(await contacts(database.otherCtx, scope)).toHaveLength(1)
    expect(await names(database.otherCtx, {})).toEqual(['Best IT', 'Hidden'])
  })
})

describe('the export of what was changed since', () => {
  it('has what was created or changed at that instant or after it, and nothing else', async () => {
    const ctx = database.otherCtx
    const [first, second] = (await collect(exportOrganizations(ctx, {}))).flat()
    const [changed] = (await collect(exportContacts(ctx, { organizations: [second!.id] }))).flat()[0]!.contacts.slice()
    const contact = await updateContact(ctx, { id: changed!.id, change: { email: { value: 'new@best-it.com' } } })
    const organization = await updateOrganization(ctx, { id: first!.id, disabled: true })
    const justAfter = (at: Date) => new Date(at.getTime() + 1)

    expect(await names(ctx, { since: organization.updatedAt })).toEqual(['Best IT'])
    expect(await names(ctx, { since: justAfter(organization.updatedAt) })).toEqual([])
    expect(await countExportedOrganizations(ctx, { since: organization.updatedAt })).toBe(1)
    expect(await contacts(ctx, { since: contact.updatedAt })).toEqual([[second!.id, contact.id]])
    expect(await contacts(ctx, { since: justAfter(contact.updatedAt) })).toEqual([])
    expect(await contacts(ctx, { since: contact.updatedAt, organizations: [first!.id] })).toEqual([])
    expect(await countExportedContacts(ctx, { since: contact.updatedAt })).toBe(1)
    expect(await contacts(ctx, { since: new Date(0) })).toHaveLength(2)
  })
})

describe('organizations by id or name', () => {
  it('are found by integers, global ids and exact names, each once', async () => {
    const found = await findByIdOrName(database.ctx, ['1', encodeId('Organization', 2), 'Best IT London', 'Best IT'])

    expect({ ...found, ids: found.ids.toSorted() }).toEqual({ ids: [1, 2, 4], unknown: [] })
  })

  it('are unknown where they are of another account, of another kind, or not written exactly so', async () => {
    const [, hidden] = (await collect(exportOrganizations(database.otherCtx, {}))).flat()
    const unknown = [
      '7',
      String(hidden!.id),
      'Hidden',
      encodeId('Organization', 7),
      encodeId('Contact', 65),
      'best it',
      'Best',
      '99999999999999999999',
      '',
    ]

    expect(await findByIdOrName(database.ctx, [...unknown, '5'])).toEqual({ ids: [5], unknown })
  })

  it('may be called what PostgreSQL cannot even look for', async () => {
    expect(await findByIdOrName(database.ctx, ['a\0b', '\ud800', '"}'])).toEqual({
      ids: [],
      unknown: ['a\0b', '\ud800', '"}'],
    })
  })
})

describe('what it takes to export', () => {
  const may = (...permissions: string[]) => ({ ...database.ctx, permissions: new Set(permissions) }) as Context

  it('is to read organizations, and contacts where they are exported', async () => {
    const refused = expect.any(ForbiddenError)
    const attempt = (work: Promise<unknown>) => work.catch((error) => error)

    expect(await attempt(names(may('contacts:read'), {}))).toEqual(refused)
    expect(await attempt(contacts(may('contacts:read'), {}))).toEqual(refused)
    expect(await attempt(contacts(may('organizations:read'), {}))).toEqual(refused)
    expect(await attempt(findByIdOrName(may('contacts:read'), ['1']))).toEqual(refused)
    expect(await attempt(countExportedOrganizations(may('contacts:read'), {}))).toEqual(refused)
    expect(await attempt(countExportedContacts(may('organizations:read'), {}))).toEqual(refused)
    expect(await names(may('organizations:read'), {})).toHaveLength(6)
    expect(await contacts(may('organizations:read', 'contacts:read'), {})).toHaveLength(sampleContacts.length)
  })
})
