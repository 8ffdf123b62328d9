import type { Permission } from '../db/tables.ts'

/** On whose behalf a request acts, and what it may do. */
export interface Caller {
  readonly account: number
  readonly permissions: ReadonlySet<Permission>
  /** Whom rate limits count; undefined where it is the address. */
  readonly key: string | undefined
}

/** The header fields of a request, by their lower-case names. */
export type HeaderFields = Pick<Headers, 'get'>

/** Finds the caller of a request, or throws an AuthError. */
export type Authenticate = (headers: HeaderFields) => Promise<Caller>

/** Why a request has no caller: 401 it is not known, 403 it may not use the account, 400 it does not say which account. */
export class AuthError extends Error {
  readonly status: 400 | 401 | 403
  /** For WWW-Authenticate, with 401. */
  readonly challenge: string
  constructor(status: 400 | 401 | 403, message: string, challenge = 'Bearer') {
    super(message)
    this.name = 'AuthError'
    this.status = status
    this.challenge = challenge
  }
}

/** The keys that tokens are signed with cannot be fetched from their issuer. */
export class KeysUnavailable extends Error {
  constructor(cause: unknown) {
    super('the keys of the issuer cannot be fetched', { cause })
    this.name = 'KeysUnavailable'
  }
}

const realm = 'Bearer realm="contacts"'

/** Nothing to go by was sent. */
export const missingToken = () => new AuthError(401, 'Unauthorized', realm)
/** What was sent is unknown, expired, revoked or forged: which of these, is nobody's business. */
export const invalidToken = () => new AuthError(401, 'Unauthorized', `${realm}, error="invalid_token"`)

/** The token of `Authorization: Bearer …`; undefined where there is none. */
export function bearerOf(headers: HeaderFields): string | undefined {
  return /^bearer +([\w.~+/-]+=*)\s*$/i.exec(headers.get('authorization') ?? '')?.[1]
}

/** The header that names the account, under the vendor's new name or its old one. */
const accountOf = (headers: HeaderFields) =>
  headers.get('x-xurrent-account') ?? headers.get('x-4me-account') ?? undefined

/** Of the accounts that a caller may use, the one that the request names; the only one where it names none. */
export function chooseAccount(headers: HeaderFields, permitted: readonly { id: number; name: string }[]): number {
  const name = accountOf(headers)
  if (name !== undefined) {
    const account = permitted.find((one) => one.name === name)
    // The same answer whether there is such an account or not.
    if (!account) throw new AuthError(403, 'Forbidden')
    return account.id
  }
  const [only, ...others] = permitted
  if (!only) throw new AuthError(403, 'Forbidden')
  if (others.length > 0) throw new AuthError(400, 'Several accounts may be used: name one in X-Xurrent-Account')
  return only.id
}
