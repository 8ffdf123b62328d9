import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { defineStatement, param } from '../../src/db/statement.ts'
import { type Contact, removeContact, updateContact } from '../../src/domain/contacts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { type Organization, updateOrganization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { dataOf, type Execute, executeFor, resultOf } from '../support/graphql.ts'
import { stateOf, unchanged } from '../support/state.ts'

const database = useDatabase()
const { limits } = readConfig({})
let execute: Execute
let executeAsOther: Execute
beforeAll(() => {
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})

/** What the inputs of a test name. */
interface World {
  organization: Organization
  contact: Contact
  second: Contact
  /** An id that nothing has yet. */
  missing: number
  /** A name that nobody has yet. */
  name: string
  /** An organization that stands in the way. */
  rival?: Organization
}
let world: World
let key: string
let made = 0
beforeEach(async () => {
  made += 1
  key = `key-${made}`
  const organization = await anOrganization(database.ctx)
  world = {
    organization,
    contact: await aContact(database.ctx, organization.id),
    second: await aContact(database.ctx, organization.id, { channel: 'email' }),
    missing: 900_000 + made,
    name: `Named ${made}`,
  }
})

const contactFields = '... on ContactDetails { databaseId label value integration version createdAt updatedAt }'
const errorFields = `
  ... on UserError { message code path }
  ... on ValidationError { issues { path code message } }
  ... on ConflictError { currentVersion }`

/** What each mutation is asked to show of its outcome. */
const outcomes: Record<string, string> = {
  addContact: `contact { __typename ${contactFields} }`,
  updateContact: `contact { ${contactFields} }`,
  removeContact: 'removedContactId',
  clearContacts: 'removedContactIds',
  changeContacts: `added { ${contactFields} } updated { ${contactFields} } removedContactIds`,
  importContacts: `results { outcome contact { ${contactFields} } } removedContactIds`,
  createOrganization: 'organization { databaseId name disabled createdAt updatedAt }',
  updateOrganization: 'organization { databaseId name disabled }',
}

const documentOf = (mutation: string) => {
  const typename = mutation.charAt(0).toUpperCase() + mutation.slice(1)
  return `mutation($input: ${typename}Input!, $key: String!) {
    ${mutation}(input: $input) @idempotent(key: $key) {
      __typename ${errorFields} ... on ${typename}Success { ${outcomes[mutation]} }
    }
  }`
}
const keyed = (mutation: string, input: object, withKey = key, as = execute) =>
  resultOf(as(documentOf(mutation), { input, key: withKey }))

const telephone = (value: string, label = 'GENERAL') => ({ telephone: { label, value } })
const email = (value: string) => ({ email: { label: 'GENERAL', value } })

interface Verb {
  mutation: string
  input: (world: World) => object
  /** Another one. */
  other: (world: World) => object
  /** What the same input comes to when it is done anew. */
  anew: string
}

const verbs: Verb[] = [
  {
    mutation: 'addContact',
    input: ({ organization }) => ({ organizationId: organization.id, contact: email('a@b') }),
    other: ({ organization }) => ({ organizationId: organization.id, contact: email('b@b') }),
    anew: 'AddContactSuccess',
  },
  {
    mutation: 'updateContact',
    input: ({ contact }) => ({ id: contact.id, ifVersion: 1, change: telephone('+44 20 7946 0958', 'FAX') }),
    other: ({ contact }) => ({ id: contact.id, change: telephone('+44 20 7946 0958', 'FAX') }),
    anew: 'ConflictError',
  },
  {
    mutation: 'removeContact',
    input: ({ contact }) => ({ id: contact.id }),
    other: ({ second }) => ({ id: second.id }),
    anew: 'NotFoundError',
  },
  {
    mutation: 'clearContacts',
    input: ({ organization }) => ({ organizationId: organization.id }),
    other: ({ missing }) => ({ organizationId: missing }),
    anew: 'ClearContactsSuccess',
  },
  {
    mutation: 'changeContacts',
    input: ({ organization, contact, second }) => ({
      organizationId: organization.id,
      add: [email('x@b'), email('y@b')],
      update: [{ id: contact.id, ifVersion: 1, change: telephone('+44 20 7946 0959') }],
      remove: [{ id: second.id }],
    }),
    other: ({ organization }) => ({ organizationId: organization.id, add: [email('x@b'), email('y@b')] }),
    anew: 'NotFoundError',
  },
  {
    mutation: 'importContacts',
    input: ({ organization, contact }) => ({
      organizationId: organization.id,
      contacts: [
        { contact: email('x@b') },
        { contact: email('x@b') },
        { id: contact.id, contact: telephone('+44 20 7946 0959') },
      ],
      mode: 'REPLACE_INTEGRATION',
    }),
    other: ({ organization }) => ({ organizationId: organization.id, contacts: [{ contact: email('x@b') }] }),
    anew: 'ImportContactsSuccess',
  },
  {
    mutation: 'createOrganization',
    input: ({ name, organization }) => ({ name, parentId: organization.id, disabled: true }),
    other: ({ name, organization }) => ({ name: `${name} too`, parentId: organization.id }),
    anew: 'ValidationError',
  },
  {
    mutation: 'updateOrganization',
    input: ({ name, organization }) => ({ id: organization.id, name, disabled: true }),
    other: ({ name, organization }) => ({ id: organization.id, name: `${name} too` }),
    anew: 'UpdateOrganizationSuccess',
  },
]

const age = defineStatement<{ key: string; hours: number }>(
  'test_age',
  sql`update idempotency_keys set created_at = created_at - make_interval(hours => ${param('hours', 'integer')})
    where key = ${param('key', 'text')}`,
)
const keptAnswers = defineStatement<{ key: string }, { account: number; isNew: boolean }>(
  'test_kept',
  sql`select account_id, created_at > now() - interval '1 hour' from idempotency_keys where key = ${param('key', 'text')}
    order by 1`,
  ([account, isNew]) => ({ account, isNew }),
)
const kept = (withKey = key) => database.db.run(keptAnswers, { key: withKey })

const succeeds = /Success$/

const withoutKeys = (state: string[]) => state.filter((line) => !line.startsWith('idempotency key'))

describe.each(verbs)('$mutation with a key', ({ mutation, input, other, anew }) => {
  it('has one effect, and the first answer again', async () => {
    const before = await stateOf(database.db)
    const first = await keyed(mutation, input(world))
    const after = await stateOf(database.db)
    const [again, third] = await unchanged(database, async () => [
      await keyed(mutation, input(world)),
      await keyed(mutation, input(world)),
    ])

    expect(first.__typename).toMatch(succeeds)
    expect(withoutKeys(after)).not.toEqual(withoutKeys(before))
    expect([again, third]).toEqual([first, first])
    expect(await kept()).toEqual([{ account: database.ctx.account, isNew: true }])
  })

  it('has one effect also when the first answer was long ago, until it is too old', async () => {
    const first = await keyed(mutation, input(world))
    await database.db.run(age, { key, hours: 23 })

    expect(await unchanged(database, () => keyed(mutation, input(world)))).toEqual(first)
  })

  it('is done anew after 24 hours, and then that is the answer to repeats', async () => {
    const first = await keyed(mutation, input(world))
    await database.db.run(age, { key, hours: 24 })
    const second = await keyed(mutation, input(world))

    expect(second.__typename).toBe(anew)
    // What renames to the name that there is changes nothing.
    if (mutation !== 'updateOrganization') expect(second).not.toEqual(first)
    expect(await kept()).toEqual([{ account: database.ctx.account, isNew: true }])
    expect(await unchanged(database, () => keyed(mutation, input(world)))).toEqual(second)
  })

  it('conflicts with another input under that key, which then changes nothing', async () => {
    const first = await keyed(mutation, input(world))
    const refused = await unchanged(database, () => keyed(mutation, other(world)))

    expect(refused).toEqual({
      __typename: 'ConflictError',
      message: 'The key was used for another request: repeat that one exactly, or take another key.',
      code: 'CONFLICT',
      path: null,
      currentVersion: null,
    })
    expect(await unchanged(database, () => keyed(mutation, input(world)))).toEqual(first)
  })

  it('is another request where another account has the key', async () => {
    const first = await keyed(mutation, input(world))
    const theirs = await keyed(mutation, input(world), key, executeAsOther)
    const again = await unchanged(database, () => keyed(mutation, input(world)))

    expect(theirs).toMatchObject({ __typename: 'NotFoundError' })
    expect(again).toEqual(first)
    expect(await kept()).toEqual([
      { account: database.ctx.account, isNew: true },
      { account: database.otherCtx.account, isNew: true },
    ])
  })

  it('is refused for another mutation under that key', async () => {
    await keyed(mutation, input(world))
    const [another] = verbs.filter((verb) => verb.mutation !== mutation)
    const refused = await unchanged(database, () => keyed(another!.mutation, another!.input(world)))

    expect(refused).toMatchObject({ __typename: 'ConflictError', currentVersion: null })
  })
})

const insertOrganization = defineStatement<{ account: number; id: number }>(
  'test_insert_organization',
  sql`insert into organizations (account_id, id, name)
    values (${param('account', 'bigint')}, ${param('id', 'bigint')}, 'Late ' || ${param('id', 'bigint')}::text)`,
)
const insertContact = defineStatement<{ account: number; organization: number; id: number }>(
  'test_insert_contact',
  sql`insert into contacts (account_id, organization_id, id, channel, label, value)
    values (${param('account', 'bigint')}, ${param('organization', 'bigint')}, ${param('id', 'bigint')},
      'telephone', 'general', '+1 203 413 4880')`,
)
const appear = ({ missing }: World) =>
  database.db.run(insertOrganization, { account: database.ctx.account, id: missing })
const contactAppears = ({ missing, organization }: World) =>
  database.db.run(insertContact, { account: database.ctx.account, organization: organization.id, id: missing })
const moveOn = ({ contact }: World) =>
  updateContact(database.ctx, { id: contact.id, change: { telephone: { label: 'fax' } } })
const setChannel = defineStatement<{ id: number }>(
  'test_set_channel',
  sql`update contacts set channel = 'email' where id = ${param('id', 'bigint')}`,
)
const becomeEmail = ({ contact }: World) => database.db.run(setChannel, { id: contact.id })

const takeName = async (of: World) => {
  of.rival = await anOrganization(database.ctx, { name: of.name })
}
const freeName = ({ rival, name }: World) => updateOrganization(database.ctx, { id: rival!.id, name: `${name}, freed` })
const addChild = async (of: World) => {
  of.rival = await anOrganization(database.ctx, { parentId: of.organization.id })
}
const moveChild = ({ rival }: World) => updateOrganization(database.ctx, { id: rival!.id, parentId: null })

interface Refusal {
  mutation: string
  what: string
  before?: (world: World) => Promise<unknown>
  input: (world: World) => object
  error: string
  /** Makes the same input acceptable. */
  heal: (world: World) => Promise<unknown>
}

const refusals: Refusal[] = [
  {
    mutation: 'addContact',
    what: 'no organization',
    input: ({ missing }) => ({ organizationId: missing, contact: email('a@b') }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'updateContact',
    what: 'no contact',
    input: ({ missing }) => ({ id: missing, change: telephone('1') }),
    error: 'NotFoundError',
    heal: contactAppears,
  },
  {
    mutation: 'updateContact',
    what: 'another version',
    input: ({ contact }) => ({ id: contact.id, ifVersion: 2, change: telephone('1') }),
    error: 'ConflictError',
    heal: moveOn,
  },
  {
    mutation: 'updateContact',
    what: 'another channel',
    input: ({ contact }) => ({ id: contact.id, change: email('a@b') }),
    error: 'ValidationError',
    heal: becomeEmail,
  },
  {
    mutation: 'removeContact',
    what: 'no contact',
    input: ({ missing }) => ({ id: missing }),
    error: 'NotFoundError',
    heal: contactAppears,
  },
  {
    mutation: 'removeContact',
    what: 'another version',
    input: ({ contact }) => ({ id: contact.id, ifVersion: 2 }),
    error: 'ConflictError',
    heal: moveOn,
  },
  {
    mutation: 'clearContacts',
    what: 'no organization',
    input: ({ missing }) => ({ organizationId: missing }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'changeContacts',
    what: 'no organization',
    input: ({ missing }) => ({ organizationId: missing, add: [email('a@b')] }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'changeContacts',
    what: 'no contact',
    input: ({ organization, missing }) => ({
      organizationId: organization.id,
      add: [email('a@b')],
      remove: [{ id: missing }],
    }),
    error: 'NotFoundError',
    heal: contactAppears,
  },
  {
    mutation: 'changeContacts',
    what: 'another version',
    input: ({ organization, contact, second }) => ({
      organizationId: organization.id,
      update: [
        { id: second.id, change: email('a@b') },
        { id: contact.id, ifVersion: 2, change: telephone('1') },
      ],
    }),
    error: 'ConflictError',
    heal: moveOn,
  },
  {
    mutation: 'changeContacts',
    what: 'another channel',
    input: ({ organization, contact }) => ({
      organizationId: organization.id,
      update: [{ id: contact.id, change: email('a@b') }],
    }),
    error: 'ValidationError',
    heal: becomeEmail,
  },
  {
    mutation: 'importContacts',
    what: 'no organization',
    input: ({ missing }) => ({ organizationId: missing, contacts: [{ contact: email('a@b') }] }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'importContacts',
    what: 'no contact',
    input: ({ organization, missing }) => ({
      organizationId: organization.id,
      contacts: [{ contact: email('a@b') }, { id: missing, contact: telephone('1') }],
    }),
    error: 'NotFoundError',
    heal: contactAppears,
  },
  {
    mutation: 'importContacts',
    what: 'another channel',
    input: ({ organization, contact }) => ({
      organizationId: organization.id,
      contacts: [{ id: contact.id, contact: email('a@b') }],
    }),
    error: 'ValidationError',
    heal: becomeEmail,
  },
  {
    mutation: 'createOrganization',
    what: 'no parent',
    input: ({ name, missing }) => ({ name, parentId: missing }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'createOrganization',
    what: 'a name that is taken',
    before: takeName,
    input: ({ name }) => ({ name }),
    error: 'ValidationError',
    heal: freeName,
  },
  {
    mutation: 'updateOrganization',
    what: 'no organization',
    input: ({ missing, name }) => ({ id: missing, name }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'updateOrganization',
    what: 'no parent',
    input: ({ organization, missing }) => ({ id: organization.id, parentId: missing }),
    error: 'NotFoundError',
    heal: appear,
  },
  {
    mutation: 'updateOrganization',
    what: 'a name that is taken',
    before: takeName,
    input: ({ organization, name }) => ({ id: organization.id, name }),
    error: 'ValidationError',
    heal: freeName,
  },
  {
    mutation: 'updateOrganization',
    what: 'a cycle',
    before: addChild,
    input: ({ organization, rival }) => ({ id: organization.id, parentId: rival!.id }),
    error: 'ValidationError',
    heal: moveChild,
  },
]

describe('a refusal with a key', () => {
  it.each(refusals)('of $mutation for $what is told again, though it would be accepted by then', async (refusal) => {
    const { mutation, before, input, error, heal } = refusal
    await before?.(world)
    const state = await stateOf(database.db)
    const first = await keyed(mutation, input(world))
    const stateAfter = await stateOf(database.db)
    await heal(world)
    const again = await unchanged(database, () => keyed(mutation, input(world)))
    const withAnother = await keyed(mutation, input(world), `${key}-another`)

    expect(first.__typename).toBe(error)
    expect(withoutKeys(stateAfter)).toEqual(withoutKeys(state))
    expect(again).toEqual(first)
    expect(withAnother.__typename).toMatch(succeeds)
  })

  it('for the input alone is not kept: the key is free', async () => {
    const { organization } = world
    const refused = await unchanged(database, () =>
      keyed('addContact', { organizationId: organization.id, contact: email('no address') }),
    )
    const accepted = await keyed('addContact', { organizationId: organization.id, contact: email('a@b') })

    expect([refused.__typename, accepted.__typename]).toEqual(['ValidationError', 'AddContactSuccess'])
  })

  it('is the same as without', async () => {
    const input = { id: world.contact.id, ifVersion: 7 }

    expect(await keyed('removeContact', input)).toEqual(
      await resultOf(
        execute(
          `mutation($input: RemoveContactInput!) { removeContact(input: $input) { __typename ${errorFields} } }`,
          { input },
        ),
      ),
    )
  })
})

describe('a repeat', () => {
  it('shows what was done then, and the organization as it is now', async () => {
    const { organization, contact } = world
    const update = () =>
      dataOf(
        execute(
          `mutation($key: String!) { updateContact(input: { id: ${contact.id}, change: { telephone: { label: FAX } } }) @idempotent(key: $key) {
            ... on UpdateContactSuccess {
              contact { ... on ContactDetails { label version } }
              organization { name contacts { totalCount } }
              query { organization(id: ${organization.id}) { name } }
            } } }`,
          { key },
        ),
      )
    const first = await update()
    await removeContact(database.ctx, { id: contact.id })
    await updateOrganization(database.ctx, { id: organization.id, name: world.name })
    const again = await update()

    expect(first.updateContact).toEqual({
      contact: { label: 'FAX', version: 2 },
      organization: { name: organization.name, contacts: { totalCount: 2 } },
      query: { organization: { name: organization.name } },
    })
    expect(again.updateContact).toEqual({
      contact: { label: 'FAX', version: 2 },
      organization: { name: world.name, contacts: { totalCount: 1 } },
      query: { organization: { name: world.name } },
    })
  })

  it('may write its input in another way', async () => {
    const { organization } = world
    const add = (contact: string, id = String(organization.id)) =>
      resultOf(
        execute(
          `mutation($id: ID!, $key: String!) { addContact(input: { organizationId: $id, contact: ${contact} }) @idempotent(key: $key) {
            ... on AddContactSuccess { contact { ... on ContactDetails { databaseId } } } } }`,
          { id, key },
        ),
      )
    const first = await add('{ email: { label: GENERAL, value: "a@b" } }')
    const reordered = await add('{ email: { value: "a@b", label: GENERAL } }')
    const withDefault = await add('{ email: { label: GENERAL, value: "a@b", integration: false } }')
    const byNumber = await resultOf(
      execute(
        `mutation { other: addContact(input: { contact: { email: { label: GENERAL, value: """a@b""" } }, organizationId: ${organization.id} }) @idempotent(key: "${key}") {
          ... on AddContactSuccess { contact { ... on ContactDetails { databaseId } } } } }`,
      ),
    )

    expect(first.contact.databaseId).toEqual(expect.any(Number))
    expect([reordered, withDefault, byNumber]).toEqual([first, first, first])
  })

  it('within one document is one, too', async () => {
    const field = (name: string, value: string) =>
      `${name}: addContact(input: { organizationId: ${world.organization.id}, contact: { email: { label: GENERAL, value: "${value}" } } }) @idempotent(key: "${key}") {
        __typename ... on AddContactSuccess { contact { ... on ContactDetails { databaseId } } organization { contacts { totalCount } } } }`
    const { one, two, three } = await dataOf(
      execute(`mutation { ${field('one', 'a@b')} ${field('two', 'a@b')} ${field('three', 'b@b')} }`),
    )

    expect(two).toEqual(one)
    expect(one.organization.contacts.totalCount).toBe(3)
    expect(three).toEqual({ __typename: 'ConflictError' })
  })

  it('by a caller who may not write is refused', async () => {
    await keyed('addContact', verbs[0]!.input(world))
    const permissions = new Set([...allPermissions].filter((name) => name !== 'contacts:write'))
    const { data, errors } = await unchanged(database, () =>
      executeFor({ ...database.ctx, permissions })(documentOf('addContact'), { input: verbs[0]!.input(world), key }),
    )

    expect([data, errors?.[0]?.extensions.code]).toEqual([null, 'FORBIDDEN'])
  })
})

describe('answers that are too old', () => {
  const countAnswers = defineStatement<{ account: number }, { old: number; kept: number }>(
    'test_count_answers',
    sql`select count(*) filter (where created_at <= now() - interval '24 hours'),
      count(*) filter (where created_at > now() - interval '24 hours')
      from idempotency_keys where account_id = ${param('account', 'bigint')}`,
    ([old, kept]) => ({ old: Number(old), kept: Number(kept) }),
  )
  const addOld = defineStatement<{ account: number; count: number }>(
    'test_add_old',
    sql`insert into idempotency_keys (account_id, key, fingerprint, answer, created_at)
      select ${param('account', 'bigint')}, 'old ' || i, repeat('0', 64), '[]', now() - interval '25 hours'
      from generate_series(1, ${param('count', 'integer')}) as i`,
  )
  const count = async (account: number) => (await database.db.run(countAnswers, { account }))[0]!

  it('go with the next writes that have a key, of the same account', async () => {
    const { ctx, otherCtx } = database
    for (const { account } of [ctx, otherCtx]) await database.db.run(addOld, { account, count: 25 })
    const { kept } = await count(ctx.account)
    const left: number[] = []
    for (let i = 0; i < 4; i += 1) {
      await keyed('addContact', verbs[0]!.input(world), `${key}-${i}`)
      left.push((await count(ctx.account)).old)
    }

    expect(left.at(-1)).toBe(0)
    expect(left[0]).toBeGreaterThan(0)
    expect(await count(ctx.account)).toEqual({ old: 0, kept: kept + 4 })
    expect((await count(otherCtx.account)).old).toBe(25)
  })

  it('stay where nothing is written, or written without a key', async () => {
    await keyed('addContact', verbs[0]!.input(world))
    await database.db.run(addOld, { account: database.ctx.account, count: 3 })
    await unchanged(database, () => keyed('addContact', verbs[0]!.input(world)))
    await aContact(database.ctx, world.organization.id)

    expect((await count(database.ctx.account)).old).toBe(3)
  })
})

describe('the key', () => {
  const send = (directive: string, variables: Record<string, unknown> = {}) =>
    execute(
      `mutation${Object.keys(variables).length > 0 ? '($key: String!)' : ''} {
        clearContacts(input: { organizationId: ${world.organization.id} }) ${directive} { __typename }
        after: addContact(input: { organizationId: ${world.organization.id}, contact: { email: { label: GENERAL, value: "a@b" } } }) { __typename }
      }`,
      variables,
    )

  it('may be a variable or a literal, which are the same', async () => {
    const first = await keyed('clearContacts', verbs[3]!.input(world))
    await aContact(database.ctx, world.organization.id)
    const byLiteral = await resultOf(
      execute(
        `mutation { clearContacts(input: { organizationId: ${world.organization.id} }) @idempotent(key: "${key}") { ... on ClearContactsSuccess { removedContactIds } } }`,
      ),
    )

    expect(byLiteral.removedContactIds).toEqual(first.removedContactIds)
    expect(first.removedContactIds).toHaveLength(2)
  })

  const rule = 'The key of @idempotent must be 1 to 255 visible ASCII characters without spaces'
  it.each([
    ['', 'BLANK', `${rule}: it is empty.`],
    ['x'.repeat(256), 'TOO_LONG', `${rule}: it has 256.`],
    ['two words', 'INVALID_CHARACTER', `${rule}: it is "two words".`],
    ['clé', 'INVALID_CHARACTER', `${rule}: it is "clé".`],
    ['a\u0000b', 'INVALID_CHARACTER', `${rule}: it is "a\\u0000b".`],
  ])('%j is refused, and the field does nothing', async (given, code, message) => {
    const answer = await send('@idempotent(key: $key)', { key: given })

    expect(answer.data).toBeNull()
    expect(answer.errors).toEqual([
      expect.objectContaining({
        message,
        path: ['clearContacts'],
        extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', issues: [{ path: ['key'], code, message }] }),
      }),
    ])
  })

  it('takes 255 characters of every visible kind', async () => {
    const long = `${String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i))}${made}`.padEnd(255, '~')
    const { data } = await send('@idempotent(key: $key)', { key: long })

    expect(data.clearContacts.__typename).toBe('ClearContactsSuccess')
    expect(await kept(long)).toHaveLength(1)
  })

  it.each([
    ['missing', '@idempotent'],
    ['null', '@idempotent(key: null)'],
    ['a number', '@idempotent(key: 1)'],
    ['given twice', '@idempotent(key: "a") @idempotent(key: "b")'],
    ['beside another argument', '@idempotent(key: "a", for: 1)'],
  ])('that is %s makes the document invalid', async (_, directive) => {
    const { data, errors } = await unchanged(database, () => send(directive))

    expect([data, errors?.[0]?.extensions.code]).toEqual([undefined, 'BAD_USER_INPUT'])
  })

  it('of one field that is written twice must be one', async () => {
    const field = (directive: string, selection = '__typename') =>
      `clearContacts(input: { organizationId: ${world.organization.id} }) ${directive} { ${selection} }`
    const refused = await unchanged(database, () =>
      execute(`mutation { ${field('@idempotent(key: "a")')} ...F }
        fragment F on Mutation { ${field('@idempotent(key: "b")', '... on ClearContactsSuccess { removedContactIds }')} }`),
    )
    const accepted = await dataOf(
      execute(
        `mutation($key: String!) { ${field('@idempotent(key: $key)')} ... on Mutation { ${field(`@idempotent(key: "${key}")`)} } ${field('')} }`,
        { key },
      ),
    )

    expect(refused.errors).toEqual([
      expect.objectContaining({
        message: 'clearContacts is given two keys, "a" and "b", but is one field.',
        path: ['clearContacts'],
        extensions: expect.objectContaining({ code: 'BAD_USER_INPUT' }),
      }),
    ])
    expect(accepted).toEqual({ clearContacts: { __typename: 'ClearContactsSuccess' } })
    expect(await kept()).toHaveLength(1)
  })
})

describe('the directive anywhere else', () => {
  const clear = (selection: string) =>
    `clearContacts(input: { organizationId: ${world.organization.id} }) { ... on ClearContactsSuccess { ${selection} } }`

  it.each<[string, () => string, string]>([
    ['a field of a query', () => '{ organizations @idempotent(key: "a") { totalCount } }', 'Query.organizations'],
    ['a field beneath one', () => '{ organizations { nodes { name @idempotent(key: "a") } } }', 'Organization.name'],
    [
      'a fragment of a query',
      () => '{ ...F } fragment F on Query { ... { organizations @idempotent(key: "a") { totalCount } } }',
      'Query.organizations',
    ],
    [
      'a field beneath a mutation',
      () => `mutation { ${clear('organization { name @idempotent(key: "a") }')} }`,
      'Organization.name',
    ],
    [
      'the query of a payload',
      () => `mutation { ${clear('query { organizations @idempotent(key: "a") { totalCount } }')} }`,
      'Query.organizations',
    ],
    [
      'the name of the type',
      () => `mutation { __typename @idempotent(key: "a") ${clear('__typename')} }`,
      'Mutation.__typename',
    ],
    ['introspection', () => '{ __schema @idempotent(key: "a") { description } }', 'Query.__schema'],
  ])('is refused: %s', async (_, document, coordinate) => {
    const { data, errors } = await unchanged(database, () => execute(document()))

    expect(data).toBeUndefined()
    expect(errors).toEqual([
      expect.objectContaining({
        message: `@idempotent is for the fields of a mutation alone, not for ${coordinate}.`,
        extensions: expect.objectContaining({ code: 'BAD_USER_INPUT' }),
      }),
    ])
  })

  it.each([
    'query @idempotent(key: "a") { __typename }',
    '{ ... @idempotent(key: "a") { __typename } }',
    '{ ...F @idempotent(key: "a") } fragment F on Query { __typename }',
    'fragment F on Query @idempotent(key: "a") { __typename } { ...F }',
    'query($a: Int @idempotent(key: "a")) { organizations(first: $a) { totalCount } }',
  ])('has no place: %s', async (document) => {
    const { errors } = await execute(document)

    expect(errors?.[0]?.message).toMatch(/^Directive "@idempotent" may not be used on [A-Z_]+\.$/)
    expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT')
  })

  it('works through fragments on mutations', async () => {
    const document = `mutation($key: String!) { ...F } fragment F on Mutation { ... { ${clear('removedContactIds').replace(') {', ') @idempotent(key: $key) {')} } }`
    const first = await dataOf(execute(document, { key }))
    const again = await unchanged(database, () => dataOf(execute(document, { key })))

    expect(first.clearContacts.removedContactIds).toHaveLength(2)
    expect(again).toEqual(first)
  })

  it('counts as a directive of the document', async () => {
    const document = `mutation { clearContacts(input: { organizationId: ${world.organization.id} }) @idempotent(key: "${key}") { __typename @skip(if: false) } }`
    const within = (directives: number) => executeFor(database.ctx, { limits: { ...limits, directives } })(document)
    const refused = await unchanged(database, () => within(1))

    expect(refused.errors?.[0]?.message).toBe('The document has 2 directives; at most 1 are allowed.')
    expect((await within(2)).errors).toBeUndefined()
  })
})
