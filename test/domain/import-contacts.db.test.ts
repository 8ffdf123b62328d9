import { sql } from 'drizzle-orm'
import { beforeEach, describe, expect, it } from 'vitest'
import { defineStatement, param } from '../../src/db/statement.ts'
import { channels } from '../../src/domain/channels.ts'
import { contactPages } from '../../src/domain/contact-lists.ts'
import { type Contact, findContacts } from '../../src/domain/contacts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { ForbiddenError } from '../../src/domain/errors.ts'
import {
  type ContactsImport,
  faultsOf,
  importContactsOfMany,
  type OrganizationContacts,
} from '../../src/domain/import-contacts.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let one: Organization
let two: Organization
let three: Organization
beforeEach(async () => {
  one = await anOrganization(database.ctx)
  two = await anOrganization(database.ctx)
  three = await anOrganization(database.ctx)
})

const email = (value: string, integration = false) => ({ email: { label: 'general', value, integration } })
const asNew = (...contacts: object[]) => contacts.map((contact) => ({ contact }))
const into = ({ name }: { name: string }, contacts: readonly unknown[], replaces = false): OrganizationContacts => ({
  name,
  replaces,
  contacts,
})
const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

const contactsOf = async ({ id }: Organization): Promise<Contact[]> => {
  const page = { limit: 1000, backward: false, after: null, before: null }
  const [found] = await contactPages(database.ctx, [id], page, {})
  return [...found!.rows]
}
const valuesOf = async (organization: Organization) => (await contactsOf(organization)).map(({ value }) => value)

const nothing = { created: 0, updated: 0, unchanged: 0, deleted: 0 }
/** Tells first what it would do, and holds that nothing was done by that. */
async function importTwice(organizations: readonly OrganizationContacts[]): Promise<ContactsImport> {
  const told = await refused(() => importContactsOfMany(database.ctx, organizations, { isDry: true }))
  const done = await importContactsOfMany(database.ctx, organizations)
  expect(told).toEqual(done)
  return done
}

const lookups = defineStatement<{ ids: readonly number[] }, [number, string]>(
  'test_lookups',
  sql`select contact_id, key from contact_lookups where contact_id = any(${param('ids', 'bigint[]')}) order by 1, 2`,
  (cells) => cells,
)

describe('contacts of many organizations', () => {
  it('are created, changed, kept and removed, each counted', async () => {
    const kept = await aContact(database.ctx, one.id, { channel: 'email', integration: true })
    const changed = await aContact(database.ctx, one.id)
    const stays = await aContact(database.ctx, two.id)
    await aContact(database.ctx, two.id, { channel: 'email', integration: true })
    const { counts, refused } = await importTwice([
      into(
        one,
        [
          ...asNew(email('new@many.example', true), email('info@best-it.com', true)),
          { id: String(changed.id), contact: { telephone: { label: 'fax', value: '1' } } },
        ],
        true,
      ),
      into(two, asNew(email('a@many.example', true), email('b@many.example')), true),
      into(three, asNew(email('a@many.example'), email('a@many.example'))),
    ])

    expect(refused).toEqual(new Map())
    expect(counts).toEqual({ created: 5, updated: 1, unchanged: 1, deleted: 1 })
    expect(await contactsOf(one)).toMatchObject([
      { id: changed.id, label: 'fax', value: '1', version: 2 },
      { id: kept.id, version: 1 },
      { value: 'new@many.example', integration: true, version: 1 },
    ])
    expect(await contactsOf(two)).toMatchObject([
      { id: stays.id },
      { value: 'a@many.example', integration: true },
      { value: 'b@many.example', integration: false },
    ])
    expect(await valuesOf(three)).toEqual(['a@many.example', 'a@many.example'])
  })

  it('are found by the reverse look-up, and what they were is not', async () => {
    const telephone = await aContact(database.ctx, one.id)
    await aContact(database.ctx, two.id, { channel: 'email', integration: true })
    await importContactsOfMany(database.ctx, [
      into(one, [
        ...asNew(email('New@Many.example')),
        { id: telephone.id, contact: { telephone: { label: 'general', value: '+44 20 7946 0958' } } },
      ]),
      into(two, [], true),
      into(three, asNew({ website: { label: 'general', value: 'https://www.many.example/' } })),
    ])
    const left = (await Promise.all([one, two, three].map(contactsOf))).flat()
    const expected = left.flatMap(({ id, channel, value }) =>
      channels[channel].lookupKeys(value).map((key): [number, string] => [id, key]),
    )

    expect(left.map(({ value }) => value)).toEqual([
      '+44 20 7946 0958',
      'New@Many.example',
      'https://www.many.example/',
    ])
    expect(await database.db.run(lookups, { ids: left.map(({ id }) => id) })).toEqual(
      expected.toSorted(([a, x], [b, y]) => a - b || (x < y ? -1 : 1)),
    )
  })

  it('are the same ones the second time, and not a row is written', async () => {
    const organizations = [
      into(one, asNew(email('a@again.example', true), email('a@again.example', true), email('b@again.example')), true),
      into(two, asNew({ website: { label: 'service_desk', value: 'again.example' } })),
      into(three, [], true),
    ]
    const first = await importTwice(organizations)
    const again = await refused(() => importTwice(organizations))

    expect(first.counts).toEqual({ ...nothing, created: 4 })
    expect(again).toEqual({ counts: { ...nothing, unchanged: 4 }, refused: new Map() })
  })

  it('are not written by updates that change nothing', async () => {
    const contact = await aContact(database.ctx, one.id, { channel: 'email', integration: true })
    const { counts } = await refused(() =>
      importContactsOfMany(database.ctx, [into(one, [{ id: contact.id, contact: email(contact.value, true) }], true)]),
    )

    expect(counts).toEqual({ ...nothing, unchanged: 1 })
  })

  it('that have an id stay with the integration, or without, where nothing is said of it', async () => {
    const contact = await aContact(database.ctx, one.id, { channel: 'email', integration: true })
    const row = { id: contact.id, contact: { email: { label: 'service_desk', value: contact.value } } }
    const { counts } = await importContactsOfMany(database.ctx, [into(one, [row])])

    expect(counts).toEqual({ ...nothing, updated: 1 })
    const [stored] = await findContacts(database.ctx, [contact.id])
    expect(stored).toMatchObject({ label: 'service_desk', integration: true, version: 2 })
  })

  it('are added in the order of the input', async () => {
    const values = Array.from({ length: 100 }, (_, i) => `${(i * 37) % 100}@order.example`)
    await importContactsOfMany(database.ctx, [into(one, asNew(...values.map((value) => email(value))))])

    expect(await valuesOf(one)).toEqual(values)
  })

  it('of which there are none change nothing', async () => {
    expect(await refused(() => importContactsOfMany(database.ctx, []))).toEqual({ counts: nothing, refused: new Map() })
    expect(await refused(() => importContactsOfMany(database.ctx, [into(one, [])]))).toEqual({
      counts: nothing,
      refused: new Map(),
    })
  })

  it('take one statement, however many they are', async () => {
    database.takeStatements()
    await importContactsOfMany(
      database.ctx,
      [one, two, three].map((organization) => into(organization, asNew(email('a@one.example')))),
    )

    expect(database.takeStatements()).toHaveLength(1)
  })

  it('need the permission to write contacts', async () => {
    const permissions = new Set([...allPermissions].filter((name) => name !== 'contacts:write'))
    const attempt = refused(() =>
      importContactsOfMany({ ...database.ctx, permissions }, [into(one, asNew(email('a@b.example')))]),
    )

    await expect(attempt).rejects.toThrow(ForbiddenError)
  })
})

describe('what cannot be imported of one organization', () => {
  /** Imports between two good organizations, which are to go through whatever becomes of the one between. */
  async function between(
    contacts: readonly unknown[],
    given: { name?: string; replaces?: boolean; ctx?: typeof database.ctx } = {},
  ) {
    const before = await contactsOf(two)
    const organizations = [
      into(one, asNew(email('good@fault.example')), true),
      into(
        { name: given.name ?? two.name },
        [...asNew(email('new@fault.example')), ...contacts],
        given.replaces ?? true,
      ),
      into(three, asNew(email('good@fault.example'), email('good@fault.example'))),
    ]
    const { counts, refused } = await importTwice(organizations)

    expect(counts).toEqual({ ...nothing, created: 3 })
    expect(await contactsOf(two)).toEqual(before)
    expect([...refused.keys()]).toEqual([1])
    return refused.get(1)
  }
  let stored: Contact
  beforeEach(async () => {
    stored = await aContact(database.ctx, two.id, { channel: 'email', integration: true })
  })

  it('is all of it where one row is wrong by itself, with every reason', async () => {
    const faults = await between([
      { contact: email(' ') },
      { contact: email('fine@fault.example') },
      { id: 'x', contact: { telephone: { label: 'mobile', value: 'none' } } },
      { contact: { email: { label: 'fax', value: 'a@b.example' } } },
      { contact: {} },
    ])

    expect(faults).toEqual([
      { row: 1, reasons: ["Email can't be blank."] },
      {
        row: 3,
        reasons: [
          'Contact id "x" is neither a global id nor a positive integer.',
          'Label "mobile" is not one of general, service_desk, fax, service_desk_fax.',
          'Telephone must hold at least one digit.',
        ],
      },
      { row: 4, reasons: ['Label "fax" is not one of general, service_desk.'] },
      { row: 5, reasons: ['Exactly one of telephone, email, website must be given, not none.'] },
    ])
  })

  it('is all of it where a contact is not there, or is of another organization or account', async () => {
    const beside = await aContact(database.ctx, three.id, { channel: 'email' })
    const theirs = await aContact(database.otherCtx, (await anOrganization(database.otherCtx)).id, { channel: 'email' })
    const faults = await between(
      [999_999, beside.id, stored.id, theirs.id].map((id) => ({ id, contact: email('moved@fault.example') })),
    )

    expect(faults).toEqual([
      { row: 1, reasons: ['The organization has no contact with the ID 999999.'] },
      { row: 2, reasons: [`The organization has no contact with the ID ${beside.id}.`] },
      { row: 4, reasons: [`The organization has no contact with the ID ${theirs.id}.`] },
    ])
  })

  it('is all of it where a contact is of another channel or named twice', async () => {
    const other = await aContact(database.ctx, two.id)
    const faults = await between([
      { id: other.id, contact: email('x@fault.example') },
      { id: stored.id, contact: email('x@fault.example') },
      { id: stored.id, contact: email('x@fault.example') },
    ])

    expect(faults).toEqual(
      expect.arrayContaining([
        {
          row: 1,
          reasons: [`The contact with the ID ${other.id} is not of the channel email, and a channel never changes.`],
        },
        { row: 3, reasons: [`The ID ${stored.id} is named twice.`] },
      ]),
    )
    expect(faults).toHaveLength(2)
  })

  it.each([
    ['unknown', () => 'Nobody has this name'],
    ['a name with NUL', () => `${two.name}\0`],
    ['half of a surrogate pair', () => `${two.name}\ud800`],
    ['another case', () => two.name.toUpperCase()],
  ])('is all of it where there is no such organization: %s', async (_, name) => {
    expect(await between([], { name: name() })).toEqual([
      { row: undefined, reasons: ['There is no such organization in the account.'] },
    ])
  })

  it('is all of it where the organization is of another account', async () => {
    const theirs = await anOrganization(database.otherCtx, { name: 'Theirs alone' })
    await aContact(database.otherCtx, theirs.id, { channel: 'email', integration: true })

    expect(await between([], { name: theirs.name })).toEqual([
      { row: undefined, reasons: ['There is no such organization in the account.'] },
    ])
  })

  it('does not stand in the way of the organization whose contact it names', async () => {
    const { counts, refused } = await importTwice([
      into(one, [{ id: stored.id, contact: email('taken@fault.example') }]),
      into(two, [{ id: stored.id, contact: email('own@fault.example') }]),
    ])

    expect(counts).toEqual({ ...nothing, updated: 1 })
    expect(refused).toEqual(
      new Map([[0, [{ row: 0, reasons: [`The organization has no contact with the ID ${stored.id}.`] }]]]),
    )
    expect(await valuesOf(two)).toEqual(['own@fault.example'])
  })

  it('may be all there is', async () => {
    const { counts, refused } = await importTwice([into(one, asNew(email('x'))), into({ name: 'Nowhere' }, [])])

    expect(counts).toEqual(nothing)
    expect([...refused.keys()]).toEqual([0, 1])
    expect(await contactsOf(one)).toEqual([])
  })

  it('is told without the database as far as it is wrong by itself', () => {
    expect(faultsOf([...asNew(email('a@b.example'), email('x')), null, { id: 5 }])).toEqual([
      { row: 1, reasons: ['Email must have exactly one @, with text on both sides.'] },
      { row: 2, reasons: expect.any(Array) },
      { row: 3, reasons: ['Exactly one of telephone, email, website must be given, not none.'] },
    ])
  })
})
