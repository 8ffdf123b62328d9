import type { Database } from '../db/client.ts'
import { withIncluded } from '../domain/context.ts'
import { hashOf, isToken, type Token, useToken } from '../domain/tokens.ts'
import { type Authenticate, bearerOf, type Caller, chooseAccount, invalidToken, missingToken } from './authenticate.ts'
import { createCache } from './cache.ts'

/** For how long a revoked token may still be taken. */
const cacheMs = 5_000
const cachedTokens = 10_000

/** What is the same for each request with a token. */
interface Holder {
  readonly accounts: Token['accounts']
  readonly permissions: Caller['permissions']
  readonly key: string
  /** The first millisecond in which it is refused. */
  readonly refusedFrom: number
}

/** Authenticates by tokens of the table. Each is looked up once in a few seconds, also those that do not exist. */
export function byToken(db: Database): Authenticate {
  const holders = createCache(cachedTokens, cacheMs, async (hash) => toHolder(await useToken(db, hash)))
  return async (headers) => {
    const given = bearerOf(headers)
    if (given === undefined) throw missingToken()
    if (!isToken(given)) throw invalidToken()
    const holder = await holders.get(hashOf(given))
    if (!holder || holder.refusedFrom <= Date.now()) throw invalidToken()
    const { accounts, permissions, key } = holder
    return { account: chooseAccount(headers, accounts), permissions, key }
  }
}

function toHolder(token: Token | undefined): Holder | undefined {
  if (!token || token.revokedAt) return undefined
  const { id, accounts, permissions, expiresAt } = token
  return {
    accounts,
    permissions: withIncluded(permissions),
    key: `token ${id}`,
    refusedFrom: expiresAt?.getTime() ?? Number.POSITIVE_INFINITY,
  }
}
