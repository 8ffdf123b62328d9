import { createHash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { defineStatement, param } from '../../src/db/statement.ts'
import { permission } from '../../src/db/tables.ts'
import { ValidationError } from '../../src/domain/errors.ts'
import { createToken, hashOf, isToken, listTokens, revokeToken, useToken } from '../../src/domain/tokens.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

const input = (given: object = {}) => ({
  name: 'A token',
  accounts: ['demo'],
  permissions: ['contacts:read'],
  expiresAt: null,
  ...given,
})
const create = (given: object = {}) => createToken(database.db, input(given))
const listed = async (id: number) => (await listTokens(database.db)).find((token) => token.id === id)

const inAnHour = () => new Date(Date.now() + 3_600_000)

const tablesStatement = defineStatement<Record<never, never>, string>(
  'test_tables',
  sql`select format('%I.%I', table_schema, table_name) from information_schema.tables
    where table_schema not in ('pg_catalog', 'information_schema') order by 1`,
  ([name]) => name,
)

/** Every row of every table of the database, as text. */
async function everyRow(): Promise<string[]> {
  const tables = await database.db.run(tablesStatement, {})
  const rows = await Promise.all(
    tables.map((table) =>
      database.db.run(
        defineStatement<Record<never, never>, string>(
          'test_rows',
          sql.raw(`select '${table} ' || t::text from ${table} t order by 1`),
          ([row]) => row,
        ),
        {},
      ),
    ),
  )
  return rows.flat()
}

/** What is wrong with an input that is to be refused, without a trace of it in any table. */
async function issuesOf(given: object) {
  const before = await everyRow()
  const refusal = await create(given).then(
    () => undefined,
    (error) => error,
  )
  expect(refusal).toBeInstanceOf(ValidationError)
  expect(await everyRow()).toEqual(before)
  return (refusal as ValidationError).issues
}

describe('a token', () => {
  it('is a prefix and 256 bits, as an address or a header can carry them', async () => {
    const { token } = await create()

    expect(token).toMatch(/^cgw_[A-Za-z0-9_-]{43}$/)
    expect(isToken(token)).toBe(true)
    expect(Buffer.from(token.slice('cgw_'.length), 'base64url')).toHaveLength(32)
  })

  it('differs from every other, also under the same name', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => create()))

    expect(new Set(made.map(({ token }) => token)).size).toBe(20)
    expect(new Set(made.map(({ id }) => id)).size).toBe(20)
  })

  it('is kept as its SHA-256 alone: its text is in no row of any table', async () => {
    const { token } = await create({ name: 'Only the digest' })
    const digest = createHash('sha256').update(token).digest('hex')

    const rows = await everyRow()

    expect(hashOf(token)).toBe(digest)
    expect(rows.filter((row) => row.includes(digest))).toEqual([expect.stringContaining('Only the digest')])
    const secret = token.slice('cgw_'.length)
    const forms = [secret, Buffer.from(secret, 'base64url').toString('hex'), Buffer.from(token).toString('hex')]
    expect(rows.filter((row) => forms.some((form) => row.includes(form)))).toEqual([])
  })

  it('has its name trimmed, the permissions and accounts that were named, and its expiry', async () => {
    const expiresAt = inAnHour()

    const { id } = await create({
      name: ' \tNightly import \n',
      accounts: ['other', 'demo'],
      permissions: ['contacts:write', 'organizations:read'],
      expiresAt,
    })

    expect(await listed(id)).toEqual({
      id,
      name: 'Nightly import',
      permissions: ['contacts:write', 'organizations:read'],
      accounts: [
        { id: database.ctx.account, name: 'demo' },
        { id: database.otherCtx.account, name: 'other' },
      ],
      expiresAt,
      lastUsedAt: null,
      revokedAt: null,
      createdAt: expect.any(Date),
    })
  })

  it('may use an account that is named twice once', async () => {
    const { id } = await create({ accounts: ['demo', 'demo'] })

    expect((await listed(id))?.accounts).toEqual([{ id: database.ctx.account, name: 'demo' }])
  })

  it('takes every permission that there is', async () => {
    const { id } = await create({ permissions: [...permission.enumValues] })

    expect((await listed(id))?.permissions).toEqual([
      'organizations:read',
      'organizations:write',
      'contacts:read',
      'contacts:write',
    ])
  })
})

describe('what is refused, and leaves nothing behind', () => {
  it('are accounts that there are not, all of them at once', async () => {
    expect(await issuesOf({ accounts: ['nobody', 'demo', 'no "one"', 'Demo'] })).toEqual([
      {
        path: ['accounts'],
        code: 'NOT_ALLOWED',
        message: 'There is no account of the name "nobody", "no \\"one\\"", "Demo".',
      },
    ])
  })

  it('is a token for no account', async () => {
    expect(await issuesOf({ accounts: [] })).toEqual([
      { path: ['accounts'], code: 'INVALID_TYPE', message: 'At least one account must be named.' },
    ])
  })

  it('is a token without a permission', async () => {
    expect(await issuesOf({ permissions: [] })).toEqual([
      {
        path: ['permissions'],
        code: 'INVALID_TYPE',
        message:
          'At least one permission must be named: organizations:read, organizations:write, contacts:read, contacts:write.',
      },
    ])
  })

  it.each(['contacts:delete', 'contacts:READ', 'contacts:read ', 'contacts', '*', ''])(
    'is the permission %j, among others that there are',
    async (unknown) => {
      expect(await issuesOf({ permissions: ['contacts:read', unknown] })).toEqual([
        {
          path: ['permissions', '1'],
          code: 'NOT_ALLOWED',
          message: `Permission ${JSON.stringify(unknown)} is not one of organizations:read, organizations:write, contacts:read, contacts:write.`,
        },
      ])
    },
  )

  it.each([
    ['', 'BLANK', "Token name can't be blank."],
    [' \u200b\t', 'BLANK', "Token name can't be blank."],
    [undefined, 'REQUIRED', "Token name can't be blank."],
    ['x'.repeat(65), 'TOO_LONG', 'Token name is too long: 65 characters, at most 64 are allowed.'],
    ['a\u0007b', 'INVALID_CHARACTER', 'Token name holds the control character U+0007.'],
    ['a\u0000b', 'INVALID_CHARACTER', 'Token name holds the control character U+0000.'],
    ['a\ud800', 'INVALID_CHARACTER', 'Token name holds half of a surrogate pair.'],
  ])('is the name %j', async (name, code, message) => {
    expect(await issuesOf({ name })).toEqual([{ path: ['name'], code, message }])
  })

  it('is not a name of 64 code points, however many units they take', async () => {
    const name = '🔑'.repeat(64)

    const { id } = await create({ name })

    expect((await listed(id))?.name).toBe(name)
  })

  it('is an expiry that is not in the future', async () => {
    const refusal = [{ path: ['expiresAt'], code: 'OUT_OF_RANGE', message: 'The expiry must be in the future.' }]

    expect(await issuesOf({ expiresAt: new Date() })).toEqual(refusal)
    expect(await issuesOf({ expiresAt: new Date(0) })).toEqual(refusal)
  })

  it('is everything that is wrong, told at once', async () => {
    const issues = await issuesOf({ name: '', accounts: [], permissions: ['all'], expiresAt: new Date(0) })

    expect(issues.map(({ path }) => path)).toEqual([['name'], ['accounts'], ['permissions', '0'], ['expiresAt']])
  })
})

describe('revoking', () => {
  it('is for good, and keeps when it happened first', async () => {
    const { id } = await create()
    const first = await revokeToken(database.db, id)
    const revokedAt = (await listed(id))?.revokedAt

    const second = await revokeToken(database.db, id)

    expect([first, second]).toEqual([true, true])
    expect(revokedAt).toEqual(expect.any(Date))
    expect((await listed(id))?.revokedAt).toEqual(revokedAt)
  })

  it('touches no other token', async () => {
    const [{ id }, other] = [await create(), await create()]
    const before = await listed(other.id)

    await revokeToken(database.db, id)

    expect(await listed(other.id)).toEqual(before)
  })

  it('tells where there is no such token', async () => {
    const before = await everyRow()

    expect(await revokeToken(database.db, 999_999)).toBe(false)
    expect(await everyRow()).toEqual(before)
  })
})

describe('the list', () => {
  it('shows every token, the oldest first, and of none its text or its digest', async () => {
    const made = [await create(), await create(), await create()]

    const all = await listTokens(database.db)

    expect(all.map(({ id }) => id).slice(-3)).toEqual(made.map(({ id }) => id))
    const text = JSON.stringify(all)
    for (const { token } of made) {
      expect(text).not.toContain(token.slice('cgw_'.length))
      expect(text).not.toContain(hashOf(token))
    }
  })
})

const usedAgo = defineStatement<{ id: number; ago: string }>(
  'test_used_ago',
  sql`update tokens set last_used_at = now() - ${param('ago', 'interval')} where id = ${param('id', 'bigint')}`,
)

describe('using a token', () => {
  it('finds it by its digest alone', async () => {
    const { id, token } = await create()

    const found = await useToken(database.db, hashOf(token))

    expect(found).toMatchObject({ id, name: 'A token', permissions: ['contacts:read'] })
    expect(await useToken(database.db, hashOf(`${token}x`))).toBeUndefined()
    expect(await useToken(database.db, token)).toBeUndefined()
  })

  it('notes when it was first used, of this token alone', async () => {
    const [{ id, token }, other] = [await create(), await create()]

    await useToken(database.db, hashOf(token))

    const { lastUsedAt, createdAt } = (await listed(id))!
    expect(lastUsedAt!.getTime()).toBeGreaterThanOrEqual(createdAt.getTime())
    expect((await listed(other.id))?.lastUsedAt).toBeNull()
  })

  it('notes it to the minute: not again before one has passed', async () => {
    const { id, token } = await create()
    await database.db.run(usedAgo, { id, ago: '30 seconds' })
    const before = (await listed(id))!.lastUsedAt

    await useToken(database.db, hashOf(token))

    expect((await listed(id))!.lastUsedAt).toEqual(before)
  })

  it('notes it again when a minute has passed', async () => {
    const { id, token } = await create()
    await database.db.run(usedAgo, { id, ago: '61 seconds' })
    const before = (await listed(id))!.lastUsedAt!

    await useToken(database.db, hashOf(token))

    expect((await listed(id))!.lastUsedAt!.getTime()).toBeGreaterThanOrEqual(before.getTime() + 61_000)
  })
})
