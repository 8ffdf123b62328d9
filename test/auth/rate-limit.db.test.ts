import { pino } from 'pino'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { AppOptions } from '../../src/app.ts'
import { createRateLimiter, RateLimited, type RateLimits } from '../../src/auth/rate-limit.ts'
import { byToken } from '../../src/auth/token.ts'
import { DatabaseUnavailable } from '../../src/db/errors.ts'
import { createToken } from '../../src/domain/tokens.ts'
import { appOptionsFor, createWebApp, runningBy } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let tokens: [string, string]
let organization: { id: number }
beforeAll(async () => {
  const create = async () => {
    const permissions = ['organizations:write', 'contacts:write']
    const { token } = await createToken(database.db, { name: 'Test', accounts: ['demo'], permissions, expiresAt: null })
    return token
  }
  tokens = [await create(), await create()]
  organization = await anOrganization(database.ctx)
  await aContact(database.ctx, organization.id)
})
afterEach(() => {
  vi.restoreAllMocks()
})

const plenty: RateLimits = { requests: 1000, nodes: 1_000_000, concurrent: 1000, streams: 1000 }

interface Sent {
  query?: string
  token?: string
  address?: string
}
interface Answer {
  status: number
  /** The headers that speak of limits. */
  limits: Record<string, string>
  body: unknown
}
type Send = (sent?: Sent) => Promise<Answer>

/** A gateway with these limits, and its two doors. */
function start(given: Partial<RateLimits>, options: Partial<AppOptions> = {}) {
  const limiter = createRateLimiter({ ...plenty, ...given }, undefined)
  const app = createWebApp(appOptionsFor(database.ctx, { authenticate: byToken(database.db), limiter, ...options }))
  const send = async (request: Request, address: string): Promise<Answer> => {
    const { status, headers, ...response } = await app.handle(request, address).then(async (answered) => ({
      status: answered.status,
      headers: [...answered.headers],
      body: JSON.parse((await answered.text()) || 'null'),
    }))
    const limits = Object.fromEntries(headers.filter(([name]) => /^(ratelimit-|retry-after)/.test(name)))
    return { status, limits, body: response.body }
  }
  const headersOf = (token: string | undefined) => ({
    'content-type': 'application/json',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  })
  const graphql: Send = ({ query = '{ __typename }', token, address = '192.0.2.1' } = {}) =>
    send(
      new Request('http://gateway/graphql', {
        method: 'POST',
        headers: headersOf(token),
        body: JSON.stringify({ query }),
      }),
      address,
    )
  const rest: Send = ({ token, address = '192.0.2.1' } = {}) =>
    send(new Request(`http://gateway/v1/organizations/${organization.id}`, { headers: headersOf(token) }), address)
  return { GraphQL: graphql, REST: rest }
}

const refusals = {
  GraphQL: (message: string): unknown => ({ errors: [{ message, extensions: { code: 'RATE_LIMITED' } }] }),
  REST: (): unknown => ({ message: 'Too Many Requests' }),
}
const doors = ['GraphQL', 'REST'] as const

const anyone = async () => ({
  account: database.ctx.account,
  permissions: database.ctx.permissions,
  key: undefined,
})

const seconds = expect.stringMatching(/^([1-9]|[1-5]\d|60)$/)
const statusesOf = (answers: Answer[]) => answers.map(({ status }) => status)

/** One after the other. */
async function times<Result>(count: number, attempt: () => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (let i = 0; i < count; i += 1) results.push(await attempt())
  return results
}

describe.each(doors)('requests by %s', (door) => {
  it('are answered up to the limit, which every answer tells, and refused above it', async () => {
    const send = start({ requests: 3 })[door]

    const answers = await times(4, () => send({ token: tokens[0] }))

    expect(statusesOf(answers)).toEqual([200, 200, 200, 429])
    expect(answers.map(({ limits }) => limits)).toEqual([
      { 'ratelimit-limit': '3', 'ratelimit-remaining': '2', 'ratelimit-reset': seconds },
      { 'ratelimit-limit': '3', 'ratelimit-remaining': '1', 'ratelimit-reset': seconds },
      { 'ratelimit-limit': '3', 'ratelimit-remaining': '0', 'ratelimit-reset': seconds },
      { 'ratelimit-limit': '3', 'ratelimit-remaining': '0', 'ratelimit-reset': seconds, 'retry-after': seconds },
    ])
    expect(answers[3]!.limits['retry-after']).toBe(answers[3]!.limits['ratelimit-reset'])
    expect(answers[3]!.body).toEqual(refusals[door]('4 requests within 60 seconds; at most 3 are allowed.'))
  })

  it('of one token leave those of another alone, also from the same address', async () => {
    const send = start({ requests: 1 })[door]
    const first = await times(2, () => send({ token: tokens[0] }))

    const second = await send({ token: tokens[1] })

    expect(statusesOf([...first, second])).toEqual([200, 429, 200])
  })

  it('of one token are counted together from wherever they come', async () => {
    const send = start({ requests: 1 })[door]

    const answers = [
      await send({ token: tokens[0], address: '192.0.2.1' }),
      await send({ token: tokens[0], address: '192.0.2.2' }),
    ]

    expect(statusesOf(answers)).toEqual([200, 429])
  })

  it('without authentication are counted by address', async () => {
    const send = start({ requests: 1 }, { authenticate: anyone })[door]

    const answers = [
      await send({ address: '192.0.2.1' }),
      await send({ address: '192.0.2.1' }),
      await send({ address: '192.0.2.2' }),
    ]

    expect(statusesOf(answers)).toEqual([200, 429, 200])
  })

  it('that fail to authenticate are counted by address, with any token or none', async () => {
    const send = start({ requests: 2 })[door]

    const answers = [
      await send({ token: `cgw_${'a'.repeat(43)}` }),
      await send({}),
      await send({ token: `cgw_${'b'.repeat(43)}` }),
      await send({}),
      await send({ token: `cgw_${'b'.repeat(43)}`, address: '192.0.2.2' }),
    ]

    expect(statusesOf(answers)).toEqual([401, 401, 429, 429, 401])
    expect(answers[2]!.body).toEqual(refusals[door]('3 requests within 60 seconds; at most 2 are allowed.'))
  })

  it('that fail to authenticate do not shut out a valid token from the same address', async () => {
    const send = start({ requests: 1 })[door]
    const failed = await times(3, () => send({ token: 'wrong' }))

    const answer = await send({ token: tokens[0] })

    expect(statusesOf([...failed, answer])).toEqual([401, 429, 429, 200])
  })

  it('are let in again when the minute is over', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
    try {
      const limiter = createRateLimiter({ ...plenty, requests: 1 }, undefined)
      const enter = () =>
        limiter.enter('a key').then(
          () => 'in',
          (error) => error,
        )
      const before = [await enter(), await enter()]

      vi.advanceTimersByTime(60_000)

      expect(before).toEqual(['in', expect.any(RateLimited)])
      expect(await enter()).toBe('in')
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('where callers are not counted', () => {
  it.each(doors)('answers by %s say nothing of limits', async (door) => {
    const send = start({}, { limiter: undefined })[door]

    const answers = await times(3, () => send({ token: tokens[0] }))

    expect(answers.map(({ status, limits }) => [status, limits])).toEqual(Array(3).fill([200, {}]))
  })
})

describe('what everybody may see', () => {
  it('is counted by address', async () => {
    const limiter = createRateLimiter({ ...plenty, requests: 2 }, undefined)
    const app = createWebApp(appOptionsFor(database.ctx, { authenticate: byToken(database.db), limiter }))
    const paths = ['/graphql', '/v1/docs', '/v1/docs', '/v1/docs', '/']

    const get = (path: string, address: string) =>
      app.handle(new Request(`http://gateway${path}`, { headers: { accept: 'text/html' } }), address)
    const statuses: number[] = []
    for (const path of paths) statuses.push((await get(path, '192.0.2.1')).status)

    // A redirection costs nothing.
    expect(statuses).toEqual([200, 200, 429, 429, 302])
    expect((await get('/graphql', '192.0.2.2')).status).toBe(200)
  })
})

describe('nodes', () => {
  const page = (size: number) => `{ organizations(first: ${size}) { nodes { id } } }`
  const tooMany = (asked: number) => ({
    errors: [
      {
        message: `${asked} nodes within 60 seconds; at most 100 are allowed.`,
        extensions: { code: 'RATE_LIMITED', retryAfterSeconds: expect.any(Number) },
      },
    ],
  })

  it('are answered up to the limit by one document, and refused above it', async () => {
    const atLimit = await start({ nodes: 100 }).GraphQL({ token: tokens[0], query: page(100) })
    const above = await start({ nodes: 99 }).GraphQL({ token: tokens[0], query: page(100) })

    expect(atLimit).toMatchObject({ status: 200, body: { data: { organizations: expect.anything() } } })
    expect(above.status).toBe(429)
    expect(above.body).toMatchObject({ errors: [{ extensions: { code: 'RATE_LIMITED' } }] })
    expect(above.body).not.toHaveProperty('data.organizations')
  })

  it('add up over documents, with headers that tell when to come back', async () => {
    const send = start({ nodes: 100 }).GraphQL

    const answers = [
      await send({ token: tokens[0], query: page(60) }),
      await send({ token: tokens[0], query: page(40) }),
      await send({ token: tokens[0], query: page(1) }),
    ]

    expect(statusesOf(answers)).toEqual([200, 200, 429])
    expect(answers[2]!.body).toEqual(tooMany(101))
    expect(answers[2]!.limits).toEqual({
      'ratelimit-limit': '100',
      'ratelimit-remaining': '0',
      'ratelimit-reset': seconds,
      'retry-after': seconds,
    })
  })

  it('of one token leave those of another alone', async () => {
    const send = start({ nodes: 100 }).GraphQL
    await send({ token: tokens[0], query: page(100) })

    const answers = [
      await send({ token: tokens[0], query: page(1) }),
      await send({ token: tokens[1], query: page(100) }),
    ]

    expect(statusesOf(answers)).toEqual([429, 200])
  })

  it('are not needed for documents without a list', async () => {
    const send = start({ nodes: 1 }).GraphQL
    await send({ token: tokens[0], query: page(2) })

    const answer = await send({ token: tokens[0], query: `{ organization(id: ${organization.id}) { id } }` })

    expect(answer.status).toBe(200)
  })

  it('above the limit keep a mutation from doing anything', async () => {
    const send = start({ nodes: 10 }).GraphQL
    const query = `mutation {
      clearContacts(input: { organizationId: ${organization.id} }) {
        ... on ClearContactsSuccess { organization { contacts(first: 11) { totalCount } } }
      }
    }`

    const answer = await unchanged(database, () => send({ token: tokens[0], query }))

    expect(answer.status).toBe(429)
  })

  it('count only where a document is executed', async () => {
    const send = start({ nodes: 100 }).GraphQL
    const invalid = await send({ token: tokens[0], query: '{ organizations(first: 100) { nodes { nothing } } }' })

    const answer = await send({ token: tokens[0], query: page(100) })

    expect(invalid.body).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] })
    expect(answer.body).toMatchObject({ data: { organizations: expect.anything() } })
  })
})

/** A database that answers the statements of requests only when it is told to. */
function heldDatabase() {
  const waiting: (() => void)[] = []
  const db = runningBy(database.db, async (statement: never, parameters: never) => {
    await new Promise<void>((resolve) => waiting.push(resolve))
    return database.db.run(statement, parameters)
  })
  const answerAll = () => {
    for (const answer of waiting.splice(0)) answer()
  }
  return { db, waiting, answerAll }
}

describe.each(doors)('requests at the same time by %s', (door) => {
  const query = '{ organizations { nodes { id } } }'

  it('are answered up to the limit; one more is refused, until one has ended', async () => {
    const { db, waiting, answerAll } = heldDatabase()
    const send = start({ concurrent: 2 }, { db })[door]
    const ask = () => send({ token: tokens[0], query })
    const inProgress = [ask(), ask()]
    await vi.waitUntil(() => waiting.length === 2)

    const refused = await ask()
    const other = send({ token: tokens[1], query })
    await vi.waitUntil(() => waiting.length === 3)
    const until = setInterval(answerAll, 5)
    const answers = await Promise.all([...inProgress, other])
    const after = await ask().finally(() => clearInterval(until))

    expect(refused).toEqual({
      status: 429,
      limits: { 'retry-after': '1' },
      body: refusals[door]('3 requests at the same time; at most 2 are allowed.'),
    })
    expect(statusesOf([...answers, after])).toEqual([200, 200, 200, 200])
  })

  it('are not used up by requests that were refused', async () => {
    const send = start({ concurrent: 1, requests: 2 })[door]

    const answers = [
      await send({ token: 'wrong' }),
      await send({}),
      await send({}),
      await send({}),
      await send({ token: tokens[0], query }),
      await send({ token: tokens[0], query }),
      await send({ token: tokens[0], query }),
    ]

    // By requests alone, never by concurrency, which has no such headers.
    expect(statusesOf(answers)).toEqual([401, 401, 429, 429, 200, 200, 429])
    expect(answers[3]!.limits).toHaveProperty('ratelimit-limit', '2')
    expect(answers[6]!.limits).toHaveProperty('ratelimit-limit', '2')
  })

  it('are not used up by one that the door fails to answer', async () => {
    let isBroken = true
    const db = runningBy(database.db, (statement: never, parameters: never) =>
      isBroken ? Promise.reject(new Error('broken')) : database.db.run(statement, parameters),
    )
    const log = pino({ level: 'silent' })
    // What cannot even be logged leaves the door as it is.
    vi.spyOn(log, 'error').mockImplementation(() => {
      throw new Error('the log is full')
    })
    const send = start({ concurrent: 1 }, { db, log })[door]
    const failures = await times(2, () =>
      send({ token: tokens[0], query }).then(
        ({ status }) => status,
        (error: Error) => error.message,
      ),
    )

    isBroken = false
    const answer = await send({ token: tokens[0], query })

    expect(failures).not.toContain(429)
    expect(failures).not.toContain(200)
    expect(answer.status).toBe(200)
  })
})

describe('two limiters over one database', () => {
  const enterBy = (limiter: ReturnType<typeof createRateLimiter>) => async () => {
    try {
      const { headers, leave } = await limiter.enter('token 1')
      leave()
      return headers['ratelimit-remaining']
    } catch (error) {
      expect(error).toBeInstanceOf(RateLimited)
      return (error as RateLimited).message
    }
  }
  const both = (limits: Partial<RateLimits>) =>
    [
      createRateLimiter({ ...plenty, ...limits }, database.db),
      createRateLimiter({ ...plenty, ...limits }, database.db),
    ] as const

  const clear = async () => {
    const { sql } = await import('drizzle-orm')
    const { defineStatement } = await import('../../src/db/statement.ts')
    await database.db.run(defineStatement<Record<never, never>>('test_clear', sql`delete from rate_limits`), {})
  }

  it('share their counts of requests', async () => {
    await clear()
    const [first, second] = both({ requests: 3 }).map(enterBy) as [() => Promise<string>, () => Promise<string>]

    const answers = [await first(), await second(), await first(), await second(), await first()]

    expect(answers).toEqual([
      '2',
      '1',
      '0',
      '4 requests within 60 seconds; at most 3 are allowed.',
      '5 requests within 60 seconds; at most 3 are allowed.',
    ])
  })

  it('share their counts of nodes', async () => {
    await clear()
    const [first, second] = both({ nodes: 100 })

    await first.spendNodes('token 1', 60)
    await second.spendNodes('token 1', 40)

    await expect(first.spendNodes('token 1', 1)).rejects.toThrow(
      '101 nodes within 60 seconds; at most 100 are allowed.',
    )
    await expect(second.spendNodes('token 2', 100)).resolves.toBeUndefined()
  })

  it('let exactly as many in as the limit says when all come at once', async () => {
    await clear()
    const [first, second] = both({ requests: 20 }).map(enterBy) as [() => Promise<string>, () => Promise<string>]

    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? first() : second())))

    expect(
      answers
        .filter((answer) => /^\d+$/.test(answer))
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 20 }, (_, i) => i))
  })

  it('count what is no text of PostgreSQL, too', async () => {
    const [first] = both({ requests: 1 })
    const key = 'subject \'"\\ %s $1 \u{1f511} of https://issuer.example'

    await first.enter(key)

    await expect(first.enter(key)).rejects.toThrow(RateLimited)
  })

  it('each limit for themselves while the database is away', async () => {
    const db = { ...database.db, run: () => Promise.reject(new DatabaseUnavailable(new Error('down'))) }
    const limiters = [
      createRateLimiter({ ...plenty, requests: 1 }, db),
      createRateLimiter({ ...plenty, requests: 1 }, db),
    ]

    const answers = await Promise.all(limiters.map(async (limiter) => times(2, enterBy(limiter))))

    expect(answers).toEqual(Array(2).fill(['0', '2 requests within 60 seconds; at most 1 are allowed.']))
  })
})
