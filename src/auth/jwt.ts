import { createPublicKey } from 'node:crypto'
import { createLocalJWKSet, createRemoteJWKSet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
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
  /** The claim that names the account, as a text, or the accounts, as a list. */
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
    const names = new Set(textsOf(payload[accountClaim]))
    const named = await Promise.all([...names].map((name) => accounts.get(name)))
    return {
      account: chooseAccount(
        headers,
        named.filter((account) => account !== undefined),
      ),
      permissions: withIncluded(wordsOf(payload[permissionsClaim]).filter(isPermission)),
      key: `subject ${payload.sub ?? ''} of ${issuer}`,
    }
  }
}

/** The one key, whatever key a token names; to a token of an algorithm that it is not for, there is none. */
function fixedKey(pem: string): JWTVerifyGetKey {
  const keys = createLocalJWKSet({ keys: [createPublicKey(pem).export({ format: 'jwk' })] })
  return ({ kid: _, ...header }, token) => keys(header, token)
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
  return (Array.isArray(claim) ? claim : [claim]).filter((item) => typeof item === 'string')
}

/** A text holds several, as `scope` does. */
const wordsOf = (claim: unknown) => (typeof claim === 'string' ? claim.split(' ') : textsOf(claim))
