import { createPublicKey } from 'node:crypto'
import { createRemoteJWKSet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import type { Database } from '../db/client.ts'
import { type Permission, permission } from '../db/tables.ts'
import { type Account, findAccount } from '../domain/accounts.ts'
import { withIncluded } from '../domain/context.ts'
import {
  type Authenticate,
  bearerOf,
  chooseAccount,
  invalidToken,
  KeysUnavailable,
  missingToken,
} from './authenticate.ts'
import { createCache } from './cache.ts'

export interface JwtOptions {
  /** Where the keys are; or one public key, as PEM. */
  keys: { jwksUrl: URL } | { publicKey: string }
  issuer: string
  audience: string
  /** How far clocks may be apart, in seconds. */
  clockToleranceSeconds: number
  /** The claim that names the account or the accounts. */
  accountClaim: string
  /** The claim with the permissions: a list, or a text with spaces between them. */
  permissionsClaim: string
}

/** Only signatures that the verifier could not have made itself, and never `none`. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

const accountCacheMs = 60_000
const cachedAccounts = 10_000

/** Authenticates by JSON Web Tokens that somebody else issues. Keys are fetched when first needed, kept, and rotated. */
export function byJwt(db: Database, options: JwtOptions): Authenticate {
  const { keys, issuer, audience, clockToleranceSeconds, accountClaim, permissionsClaim } = options
  const key: JWTVerifyGetKey = 'jwksUrl' in keys ? createRemoteJWKSet(keys.jwksUrl) : fixedKey(keys.publicKey)
  const accounts = createCache<Account | undefined>(cachedAccounts, accountCacheMs, (name) => findAccount(db, name))

  return async (headers) => {
    const given = bearerOf(headers)
    if (given === undefined) throw missingToken()
    const payload = await verify(given, key, {
      issuer,
      audience,
      clockTolerance: clockToleranceSeconds,
      algorithms,
      requiredClaims: ['exp'],
    })
    const named = await Promise.all(textsOf(payload[accountClaim]).map((name) => accounts.get(name)))
    return {
      account: chooseAccount(
        headers,
        named.filter((account) => account !== undefined),
      ),
      permissions: withIncluded(textsOf(payload[permissionsClaim]).filter(isPermission)),
      key: `subject ${payload.sub ?? ''} of ${issuer}`,
    }
  }
}

function fixedKey(pem: string): JWTVerifyGetKey {
  const key = createPublicKey(pem)
  return () => key
}

async function verify(token: string, key: JWTVerifyGetKey, options: object): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, key, options)).payload
  } catch (error) {
    const { code = '' } = error as { code?: string }
    // Whatever is wrong with the token itself says so by its code; a key set that cannot be fetched does not.
    if (/^ERR_(JWT|JWS|JWKS_NO_MATCHING_KEY|JWKS_MULTIPLE|JOSE_ALG|JOSE_NOT_SUPPORTED)/.test(code)) throw invalidToken()
    throw new KeysUnavailable(error)
  }
}

const isPermission = (text: string): text is Permission => (permission.enumValues as readonly string[]).includes(text)

function textsOf(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(' ').filter(Boolean)
  return Array.isArray(claim) ? claim.filter((item) => typeof item === 'string') : []
}
