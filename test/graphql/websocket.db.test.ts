import { type Client, createClient, type SubscribePayload } from 'graphql-ws'
import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { AuthError } from '../../src/auth/authenticate.ts'
import { createRateLimiter } from '../../src/auth/rate-limit.ts'
import { byToken } from '../../src/auth/token.ts'
import { createToken } from '../../src/domain/tokens.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { executeAt } from '../support/gateway.ts'
import { createTestFeed, useLiveApps } from '../support/live-app.ts'

const database = useDatabase()
const apps = useLiveApps()

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.dispose()))
})

type ServeOptions = Parameters<typeof apps.serve>[1]

async function serve(given: ServeOptions = {}, connectionParams: Record<string, unknown> = {}) {
  const organization = await anOrganization(database.ctx)
  const app = await apps.serve(database.ctx, given)
  const client = createClient({
    url: app.url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams,
    retryAttempts: 0,
    lazyCloseTimeout: 60_000,
  })
  clients.push(client)
  return { ...app, client, organization }
}

/** All results of an operation, and the errors that it ends with. */
function run(client: Client, payload: SubscribePayload) {
  const results: unknown[] = []
  const errors: unknown[] = []
  const done = new Promise<void>((resolve) => {
    client.subscribe(payload, {
      next: (result) => results.push(result),
      error: (error) => {
        errors.push(error)
        resolve()
      },
      complete: resolve,
    })
  })
  return { results, errors, done }
}

const changesOf = (id: number) => ({
  query: `subscription { contactsChanged(organizationId: ${id}) { __typename ... on ContactAdded { contact { ... on ContactDetails { value } } } } }`,
})

describe('GraphQL by WebSocket', () => {
  it('brings changes', async () => {
    const { client, organization } = await serve()
    const { results } = run(client, changesOf(organization.id))

    await vi.waitFor(async () => {
      await aContact(database.ctx, organization.id, { value: '42' })
      expect(results.length).toBeGreaterThan(0)
    }, 10_000)

    expect(results[0]).toEqual({ data: { contactsChanged: { __typename: 'ContactAdded', contact: { value: '42' } } } })
  })

  it.each([
    ['a query', '{ organizations(first: 1) { totalCount nodes { __typename } } }'],
    ['the same query again', '{ organizations(first: 1) { totalCount nodes { __typename } } }'],
    ['a query with an error', '{ organization(id: "x") { name } }'],
    ['a document with an error', '{ nothing }'],
    ['no document', 'hello'],
    ['a mutation that is refused', 'mutation { addContact(input: { organizationId: "x" }) { __typename } }'],
    ['introspection', '{ __schema { queryType { name } } }'],
    ['too deep a document', `{ organizations { nodes ${'{ parent '.repeat(20)} { id } ${'}'.repeat(20)} } }`],
  ])('answers %s as it is answered by HTTP', async (_, query) => {
    const { client, url } = await serve()
    const byHttp = await executeAt(url)(query)

    for (let i = 0; i < 2; i += 1) {
      const { results, errors, done } = run(client, { query })
      await done

      if (byHttp.data === undefined) expect(errors).toEqual([byHttp.errors])
      else expect(results).toEqual([byHttp])
    }
  })

  it('changes things', async () => {
    const { client, organization } = await serve()
    const query = `mutation Add($id: ID!) { addContact(input: { organizationId: $id, contact: { telephone: { label: GENERAL, value: "77" } } }) { __typename } }`

    const { results, done } = run(client, { query, variables: { id: organization.id } })
    await done

    expect(results).toEqual([{ data: { addContact: { __typename: 'AddContactSuccess' } } }])
  })

  it('is for callers with a token, which browsers send when they begin', async () => {
    const { ctx } = database
    const { token } = await createToken(ctx.db, {
      name: 'live',
      accounts: ['demo'],
      permissions: ['organizations:read', 'contacts:read'],
      expiresAt: null,
    })
    const authenticate = byToken(ctx.db)
    const query = '{ __typename }'

    const known = await serve({ authenticate }, { authorization: `Bearer ${token}` })
    const unknown = await serve({ authenticate }, { authorization: 'Bearer another' })
    const outside = await serve({ authenticate }, { authorization: `Bearer ${token}`, 'X-Xurrent-Account': 'other' })
    const ends = [known, unknown, outside].map(({ client }) => run(client, { query }))
    await Promise.all(ends.map(({ done }) => done))

    expect(ends[0]!.results).toEqual([{ data: { __typename: 'Query' } }])
    expect(ends[1]!.errors).toMatchObject([{ code: 4401, reason: 'Unauthorized' }])
    expect(ends[2]!.errors).toMatchObject([{ code: 4403, reason: 'Forbidden' }])
  })

  it('ends streams whose token is not valid any more, and refuses operations by it', async () => {
    let isRevoked = false
    const { account, permissions } = database.ctx
    const authenticate = async () => {
      if (isRevoked) throw new AuthError(401, 'Unauthorized')
      return { account, permissions, key: 'one' }
    }
    const { feed, count } = createTestFeed()
    const { client, organization } = await serve({ authenticate, feed, recheckMs: 100 })
    const stream = run(client, changesOf(organization.id))
    await vi.waitUntil(() => count() === 1)

    isRevoked = true
    await stream.done

    expect(stream.errors).toEqual([[{ message: 'Unauthorized', extensions: { code: 'UNAUTHENTICATED' } }]])
    expect(count()).toBe(0)
  })

  it('counts each operation as a request, and its connection as one', async () => {
    const limits = { requests: 3, nodes: 1000, concurrent: 10, streams: 10 }
    const { client } = await serve({ limiter: createRateLimiter(limits, undefined) })
    const ends = []
    for (let i = 0; i < 3; i += 1) {
      const end = run(client, { query: '{ __typename }' })
      await end.done
      ends.push(end)
    }

    expect(ends.map(({ results }) => results.length)).toEqual([1, 1, 0])
    expect(ends[2]!.errors).toEqual([
      [
        {
          message: '4 requests within 60 seconds; at most 3 are allowed.',
          extensions: { code: 'RATE_LIMITED' },
        },
      ],
    ])
  })

  it('turns operations away when there is too much to do, and keeps streams', async () => {
    const { feed, count } = createTestFeed()
    const app = await apps.serve(database.ctx, { feed }, { overload: { requests: 1, eventLoopDelayMs: 60_000 } })
    const client = createClient({ url: app.url.replace('http', 'ws'), webSocketImpl: WebSocket, retryAttempts: 0 })
    clients.push(client)
    const { id } = await anOrganization(database.ctx)
    const streams = [run(client, changesOf(id))]
    await vi.waitUntil(() => count() === 1)
    streams.push(run(client, changesOf(id)))
    await vi.waitUntil(() => count() === 2)

    const ends = Array.from({ length: 20 }, () => run(client, { query: '{ organizations { totalCount } }' }))
    await Promise.all(ends.map(({ done }) => done))

    const codes = ends
      .flatMap(({ errors }) => errors.flat())
      .map((error) => (error as { extensions: object }).extensions)
    expect(codes).toContainEqual(expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }))
    expect(count()).toBe(2)
  })

  it('logs each operation with its name', async () => {
    const logged: string[] = []
    const log = pino({ base: undefined }, { write: (line: string) => logged.push(line) })
    const { client } = await serve({ log })

    await run(client, { query: 'query Hello { __typename }' }).done

    const lines = logged.map((line) => JSON.parse(line))
    expect(lines).toContainEqual(
      expect.objectContaining({ method: 'WS', operation: 'Hello', status: 200, outcome: 'ok', msg: 'request' }),
    )
  })

  it('says why streams end when the server stops', async () => {
    const { feed, count } = createTestFeed()
    const { client, organization, server } = await serve({ feed })
    const { errors, done } = run(client, changesOf(organization.id))
    await vi.waitUntil(() => count() === 1)

    await Promise.all([server.close(60_000), done])

    expect(errors).toEqual([
      [{ message: 'The gateway is stopping: subscribe again.', extensions: { code: 'SHUTTING_DOWN' } }],
    ])
  })

  it('has messages of limited length', async () => {
    const { client } = await serve({ maxMessageBytes: 2000 })

    const { errors, done } = run(client, { query: `{ __typename } # ${'x'.repeat(2000)}` })
    await done

    expect(errors).toMatchObject([{ code: 1009 }])
  })
})

describe('pages of other origins', () => {
  const statusFor = async (
    origin: string | undefined,
    given: ServeOptions = {},
    host?: string,
    publicOrigin?: string,
  ) => {
    const { url } = await apps.serve(database.ctx, given, { publicOrigin })
    const headers = { ...(origin !== undefined && { origin }), ...(host && { host }) }
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', { headers })
    return new Promise((resolve) => {
      socket.on('error', () => {})
      socket.once('open', () => {
        socket.terminate()
        resolve(101)
      })
      socket.once('unexpected-response', (_request, response) => {
        resolve(response.statusCode)
        response.destroy()
      })
    })
  }

  it('may not connect', async () => {
    expect(await statusFor('https://evil.example')).toBe(403)
    expect(await statusFor('null')).toBe(403)
    expect(await statusFor('')).toBe(403)
    expect(await statusFor('http://127.0.0.1:1')).toBe(403)
    expect(await statusFor('https://app.example.evil', { corsOrigins: ['https://app.example'] })).toBe(403)
  })

  it('may connect where they may call', async () => {
    expect(await statusFor('https://app.example', { corsOrigins: ['https://app.example'] })).toBe(101)
  })

  it('are no others where they are ours, or no page at all', async () => {
    expect(await statusFor(undefined)).toBe(101)
    expect(await statusFor('https://api.example', {}, 'api.example')).toBe(101)
    expect(await statusFor('https://api.example', {}, 'inside:4000', 'https://api.example')).toBe(101)
  })
})
