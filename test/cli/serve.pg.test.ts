import { type AddressInfo, connect, createServer } from 'node:net'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { firstQuery } from '../../src/graphql/handler.ts'
import { createPostgresDatabase } from '../support/database.ts'
import { executeAt, useGateways, warningsOf } from '../support/gateway.ts'
import { dataOf, resultOf } from '../support/graphql.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

/** An empty database, as the environment names it, and a connection to it that is not the gateway's. */
async function emptyDatabase() {
  const { url, drop } = await createPostgresDatabase()
  const sql = postgres(url, { max: 2, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await drop()
  })
  return { url, sql, env: { DATABASE_URL: url } }
}

async function seededDatabase() {
  const database = await emptyDatabase()
  expect(await gateways.run(['seed'], database)).toMatchObject({ code: 0 })
  return database
}

const addContact = (value: string) =>
  `mutation {
    addContact(input: { organizationId: 1, contact: { email: { label: GENERAL, value: "${value}" } } }) {
      ... on AddContactSuccess { contact { ... on ContactDetails { value } } }
    }
  }`

const readContacts = '{ organization(id: 1) { contacts { nodes { ... on ContactDetails { databaseId } } } } }'
const sampleIds = [68, 67, 70, 65, 69, 66, 71]
const idsOf = (nodes: { databaseId: number }[]) => nodes.map(({ databaseId }) => databaseId)

const applied = (sql: postgres.Sql) => sql`select id, hash from drizzle.__drizzle_migrations order by id`

describe('serve on PostgreSQL', () => {
  it('brings the tables, leaves them empty, and answers with the sample once that was seeded', async () => {
    const { env } = await emptyDatabase()
    const { gateway, url } = await gateways.serve({ env })
    const before = await dataOf(executeAt(url)('{ organizations { totalCount } }'))

    const seeded = await gateways.run(['seed'], { env })

    expect(before.organizations.totalCount).toBe(0)
    expect(gateway.stdout).toContain('It serves PostgreSQL.\nThere are no organizations yet: ')
    expect(seeded).toEqual({
      code: 0,
      signal: null,
      stdout: 'The sample is there: 6 organizations and 18 contacts were new.\n',
      stderr: '',
    })
    const { organizations } = await dataOf(executeAt(url)(firstQuery))
    expect(idsOf(organizations.nodes[0].contacts.nodes)).toEqual(sampleIds)
    expect(warningsOf(gateway)).toEqual([])
  })

  it('can be started several times at once on an empty database', async () => {
    const { env, sql } = await emptyDatabase()

    const urls = await Promise.all(Array.from({ length: 5 }, async () => (await gateways.serve({ env })).url))

    const counts = await Promise.all(
      urls.map(
        async (url) => (await dataOf(executeAt(url)('{ organizations { totalCount } }'))).organizations.totalCount,
      ),
    )
    expect(counts).toEqual([0, 0, 0, 0, 0])
    const { hash } = (await applied(sql)).at(-1)!
    expect(await sql`select count(*)::int from drizzle.__drizzle_migrations where hash = ${hash}`).toEqual([
      { count: 1 },
    ])
    expect(await sql`select name from accounts`).toEqual([{ name: 'demo' }])
  })

  it('answers alike when statements are not prepared, and prepares none', async () => {
    const { url } = await seededDatabase()
    const proxy = await statementsOf(url)

    const { url: at } = await gateways.serve({ env: { DATABASE_URL: proxy.url, DATABASE_PREPARE: 'off' } })
    const added = await resultOf(executeAt(at)(addContact('unprepared@best-it.com')))
    const { organization } = await dataOf(executeAt(at)(readContacts))

    expect(added.contact.value).toBe('unprepared@best-it.com')
    expect(idsOf(organization.contacts.nodes).filter((id) => sampleIds.includes(id))).toEqual(sampleIds)
    expect(organization.contacts.nodes).toHaveLength(8)
    expect(proxy.names.length).toBeGreaterThan(2)
    expect(proxy.names.filter((name) => name !== '')).toEqual([])
  })

  it('prepares statements otherwise', async () => {
    const { url } = await seededDatabase()
    const proxy = await statementsOf(url)

    const { url: at } = await gateways.serve({ env: { DATABASE_URL: proxy.url } })
    await dataOf(executeAt(at)(readContacts))

    expect(proxy.names.some((name) => name !== '')).toBe(true)
  })

  it('goes on after its connections were cut', async () => {
    const { env, sql } = await seededDatabase()
    const { url } = await gateways.serve({ env })
    await dataOf(executeAt(url)(readContacts))

    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'contacts-gateway'`

    // The first request may find the connection gone.
    const { organization } = await vi.waitFor(() => dataOf(executeAt(url)(readContacts)), { timeout: 30_000 })
    expect(idsOf(organization.contacts.nodes)).toEqual(sampleIds)
  })

  it('says that a database is not there', async () => {
    const { url } = await emptyDatabase()
    const missing = new URL(url)
    missing.pathname = '/nowhere'

    const ended = await gateways.run([], { env: { DATABASE_URL: missing.href } })

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: 'The database refused the connection: database "nowhere" does not exist. Check DATABASE_URL.\n',
    })
  })
})

describe('SIGTERM', () => {
  const stopping = /stopping: requests in progress may end/
  const values = Array.from({ length: 5 }, (_, n) => `${n}@best-it.com`)

  /** Requests that wait in the database for certain, until they are let go. */
  async function waitingRequests() {
    const { env, sql } = await seededDatabase()
    // Their own deadlines are not what ends them.
    const patient = { STATEMENT_TIMEOUT: '60000', REQUEST_TIMEOUT: '60000' }
    const { gateway, url } = await gateways.serve({ env: { ...env, ...patient } })
    const held = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    onTestFinished(() => released.resolve())
    const holder = sql.begin(async (transaction) => {
      await transaction`select from organizations where id = 1 for update`
      held.resolve()
      await released.promise
    })
    await held.promise
    const answers = Promise.all(values.map((value) => executeAt(url)(addContact(value)).catch(() => 'cut')))
    await vi.waitUntil(
      async () => {
        const [waiting] = await sql`select count(*)::int from pg_stat_activity
          where datname = current_database() and application_name = 'contacts-gateway' and wait_event_type = 'Lock'`
        return waiting!.count === values.length
      },
      { timeout: 60_000 },
    )
    const letGo = () => {
      released.resolve()
      return holder
    }
    return { gateway, sql, answers, letGo }
  }

  it('lets statements in progress end, and then ends', async () => {
    const { gateway, sql, answers, letGo } = await waitingRequests()

    gateway.signal('SIGTERM')
    await gateway.printed(stopping)
    await letGo()

    const expected = values.map((value) => ({ data: { addContact: { contact: { value } } } }))
    expect(await answers).toEqual(expected)
    expect(await gateway.exited).toEqual({ code: 0, signal: null })
    expect(await sql`select value from contacts where value like '_@best-it.com' order by value`).toEqual(
      values.map((value) => ({ value })),
    )
  })

  it('ends at once when another one follows, even when statements wait', async () => {
    const { gateway, answers } = await waitingRequests()
    gateway.signal('SIGTERM')
    await gateway.printed(stopping)
    const signalledAt = performance.now()

    gateway.signal('SIGTERM')

    expect(await gateway.exited).toEqual({ code: 143, signal: null })
    expect(performance.now() - signalledAt).toBeLessThan(4_000)
    expect(await answers).toEqual(values.map(() => 'cut'))
  })

  it('ends after a while, even when statements wait for ever', async () => {
    const { gateway, answers } = await waitingRequests()

    gateway.signal('SIGTERM')

    expect(await gateway.exited).toEqual({ code: 0, signal: null })
    expect(await answers).toEqual(values.map(() => 'cut'))
  })
})

describe('migrate', () => {
  it('can be repeated', async () => {
    const { env, sql } = await emptyDatabase()

    const first = await gateways.run(['migrate'], { env })
    const afterFirst = await applied(sql)
    const second = await gateways.run(['migrate'], { env })

    const done = { code: 0, signal: null, stdout: 'The tables are up to date.\n', stderr: '' }
    expect([first, second]).toEqual([done, done])
    expect(afterFirst.length).toBeGreaterThan(0)
    expect(await applied(sql)).toEqual(afterFirst)
  })
})

/** A way to the database that notes the name of each statement that is prepared; one without a name is forgotten at once. */
async function statementsOf(databaseUrl: string): Promise<{ url: string; names: string[] }> {
  const names: string[] = []
  const url = new URL(databaseUrl)
  const target = { host: url.hostname, port: Number(url.port) }
  const proxy = createServer((client) => {
    const server = connect(target)
    client.pipe(server).pipe(client)
    for (const socket of [client, server]) socket.on('error', () => socket.destroy())
    onTestFinished(() => void client.destroy())
    let received = Buffer.alloc(0)
    // The first message has no type.
    let typeLength = 0
    client.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= typeLength + 4) {
        const end = typeLength + received.readInt32BE(typeLength)
        if (received.length < end) return
        const [type] = received.toString('latin1', 0, typeLength)
        if (type === 'P') names.push(received.toString('utf8', 5, received.indexOf(0, 5)))
        received = received.subarray(end)
        typeLength = 1
      }
    })
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void proxy.close())
  url.port = `${(proxy.address() as AddressInfo).port}`
  return { url: url.href, names }
}
