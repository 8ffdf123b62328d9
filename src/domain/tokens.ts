import { hash, randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Database } from '../db/client.ts'
import { defineRead, defineStatement, type ParameterValue, param } from '../db/statement.ts'
import { accounts, maxLength, type Permission, permission, tokenAccounts, tokens } from '../db/tables.ts'
import { ValidationError } from './errors.ts'
import { line, parse, report, storableText } from './parse.ts'

/** Tells our tokens from others, for people and for scanners of published code. */
export const tokenPrefix = 'cgw_'
/** 256 bits, which nobody guesses; a plain digest of them is as good as a slow one. */
const tokenBytes = 32

export const isToken = (text: string) => /^cgw_[\w-]{43}$/.test(text)

export const hashOf = (token: string) => hash('sha256', token)

export interface Token {
  id: number
  name: string
  permissions: Permission[]
  accounts: { id: number; name: string }[]
  expiresAt: Date | null
  lastUsedAt: Date | null
  revokedAt: Date | null
  createdAt: Date
}

type TokenCells = [number, string, Permission[], { id: number; name: string }[], ...(Date | null)[]]

const toToken = ([
  id,
  name,
  permissions,
  accounts,
  expiresAt,
  lastUsedAt,
  revokedAt,
  createdAt,
]: TokenCells): Token => ({
  id,
  name,
  permissions,
  accounts,
  expiresAt: expiresAt ?? null,
  lastUsedAt: lastUsedAt ?? null,
  revokedAt: revokedAt ?? null,
  createdAt: createdAt!,
})

const tokenColumns = sql`t.id, t.name, to_jsonb(t.permissions), (
    select coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name) order by a.name), '[]')
    from ${tokenAccounts} u join ${accounts} a on a.id = u.account_id where u.token_id = t.id
  ), t.expires_at, t.last_used_at, t.revoked_at, t.created_at`

const lastYear = 9999

const tokenInput = z.object({
  name: line('Token name', maxLength.tokenName),
  accounts: z
    .array(storableText)
    .min(1, 'At least one account must be named.')
    .transform((names) => [...new Set(names)]),
  permissions: z
    .array(
      z.enum(permission.enumValues, {
        error: ({ input }) => `Permission ${JSON.stringify(input)} is not one of ${permission.enumValues.join(', ')}.`,
      }),
    )
    .min(1, `At least one permission must be named: ${permission.enumValues.join(', ')}.`)
    .transform((names) => [...new Set(names)]),
  expiresAt: z
    .date()
    .nullable()
    .superRefine((at, context) => {
      if (at && at.getTime() <= Date.now()) report(context, 'OUT_OF_RANGE', 'The expiry must be in the future.')
      if (at && at.getUTCFullYear() > lastYear)
        report(context, 'OUT_OF_RANGE', `The expiry must be before the year ${lastYear + 1}.`)
    }),
})

const createStatement = defineStatement<Record<string, ParameterValue>, { id: number | null; missing: string[] }>(
  'create_token',
  sql`with chosen as materialized (
      select n.name, n.place, a.id from unnest(${param('accounts', 'text[]')}) with ordinality as n(name, place)
      left join ${accounts} a on a.name = n.name
    ), created as (
      insert into ${tokens} (name, hash, permissions, expires_at)
      select ${param('name', 'text')}, ${param('hash', 'text')}, ${param('permissions', 'permission[]')},
        ${param('expiresAt', 'timestamptz')}
      where not exists (select from chosen where id is null)
      returning id
    ), permitted as (
      insert into ${tokenAccounts} (account_id, token_id) select distinct chosen.id, created.id from chosen, created
    )
    select (select id from created), (select coalesce(jsonb_agg(name order by place), '[]') from chosen where id is null)`,
  ([id, missing]) => ({ id, missing }),
)

/** Creates a token. What is returned is the only copy of it that there will ever be. */
export async function createToken(db: Database, input: unknown): Promise<{ id: number; token: string }> {
  const { name, accounts, permissions, expiresAt } = parse(tokenInput, input)
  const token = tokenPrefix + randomBytes(tokenBytes).toString('base64url')
  const [created] = await db.run(createStatement, { name, hash: hashOf(token), accounts, permissions, expiresAt })
  if (created!.id === null) {
    const message = `There is no account of the name ${created!.missing.map((missing) => JSON.stringify(missing)).join(', ')}.`
    throw new ValidationError([{ path: ['accounts'], code: 'NOT_ALLOWED', message }])
  }
  return { id: created!.id, token }
}

const listStatement = defineRead<Record<never, never>, Token>(
  'list_tokens',
  sql`select ${tokenColumns} from ${tokens} t order by t.id`,
  toToken,
)

export function listTokens(db: Database): Promise<Token[]> {
  return db.run(listStatement, {})
}

const revokeStatement = defineStatement<{ id: number }, { revoked: boolean }>(
  'revoke_token',
  sql`update ${tokens} set revoked_at = coalesce(revoked_at, now()) where id = ${param('id', 'bigint')} returning true`,
  ([revoked]) => ({ revoked }),
)

/** Revokes a token for good; false where there is none with that id. */
export async function revokeToken(db: Database, id: number): Promise<boolean> {
  return (await db.run(revokeStatement, { id })).length > 0
}

const useStatement = defineRead<{ hash: string }, Token>(
  'use_token',
  sql`with used as (
      update ${tokens} set last_used_at = now()
      where hash = ${param('hash', 'text')} and revoked_at is null and (expires_at is null or expires_at > now())
        and (last_used_at is null or last_used_at < now() - interval '1 minute')
    )
    select ${tokenColumns} from ${tokens} t where t.hash = ${param('hash', 'text')}`,
  toToken,
)

/**
 * The token with this hash, whether it may still be used or not; notes, to the minute, that it was used. The look-up is by
 * the hash alone, so its timing tells nothing about any token.
 */
export async function useToken(db: Database, hash: string): Promise<Token | undefined> {
  const [token] = await db.run(useStatement, { hash })
  return token
}
