import { createHmac, generateKeyPairSync } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { byJwt, type JwtOptions } from '../../src/auth/jwt.ts'
import { createAccount } from '../../src/domain/accounts.ts'
import { appFor } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'

const database = useDatabase()
beforeAll(async () => {
  await anOrganization(database.ctx, { name: 'Ours' })
  await anOrganization(database.otherCtx, { name: 'Theirs' })
})

const issuer = 'https://issuer.example'
const audience = 'contacts-gateway'
const toleranceSeconds = 30

interface Key {
  kid: string
  alg: string
  privateKey: CryptoKey
  publicKey: CryptoKey
  jwk: JWK
}

async function makeKey(alg: string, kid = `${alg}-${Math.random()}`): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

let rsa: Key
let ec: Key
let ed: Key
beforeAll(async () => {
  ;[rsa, ec, ed] = (await Promise.all(['RS256', 'ES256', 'EdDSA'].map((alg) => makeKey(alg)))) as [Key, Key, Key]
})

/** What publishes the keys, by HTTP. */
const issuing = {
  server: undefined as unknown as Server,
  keys: [] as JWK[],
  requests: 0,
  /** How it answers; by its keys unless told otherwise. */
  fault: undefined as 'closes' | 'says 500' | 'says 404' | 'redirects' | 'sends no JSON' | 'sends no keys' | undefined,
}
beforeEach(async () => {
  Object.assign(issuing, { keys: [rsa.jwk, ec.jwk, ed.jwk], requests: 0, fault: undefined })
  issuing.server = createServer((req, res) => {
    issuing.requests += 1
    if (issuing.fault === 'closes') req.socket.destroy()
    else if (issuing.fault === 'says 500') res.writeHead(500).end('{}')
    else if (issuing.fault === 'says 404') res.writeHead(404).end('{}')
    else if (issuing.fault === 'redirects') res.writeHead(302, { location: '/elsewhere' }).end()
    else if (issuing.fault === 'sends no JSON') res.end('<html>')
    else if (issuing.fault === 'sends no keys') res.end('{}')
    else res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: issuing.keys }))
  })
  await new Promise<void>((resolve) => issuing.server.listen(0, '127.0.0.1', resolve))
})
afterEach(async () => {
  vi.restoreAllMocks()
  issuing.server.closeAllConnections()
  await new Promise((resolve) => issuing.server.close(resolve))
})

const jwksUrl = () => new URL(`http://127.0.0.1:${(issuing.server.address() as AddressInfo).port}/keys`)

/** The gateway that asks this issuer, as if it had just been started. */
function start(given: Partial<JwtOptions> = {}) {
  const options: JwtOptions = {
    keys: { jwksUrl: jwksUrl() },
    issuer,
    audience,
    clockToleranceSeconds: toleranceSeconds,
    accountClaim: 'account',
    permissionsClaim: 'permissions',
    ...given,
  }
  const { handle } = appFor(database.ctx, { authenticate: byJwt(database.db, options) })
  /** Reads the names of the organizations by GraphQL, and where that is refused, how. */
  return async (token: string, headers: Record<string, string> = {}) => {
    const response = await handle(
      new Request('http://gateway/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
        body: JSON.stringify({ query: '{ organizations { nodes { name } } }' }),
      }),
    )
    const { data, errors } = (await response.json()) as {
      data?: { organizations: { nodes: { name: string }[] } }
      errors?: { message: string; extensions: { code: string } }[]
    }
    return {
      status: response.status,
      challenge: response.headers.get('www-authenticate'),
      names: data?.organizations?.nodes.map(({ name }) => name),
      code: errors?.[0]?.extensions.code,
      message: errors?.[0]?.message,
    }
  }
}

const accepted = { status: 200, challenge: null, names: ['Ours'], code: undefined, message: undefined }
const refused = {
  status: 401,
  challenge: 'Bearer realm="contacts", error="invalid_token"',
  names: undefined,
  code: 'UNAUTHENTICATED',
  message: 'Unauthorized',
}
const unavailable = {
  status: 503,
  challenge: null,
  names: undefined,
  code: 'SERVICE_UNAVAILABLE',
  message: 'Callers cannot be authenticated at the moment. Try again later.',
}
const forbidden = { status: 403, challenge: null, names: undefined, code: 'FORBIDDEN', message: 'Forbidden' }

const now = () => Math.floor(Date.now() / 1000)

const claimsWith = (given: JWTPayload = {}): JWTPayload => ({
  iss: issuer,
  aud: audience,
  sub: 'somebody',
  exp: now() + 300,
  account: 'demo',
  permissions: ['organizations:read'],
  ...given,
})

/** A token of the issuer; claims that are undefined are left out. */
const sign = (claims: JWTPayload = {}, key: Key = ec, header: object = {}) =>
  new SignJWT(JSON.parse(JSON.stringify(claimsWith(claims))))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey)

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('a token of the issuer', () => {
  it.each(['RS256', 'ES256', 'EdDSA', 'PS256', 'RS512', 'ES384', 'Ed25519'])(
    'is accepted when signed by %s',
    async (alg) => {
      const key = await makeKey(alg)
      issuing.keys = [rsa.jwk, key.jwk, ec.jwk]

      expect(await start()(await sign({}, key))).toEqual(accepted)
    },
  )

  it('is accepted when it is for us among others', async () => {
    expect(await start()(await sign({ aud: ['another', audience] }))).toEqual(accepted)
  })

  it('is accepted without a key id where one key fits alone', async () => {
    expect(await start()(await sign({}, ec, { kid: undefined }))).toEqual(accepted)
  })

  it('is refused without a key id where several keys fit', async () => {
    issuing.keys = [ec.jwk, (await makeKey('ES256')).jwk]

    expect(await start()(await sign({}, ec, { kid: undefined }))).toEqual(refused)
  })

  it.each([
    ['expired within the tolerance', () => ({ exp: now() - toleranceSeconds + 15 })],
    ['valid from a moment within the tolerance', () => ({ nbf: now() + toleranceSeconds - 15 })],
  ])('is accepted when %s', async (_, claims) => {
    expect(await start()(await sign(claims()))).toEqual(accepted)
  })

  it.each([
    ['expired beyond the tolerance', () => ({ exp: now() - toleranceSeconds - 1 })],
    ['not valid yet, beyond the tolerance', () => ({ nbf: now() + toleranceSeconds + 60 })],
    ['without an end', () => ({ exp: undefined })],
    ['with an end that is no time', () => ({ exp: 'tomorrow' as unknown as number })],
    ['of another issuer', () => ({ iss: `${issuer}/` })],
    ['of no issuer', () => ({ iss: undefined })],
    ['for others', () => ({ aud: ['contacts', 'gateway'] })],
    ['for nobody', () => ({ aud: undefined })],
  ])('is refused when it is %s', async (_, claims) => {
    expect(await start()(await sign(claims()))).toEqual(refused)
  })

  it('is not accepted beyond its end where there is no tolerance', async () => {
    const read = start({ clockToleranceSeconds: 0 })

    const answers = [await read(await sign({ exp: now() - 1 })), await read(await sign({ exp: now() + 60 }))]

    expect(answers).toEqual([refused, accepted])
  })
})

describe('what is no token of the issuer', () => {
  it.each(['HS256', 'HS384', 'HS512'])('is one signed with the public key as the secret of %s', async (alg) => {
    const pem = await exportSPKI(rsa.publicKey)
    const secrets = [pem, pem.trim(), JSON.stringify(rsa.jwk), rsa.jwk.n!]
    const head = `${encode({ alg, kid: rsa.kid })}.${encode(claimsWith())}`
    const tokens = secrets.map((secret) => {
      const signature = createHmac(alg.replace('HS', 'sha'), secret).update(head).digest('base64url')
      return `${head}.${signature}`
    })
    const reads = [start(), start({ keys: { publicKey: pem } })]

    const answers = await Promise.all(reads.flatMap((read) => tokens.map((token) => read(token))))

    expect(answers).toEqual(Array(8).fill(refused))
  })

  it.each(['none', 'None', 'NONE', ''])('is one of the algorithm %j', async (alg) => {
    const read = start()
    const unsigned = `${encode({ alg, kid: ec.kid })}.${encode(claimsWith())}.`
    const [, , signature] = (await sign()).split('.')

    expect(await read(unsigned)).toEqual(refused)
    expect(await read(unsigned + signature)).toEqual(refused)
  })

  it('is one whose key the issuer does not have, also under the id of one that it has', async () => {
    const stranger = await makeKey('ES256')
    const read = start()

    const answers = [await read(await sign({}, stranger)), await read(await sign({}, { ...stranger, kid: ec.kid }))]

    expect(answers).toEqual([refused, refused])
  })

  it('is one that brings its own key along', async () => {
    const stranger = await makeKey('ES256')
    const { kid: _, ...jwk } = stranger.jwk
    const read = start()

    const answers = [
      await read(await sign({}, stranger, { jwk })),
      await read(await sign({}, stranger, { jku: 'http://127.0.0.1:1/keys' })),
    ]

    expect(answers).toEqual([refused, refused])
  })

  it('is one whose payload, head or signature was changed', async () => {
    const [head, payload, signature] = (await sign()).split('.') as [string, string, string]
    const changed = encode(claimsWith({ account: 'other' }))
    const read = start()

    const answers = await Promise.all(
      [
        `${head}.${changed}.${signature}`,
        `${encode({ alg: 'ES256', kid: ec.kid, typ: 'x' })}.${payload}.${signature}`,
        `${head}.${payload}.${signature.slice(0, -4)}AAAA`,
        `${head}.${payload}.`,
      ].map((token) => read(token)),
    )

    expect(answers).toEqual(Array(4).fill(refused))
  })

  it.each([
    ['a text', 'abc'],
    ['dots', '..'],
    ['two parts', 'a.b'],
    ['five parts', 'a.b.c.d.e'],
    ['a head that is no JSON', `${Buffer.from('{').toString('base64url')}.e30.AAAA`],
    ['a head that is a list', `${encode([])}.e30.AAAA`],
    ['a payload that is a list', `${encode({ alg: 'ES256' })}.${encode([])}.AAAA`],
    ['an algorithm that there is not', `${encode({ alg: 'XX999' })}.e30.AAAA`],
    ['an extension that must be understood', `${encode({ alg: 'ES256', crit: ['x'], x: 1 })}.e30.AAAA`],
    ['a token of ours', `cgw_${'a'.repeat(43)}`],
  ])('is %s', async (_, token) => {
    expect(await start()(token)).toEqual(refused)
  })

  it('is a request without one', async () => {
    const answer = await start()('', { authorization: '' })

    expect(answer).toEqual({ ...refused, challenge: 'Bearer realm="contacts"' })
  })
})

describe('the keys', () => {
  /** Lets the clock be ahead that the age of the keys is told by. */
  const advance = (ms: number) => {
    const real = Date.now.bind(Date)
    vi.spyOn(Date, 'now').mockImplementation(() => real() + ms)
  }

  it('are fetched when they are first needed, and once for all who need them at once', async () => {
    const read = start()
    const before = issuing.requests

    const answers = await Promise.all([
      read(await sign()),
      read(await sign({}, rsa)),
      read(await sign({}, ed)),
      read(await sign()),
    ])

    expect(before).toBe(0)
    expect(answers).toEqual(Array(4).fill(accepted))
    expect(issuing.requests).toBe(1)
  })

  it('are kept', async () => {
    const read = start()
    for (let i = 0; i < 10; i += 1) await read(await sign())

    advance(9 * 60_000)
    const answer = await read(await sign({ exp: now() + 3600 }))

    expect(answer).toEqual(accepted)
    expect(issuing.requests).toBe(1)
  })

  it('are fetched again when a token names a new one, without a restart', async () => {
    const read = start()
    await read(await sign())
    const next = await makeKey('ES256')
    issuing.keys = [next.jwk]

    advance(31_000)
    const answers = [await read(await sign({}, next)), await read(await sign({}, ec))]

    expect(answers).toEqual([accepted, refused])
    expect(issuing.requests).toBe(2)
  })

  it('are not fetched again and again for keys that there are not', async () => {
    const read = start()
    await read(await sign())
    const stranger = await makeKey('ES256')

    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => read(await sign({}, { ...stranger, kid: `unknown-${i}` }))),
    )

    expect(answers).toEqual(Array(50).fill(refused))
    expect(issuing.requests).toBe(1)
  })

  it('are fetched again after ten minutes, so that one that is withdrawn is refused', async () => {
    const read = start()
    const token = await sign({ exp: now() + 3600 })
    const before = await read(token)
    issuing.keys = [rsa.jwk]

    advance(10 * 60_000 + 1_000)
    const after = await read(token)

    expect([before, after]).toEqual([accepted, refused])
  })

  it.each(['closes', 'says 500', 'says 404', 'redirects', 'sends no JSON', 'sends no keys'] as const)(
    'cannot be had from an issuer that %s, which is no fault of the caller, and ends when it is over',
    async (fault) => {
      const read = start()
      const token = await sign()
      issuing.fault = fault
      const during = await read(token)

      issuing.fault = undefined
      const after = await read(token)

      expect([during, after]).toEqual([unavailable, accepted])
    },
  )

  it('are used on while the issuer is away', async () => {
    const read = start()
    const token = await sign()
    await read(token)

    issuing.fault = 'closes'

    expect(await read(token)).toEqual(accepted)
  })
})

describe('a public key instead of an address', () => {
  const keysOf = async (key: Key) => ({ keys: { publicKey: await exportSPKI(key.publicKey) } })

  it.each(['RS256', 'ES256', 'EdDSA', 'Ed25519', 'PS384'])('verifies %s, and fetches nothing', async (alg) => {
    const key = await makeKey(alg)
    const read = start(await keysOf(key))

    expect(await read(await sign({}, key))).toEqual(accepted)
    expect(issuing.requests).toBe(0)
  })

  it('refuses what another key has signed', async () => {
    const read = start(await keysOf(ec))

    expect(await read(await sign({}, await makeKey('ES256')))).toEqual(refused)
  })

  it.each([
    ['RS256', 'ES256'],
    ['EdDSA', 'ES256'],
    ['ES384', 'ES256'],
    ['ES256', 'RS256'],
    ['EdDSA', 'RS256'],
    ['RS256', 'EdDSA'],
  ])('refuses %s where the key is for %s', async (alg, keyAlg) => {
    const read = start(await keysOf(await makeKey(keyAlg)))

    expect(await read(await sign({}, await makeKey(alg)))).toEqual(refused)
  })

  it('verifies by a key that another program has made', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const token = await new SignJWT(claimsWith()).setProtectedHeader({ alg: 'ES256' }).sign(privateKey)

    expect(await start({ keys: { publicKey: pem } })(token)).toEqual(accepted)
  })
})

describe('the account claim', () => {
  const named = (account: string) => ({ 'x-xurrent-account': account })

  it.each([
    ['a text', 'other'],
    ['a list of one', ['other']],
    ['a list that names it twice', ['other', 'other']],
    ['a list with one that there is not', ['nobody', 'other']],
    ['a list with what is no name', [1, null, { name: 'demo' }, ['demo'], 'other']],
  ])('as %s names the account', async (_, account) => {
    expect(await start()(await sign({ account }))).toEqual({ ...accepted, names: ['Theirs'] })
  })

  it('as a list lets the caller choose', async () => {
    const read = start()
    const token = await sign({ account: ['demo', 'other'] })

    const answers = await Promise.all([
      read(token, named('demo')),
      read(token, named('other')),
      read(token, { 'x-4me-account': 'other' }),
      read(token, named('nobody')),
      read(token),
    ])

    expect(answers.map(({ status, names }) => [status, names])).toEqual([
      [200, ['Ours']],
      [200, ['Theirs']],
      [200, ['Theirs']],
      [403, undefined],
      [400, undefined],
    ])
  })

  it.each([
    ['missing', undefined],
    ['empty', ''],
    ['an empty list', []],
    ['null', null],
    ['a number', 1],
    ['true', true],
    ['an object', { name: 'demo' }],
    ['one that there is not', 'nobody'],
    ['in other letters', 'DEMO'],
    ['a name with a character that no name has', 'de\0mo'],
  ])('is forbidden everything when it is %s', async (_, account) => {
    expect(await start()(await sign({ account }))).toEqual(forbidden)
  })

  it('tells the same of an account that it does not name and of one that there is not', async () => {
    const read = start()
    const token = await sign()

    expect([await read(token, named('other')), await read(token, named('nobody'))]).toEqual([forbidden, forbidden])
  })

  it('as a text is one name, also where that has spaces', async () => {
    const account = await createAccount(database.db, 'demo other')
    await anOrganization({ ...database.ctx, account: account.id }, { name: 'Of the third' })

    expect(await start()(await sign({ account: 'demo other' }))).toEqual({ ...accepted, names: ['Of the third'] })
  })

  it('can have another name', async () => {
    const read = start({ accountClaim: 'https://contacts.example/account' })

    const answer = await read(await sign({ account: 'demo', 'https://contacts.example/account': 'other' }))

    expect(answer).toEqual({ ...accepted, names: ['Theirs'] })
  })
})

describe('the permissions claim', () => {
  const noPermission = {
    status: 200,
    challenge: null,
    names: undefined,
    code: 'FORBIDDEN',
    message: 'This needs the permission organizations:read.',
  }

  it.each([
    ['a list', ['contacts:read', 'organizations:read']],
    ['a text with spaces', ' contacts:read  organizations:read '],
    ['a list in which to write includes to read', ['organizations:write']],
    ['a text with others among them', 'openid profile organizations:read contacts:fly'],
    ['a list with what is none among them', ['openid', 1, null, ['x'], 'organizations:read']],
  ])('is taken as %s', async (_, permissions) => {
    expect(await start()(await sign({ permissions }))).toEqual(accepted)
  })

  it.each([
    ['missing', undefined],
    ['empty', ''],
    ['of others alone', 'admin * organizations:* organizations organizations:READ organizations:delete'],
    ['for contacts alone', ['contacts:write']],
    ['separated by commas', 'organizations:read,contacts:read'],
    ['nested', [['organizations:read']]],
    ['an object', { 'organizations:read': true }],
    ['true', true],
  ])('permits nothing of this when it is %s', async (_, permissions) => {
    expect(await start()(await sign({ permissions }))).toEqual(noPermission)
  })

  it('can have another name', async () => {
    const read = start({ permissionsClaim: 'scope' })

    const answers = [
      await read(await sign({ permissions: undefined, scope: 'openid organizations:read' })),
      await read(await sign({ permissions: ['organizations:read'] })),
    ]

    expect(answers).toEqual([accepted, noPermission])
  })
})
