import type { Database } from '../db/client.ts'
import { withIncluded } from '../domain/context.ts'
import { hashOf, isToken, type Token, useToken } from '../domain/tokens.ts'
import { type Authenticate, bearerOf, chooseAccount, invalidToken, missingToken } from './authenticate.ts'
import { createCache } from './cache.ts'

/** For how long a revoked token may still be taken. */
const cacheMs = 5_000
const cachedTokens = 10_000

/** Authenticates by tokens of the table. Each is looked up once in a few seconds, also those that do not exist. */
export function byToken(db: Database): Authenticate {
  const tokens = createCache<Token | undefined>(cachedTokens, cacheMs, (hash) => useToken(db, hash))
  return async (headers) => {
    const given = bearerOf(headers)
    if (given === undefined) throw missingToken()
    if (!isToken(given)) throw invalidToken()
    const token = await tokens.get(hashOf(given))
    if (!token || token.revokedAt || (token.expiresAt && token.expiresAt.getTime() <= Date.now())) throw invalidToken()
    return {
      account: chooseAccount(headers, token.accounts),
      permissions: withIncluded(token.permissions),
      key: `token ${token.id}`,
    }
  }
}
