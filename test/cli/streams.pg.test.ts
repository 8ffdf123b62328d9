import { connect, type Socket } from 'node:net'
import { createClient } from 'graphql-ws'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createPostgresDatabase } from '../support/database.ts'
import { type EventReader, readEvents, type ServerEvent } from '../support/events.ts'
import { executeAt, linesOf, useGateways, warningsOf } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

async function serve(env: Record<string, string> = {}) {
  const { url: databaseUrl, drop } = await createPostgresDatabase()
  onTestFinished(drop)
  const { gateway, url } = await gateways.serve({ env: { DATABASE_URL: databaseUrl, ...env } })
  const { data } = await executeAt(url)(
    'mutation { createOrganization(input: { name: "Live" }) { ... on CreateOrganizationSuccess { organization { databaseId } } } }',
  )
  const id: number = data.createOrganization.organization.databaseId
  const add = (value: string) =>
    executeAt(url)(
      `mutation { addContact(input: { organizationId: ${id}, contact: { telephone: { label: GENERAL, value: "${value}" } } }) { __typename } }`,
    )
  return { gateway, url, id, add, databaseUrl }
}

const subscriptionFor = (id: number) =>
  `subscription { contactsChanged(organizationId: ${id}) { ... on ContactAdded { contact { ... on ContactDetails { value } } } } }`

const byEvents = (url: string, id: number) =>
  readEvents(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: subscriptionFor(id) }),
  })

const byRest = async (url: string, id: number) => {
  const events = await readEvents(url.replace('/graphql', `/v1/organizations/${id}/contacts/events`))
  expect((await events.next())?.event).toBe('ready')
  return events
}

/** Each connection goes to the next worker in turn: so many reach all of them. */
const many = 4

describe('streams of a gateway', () => {
  it.each([
    ['one process', '1'],
    ['several processes', '2'],
  ])('of %s bring each change to each of them, by whatever way', async (_, workers) => {
    const { gateway, url, id, add } = await serve({ WORKERS: workers })
    const events = await Promise.all(Array.from({ length: many }, () => byEvents(url, id)))
    const rest = await Promise.all(Array.from({ length: many }, () => byRest(url, id)))
    const sockets = Array.from({ length: many }, () => {
      const client = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket, retryAttempts: 0 })
      onTestFinished(() => client.dispose())
      return { client, values: [] as string[] }
    })
    for (const { client, values } of sockets) {
      client.subscribe<{ contactsChanged: { contact: { value: string } } }>(
        { query: subscriptionFor(id) },
        { next: ({ data }) => values.push(data!.contactsChanged.contact.value), error() {}, complete() {} },
      )
    }
    // When a subscription by WebSocket has begun, nobody is told.
    await vi.waitUntil(() => linesOf(gateway).filter(({ method }) => method === 'WS').length === many, 60_000)

    for (const value of ['1', '2', '3']) await add(value)

    const take = async (events: EventReader, shownIn: (event: ServerEvent) => string) => [
      shownIn((await events.next())!),
      shownIn((await events.next())!),
      shownIn((await events.next())!),
    ]
    const all = ['1', '2', '3']
    for (const one of events) {
      expect(await take(one, ({ data }) => data.data.contactsChanged.contact.value)).toEqual(all)
    }
    for (const one of rest) expect(await take(one, ({ data }) => data.telephone)).toEqual(all)
    for (const { values } of sockets) await vi.waitFor(() => expect(values).toEqual(all), 20_000)
    for (const one of [...events, ...rest]) one.close()
    expect(warningsOf(gateway)).toEqual([])
  })

  it.each([
    ['one process', '1'],
    ['several processes', '2'],
  ])('of %s end with a word when it stops, which they do not hold up', async (_, workers) => {
    const { gateway, url, id } = await serve({ WORKERS: workers })
    const [events, rest] = [await byEvents(url, id), await byRest(url, id)]
    const client = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket, retryAttempts: 0 })
    const ended = new Promise<unknown>((resolve) => {
      client.subscribe({ query: subscriptionFor(id) }, { next() {}, error: resolve, complete() {} })
    })
    await vi.waitUntil(() => linesOf(gateway).some(({ method }) => method === 'WS'), 60_000)
    const begun = performance.now()

    const stopped = gateway.stop()

    const code = { extensions: { code: 'SHUTTING_DOWN' } }
    expect(await events.rest()).toMatchObject([{ data: { errors: [code] } }, { event: 'complete' }])
    expect(await rest.rest()).toMatchObject([{ event: 'end', data: { code: 'SHUTTING_DOWN' } }])
    expect(await ended).toMatchObject([code])
    expect(await stopped).toEqual({ code: 0, signal: null })
    expect(performance.now() - begun).toBeLessThan(7_000)
  })

  it('go on when a connection to the database is lost', async () => {
    const { url, id, add, databaseUrl } = await serve()
    const events = await byRest(url, id)
    const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    onTestFinished(() => sql.end())

    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`
    // Until the connections are replaced, changes may be refused.
    await vi.waitFor(async () => expect((await add('7')).errors).toBeUndefined(), 30_000)

    expect((await events.next())?.data.telephone).toBe('7')
    events.close()
  })

  it('take less than 200 MB of memory where 5,000 of them are idle', async () => {
    const { gateway, url, id } = await serve({ METRICS_PORT: '0' })
    const [, metrics] = await gateway.printed(/metrics at (http:\S+)\./)
    const residentBytes = async () =>
      Number(/^process_resident_memory_bytes (\d+)$/m.exec(await (await fetch(metrics!)).text())![1])
    const body = JSON.stringify({ query: subscriptionFor(id) })
    const request = `POST /graphql HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const open = (count: number) => Promise.all(Array.from({ length: count }, () => openStream(url, request)))
    const sockets: Socket[] = []
    const closeAll = () => {
      for (const socket of sockets.splice(0)) socket.destroy()
    }
    onTestFinished(closeAll)
    // What serving takes at all is not theirs.
    for (let i = 0; i < 20; i += 1) {
      sockets.push(...(await open(50)))
      closeAll()
    }
    const before = await residentBytes()

    while (sockets.length < 5_000) sockets.push(...(await open(50)))

    expect((await residentBytes()) - before).toBeLessThan(200_000_000)
  })
})

/** A connection whose stream has begun. */
function openStream(url: string, request: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let text = ''
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (text.includes('\n:\n')) resolve(socket)
    })
    socket.once('close', () => reject(new Error(text)))
    socket.once('error', reject)
    socket.write(request)
  })
}
