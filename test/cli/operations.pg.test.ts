import { Agent, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createPostgresDatabase } from '../support/database.ts'
import { executeAt, linesOf, useGateways } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 180_000 })

const gateways = useGateways()

async function seededDatabase() {
  const { url, drop } = await createPostgresDatabase()
  const sql = postgres(url, { max: 2, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await drop()
  })
  expect(await gateways.run(['seed'], { env: { DATABASE_URL: url } })).toMatchObject({ code: 0 })
  return { url, sql }
}

/** Keeps an organization locked, so that whoever changes its contacts waits. */
async function lockOrganization(sql: postgres.Sql) {
  const held = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  onTestFinished(() => released.resolve())
  void sql.begin(async (transaction) => {
    await transaction`select from organizations where id = 1 for update`
    held.resolve()
    await released.promise
  })
  await held.promise
  return () => released.resolve()
}

const addContact =
  'mutation Add { addContact(input: { organizationId: 1, contact: { email: { label: GENERAL, value: "a@b" } } }) { __typename } }'
const read = 'query Read { organizations { totalCount nodes { name } } }'

const ready = async (url: string) => {
  const begun = performance.now()
  const response = await fetch(new URL('/health/ready', url))
  return { status: response.status, body: await response.json(), ms: performance.now() - begun }
}

describe('a request on PostgreSQL', () => {
  it('that waits longer than it may is answered, and told to have been done perhaps', async () => {
    const { url: databaseUrl, sql } = await seededDatabase()
    const { gateway, url } = await gateways.serve({ env: { DATABASE_URL: databaseUrl, REQUEST_TIMEOUT: '700' } })
    await lockOrganization(sql)
    const begun = performance.now()

    const [viaGraphQL, viaRest] = await Promise.all([
      fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: addContact }),
      }),
      fetch(new URL('/v1/organizations/1/contacts', url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"label":"general","email":"a@b"}',
      }),
    ])

    expect(performance.now() - begun).toBeLessThan(3_000)
    expect(viaGraphQL.status).toBe(504)
    expect(await viaGraphQL.json()).toMatchObject({
      errors: [
        {
          message: expect.stringMatching(/^The request took longer than 700 ms\. .* all the same/),
          extensions: { code: 'TIMEOUT', requestId: viaGraphQL.headers.get('x-request-id') },
        },
      ],
    })
    expect([viaRest.status, await viaRest.json()]).toEqual([504, { message: 'Gateway Timeout' }])
    await vi.waitUntil(() => linesOf(gateway).filter(({ outcome }) => outcome === 'timeout').length === 2)
  })
})

describe('a pool that is full', () => {
  it('does not keep probes waiting, nor requests beyond what may be in progress', async () => {
    const { url: databaseUrl, sql } = await seededDatabase()
    const env = { DATABASE_URL: databaseUrl, DATABASE_POOL_SIZE: '2', MAX_REQUESTS: '8' }
    const { gateway, url } = await gateways.serve({ env })
    const release = await lockOrganization(sql)
    const held = Promise.all(Array.from({ length: 8 }, () => executeAt(url)(addContact)))
    await vi.waitUntil(
      async () => {
        const [waiting] = await sql`select count(*)::int from pg_stat_activity
          where datname = current_database() and application_name = 'contacts-gateway' and wait_event_type = 'Lock'`
        return waiting!.count === 2
      },
      { timeout: 60_000 },
    )

    const refused = await Promise.all(Array.from({ length: 50 }, () => executeAt(url)(read)))
    const probe = await ready(url)
    release()
    await held
    const after = await executeAt(url)(read)

    expect(probe).toMatchObject({ status: 200, body: { status: 'ready', database: 'up' } })
    expect(refused).toEqual(
      Array(50).fill({
        errors: [
          {
            message: expect.stringMatching(/^9 requests are in progress; at most 8 are allowed\./),
            extensions: { code: 'SERVICE_UNAVAILABLE', requestId: expect.any(String) },
          },
        ],
      }),
    )
    expect(after).toMatchObject({ data: { organizations: { totalCount: 6 } } })
    await vi.waitUntil(() => linesOf(gateway).filter(({ outcome }) => outcome === 'shed').length === 50)
  })
})

describe('a database that goes away', () => {
  it('makes the gateway not ready, says so in log and metrics, and ready again when it is back', async () => {
    const { url: databaseUrl } = await seededDatabase()
    const way = await wayTo(databaseUrl)
    const { gateway, url } = await gateways.serve({ env: { DATABASE_URL: way.url, METRICS_PORT: '0' } })
    const [, metrics] = await gateway.printed(/metrics at (\S+)\.\n/)
    const gauge = async () => (await (await fetch(metrics!)).text()).match(/^gateway_breaker_open (\d)$/m)![1]
    const before = await ready(url)

    way.close()
    await vi.waitUntil(async () => (await ready(url)).status === 503, { timeout: 20_000 })
    await executeAt(url)(read)
    await gateway.printed(/the database is away/)
    const away = [await ready(url), await gauge()]
    way.open()
    await vi.waitUntil(async () => (await ready(url)).status === 200, { timeout: 20_000 })
    await gateway.printed(/the database is back/)

    expect(before).toMatchObject({ status: 200 })
    expect(away).toEqual([
      { status: 503, body: { status: 'not ready', database: 'down' }, ms: expect.any(Number) },
      '1',
    ])
    expect((away[0] as { ms: number }).ms).toBeLessThan(3_000)
    expect(await executeAt(url)(read)).toMatchObject({ data: { organizations: { totalCount: 6 } } })
    expect(await gauge()).toBe('0')
    expect(gateway.stderr).not.toMatch(/postgres:\/\/|select /)
  })
})

describe('SIGTERM under load', () => {
  const clients = 16

  /** Sends one request after the other on a connection that is kept, until none can be opened any more. */
  async function hammer(url: string): Promise<{ answered: number; failures: string[] }> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const body = JSON.stringify({ query: read })
    let answered = 0
    const failures: string[] = []
    try {
      for (;;) {
        const outcome = await new Promise<string>((resolve) => {
          let isConnected = false
          const sent = request(
            url,
            { agent, method: 'POST', headers: { 'content-type': 'application/json' } },
            (response) => {
              response.resume()
              response.once('end', () => resolve(`${response.statusCode}`))
              response.once('error', ({ message }) => resolve(message))
            },
          )
          sent.once('socket', (socket: Socket) => {
            if (socket.connecting) socket.once('connect', () => (isConnected = true))
            else isConnected = true
          })
          sent.once('error', ({ message }) => resolve(isConnected ? message : 'not connected'))
          sent.end(body)
        })
        if (outcome === 'not connected') break
        if (outcome === '200') answered += 1
        else {
          failures.push(outcome)
          break
        }
      }
    } finally {
      agent.destroy()
    }
    return { answered, failures }
  }

  it('fails no request that was sent, however often it comes', async () => {
    const { url: databaseUrl } = await seededDatabase()
    for (let round = 0; round < 5; round += 1) {
      const { gateway, url } = await gateways.serve({ env: { DATABASE_URL: databaseUrl } })
      const hammering = Promise.all(Array.from({ length: clients }, () => hammer(url)))
      await new Promise((resolve) => setTimeout(resolve, 200 + 100 * round))
      const begun = performance.now()

      const exit = await gateway.stop()

      expect(exit).toEqual({ code: 0, signal: null })
      expect(performance.now() - begun).toBeLessThan(10_000)
      const results = await hammering
      expect(results.flatMap(({ failures }) => failures)).toEqual([])
      const answered = results.reduce((sum, result) => sum + result.answered, 0)
      expect(answered).toBeGreaterThan(clients)
      // Each answer has its line, up to the last.
      expect(linesOf(gateway).filter(({ msg }) => msg === 'request')).toHaveLength(answered)
    }
  })
})

/** A way to the database that can be closed, and opened again. */
async function wayTo(databaseUrl: string) {
  const url = new URL(databaseUrl)
  const target = { host: url.hostname, port: Number(url.port) }
  const sockets = new Set<Socket>()
  let isOpen = true
  const server = createServer((client) => {
    if (!isOpen) return void client.destroy()
    const upstream = connect(target)
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.once('close', () => sockets.delete(socket))
    }
  })
  const close = () => {
    isOpen = false
    for (const socket of sockets) socket.destroy()
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    close()
    server.close()
  })
  url.port = `${(server.address() as AddressInfo).port}`
  const open = () => {
    isOpen = true
  }
  return { url: url.href, close, open }
}
