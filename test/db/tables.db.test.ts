import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { ConstraintError } from '../../src/db/errors.ts'
import { defineStatement } from '../../src/db/statement.ts'
import { channelLabels, contactChannel, contactLabel } from '../../src/db/tables.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'

const database = useDatabase()
const write = (text: string) => database.db.run(defineStatement('test_write', sql.raw(text)), {})

let own: number
let foreign: number
let contact: number
let account: number
let other: number
beforeAll(async () => {
  account = database.ctx.account
  other = database.otherCtx.account
  own = (await anOrganization(database.ctx)).id
  foreign = (await anOrganization(database.otherCtx)).id
  contact = (await aContact(database.ctx, own)).id
})

const insertContact = (given: {
  account?: number
  organization?: number
  channel?: string
  label?: string
  value?: string
  version?: number
}) => {
  const {
    account: a = account,
    organization = own,
    channel = 'email',
    label = 'general',
    value = 'a@b',
    version = 1,
  } = given
  return write(
    `insert into contacts (account_id, organization_id, channel, label, value, version) values (${a}, ${organization}, '${channel}', '${label}', '${value}', ${version})`,
  )
}

const insertKey = (given: { account?: number; key?: string; fingerprint?: string }) => {
  const { account: a = account, key = 'key', fingerprint = '0'.repeat(64) } = given
  return write(
    `insert into idempotency_keys (account_id, key, fingerprint, answer) values (${a}, '${key}', '${fingerprint}', '[]')`,
  )
}

describe('the tables themselves refuse', () => {
  it.each([
    [
      'a contact on an organization of another account',
      () => insertContact({ organization: foreign }),
      'contacts_organization_fkey',
    ],
    [
      'a contact of another account on an organization',
      () => insertContact({ account: other }),
      'contacts_organization_fkey',
    ],
    [
      'a parent in another account',
      () => write(`update organizations set parent_id = ${foreign} where account_id = ${account} and id = ${own}`),
      'organizations_parent_fkey',
    ],
    [
      'an organization of no account',
      () => write(`insert into organizations (account_id, name) values (0, 'x')`),
      'organizations_account_fkey',
    ],
    [
      'an organization as its own parent',
      () => write(`update organizations set parent_id = id where id = ${own}`),
      'organizations_parent_not_self',
    ],
    [
      'a name twice in an account',
      () =>
        write(
          `insert into organizations (account_id, name) select account_id, name from organizations where id = ${own}`,
        ),
      'organizations_name_key',
    ],
    [
      'a key of a contact of another account',
      () => write(`insert into contact_lookups values (${other}, 'email', 'x', ${contact})`),
      'contact_lookups_contact_fkey',
    ],
    ['an empty value', () => insertContact({ value: '' }), 'contacts_value_length'],
    ['a value of 256 characters', () => insertContact({ value: '😀'.repeat(256) }), 'contacts_value_length'],
    [
      'a name of 129 characters',
      () => write(`insert into organizations (account_id, name) values (${account}, '${'x'.repeat(129)}')`),
      'organizations_name_length',
    ],
    ['a version of 0', () => insertContact({ version: 0 }), 'contacts_version_positive'],
    ['the answer to a key of no account', () => insertKey({ account: 0 }), 'idempotency_keys_account_fkey'],
    ['the answer to an empty key', () => insertKey({ key: '' }), 'idempotency_keys_key_length'],
    ['the answer to a key of 256 characters', () => insertKey({ key: 'x'.repeat(256) }), 'idempotency_keys_key_length'],
    ['an answer to no request', () => insertKey({ fingerprint: 'none' }), 'idempotency_keys_fingerprint_is_sha256'],
  ])('%s', async (_, attempt, constraint) => {
    await expect(attempt()).rejects.toEqual(expect.objectContaining({ constraint }))
    await expect(attempt()).rejects.toBeInstanceOf(ConstraintError)
  })

  it('every label that its channel does not have, and no other', async () => {
    for (const channel of contactChannel.enumValues) {
      for (const label of contactLabel.enumValues) {
        const isAllowed = (channelLabels[channel] as readonly string[]).includes(label)
        const attempt = insertContact({ channel, label })
        if (isAllowed) await expect(attempt).resolves.toBeDefined()
        else await expect(attempt).rejects.toMatchObject({ constraint: 'contacts_label_fits_channel' })
      }
    }
  })
})

describe('every primary, unique and foreign key', () => {
  const keys = defineStatement<Record<never, never>, [table: string, constraint: string, column: string]>(
    'test_keys',
    sql`select r.relname, c.conname, a.attname from pg_constraint c
      join pg_class r on r.oid = c.conrelid
      join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
      where c.contype in ('p', 'u', 'f') and r.relnamespace = 'public'::regnamespace and r.relname not in ('accounts', 'tokens', 'rate_limits') and c.conname <> 'token_accounts_token_fkey'`,
    (cells) => cells,
  )

  it('begins with the account', async () => {
    const found = await database.db.run(keys, {})

    expect(found.length).toBeGreaterThan(5)
    expect(found.filter(([, , column]) => column !== 'account_id')).toEqual([])
  })
})
