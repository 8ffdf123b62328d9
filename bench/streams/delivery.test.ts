import { randomUUID } from 'node:crypto'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Cleanup } from '../faults/cleanup.ts'
import { defaultPostgres } from '../faults/faults.ts'
import { fullFigures as figures } from '../faults/figures.ts'
import { type ControlledGateway, createGateway } from '../faults/gateway.ts'
import { type ControlledPostgres, createPostgres, findPrograms } from '../faults/postgres.ts'

const organizations = 10
const writersOfEach = 20
const writes = 12
/** Of each organization at each of the two processes. */
const subscribersOfEach = 5
const marker = '+1 000'

let cleanup: Cleanup
let postgres: ControlledPostgres
let gateways: ControlledGateway[]
const agent = new Agent({ keepAlive: true, maxSockets: 1000 })

beforeEach(async () => {
  cleanup = new Cleanup()
  postgres = await createPostgres(cleanup, { programs: await findPrograms(defaultPostgres) })
  await postgres.start()
  const databaseUrl = `postgres://postgres@127.0.0.1:${postgres.port}/postgres`
  gateways = [
    await createGateway(cleanup, { databaseUrl, figures }),
    await createGateway(cleanup, { databaseUrl, figures }),
  ]
  for (const gateway of gateways) await gateway.start()
})

afterEach(() => cleanup.run())

interface Change {
  name: string
  data: { id: number; ids: number[]; etag: string; telephone?: string }
}

/** A reader of the REST stream that goes on where it was when it breaks off. */
class Subscriber {
  readonly changes: Change[] = []
  readonly ready: Promise<void>
  readonly done: Promise<void>
  #last = ''
  #rest = ''

  constructor(origin: string, organization: number) {
    const { promise: ready, resolve: onReady } = Promise.withResolvers<void>()
    const { promise: done, resolve: onDone } = Promise.withResolvers<void>()
    this.ready = ready
    this.done = done
    void this.#read(`${origin}/v1/organizations/${organization}/contacts/events`, onReady, onDone)
  }

  async #read(address: string, onReady: () => void, onDone: () => void): Promise<void> {
    for (let isDone = false; !isDone; ) {
      const headers: Record<string, string> = this.#last ? { 'last-event-id': this.#last } : {}
      const answer = await ask('GET', address, headers).catch(() => undefined)
      if (!answer) continue
      this.#rest = ''
      try {
        for await (const chunk of answer.setEncoding('utf8')) {
          for (const change of this.#take(chunk)) {
            if (change.name === 'ready') onReady()
            else if (change.name !== 'end') this.changes.push(change)
            if (change.data.telephone === marker) isDone = true
          }
          if (isDone) break
        }
      } catch {
        // It is read on from the last place.
      }
    }
    onDone()
  }

  *#take(chunk: string): Generator<Change> {
    const blocks = (this.#rest + chunk).split('\n\n')
    this.#rest = blocks.pop()!
    for (const block of blocks) {
      const fields = new Map(
        block.split('\n').map((line) => [line.split(': ', 1)[0]!, line.slice(line.indexOf(': ') + 2)]),
      )
      if (fields.has('id')) this.#last = fields.get('id')!
      if (fields.has('event')) yield { name: fields.get('event')!, data: JSON.parse(fields.get('data')!) }
    }
  }
}

const ask = (method: string, address: string, headers: Record<string, string>, body?: object) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(address, {
      method,
      agent,
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
    })
    sent
      .once('response', resolve)
      .once('error', reject)
      .end(body && JSON.stringify(body))
  })

/** One write that is meant once, sent until it is answered. */
async function write(origin: string, method: string, path: string, body?: object) {
  const headers = { 'idempotency-key': randomUUID() }
  for (;;) {
    try {
      const answer = await ask(method, `${origin}/v1${path}`, headers, body)
      const told = await text(answer)
      if (answer.statusCode! < 500) return told ? JSON.parse(told) : {}
    } catch {
      // The line was cut: nobody knows, and so it is sent again.
    }
  }
}

async function writer(origin: string, organization: number): Promise<void> {
  const contacts = `/organizations/${organization}/contacts`
  const own: number[] = []
  for (let i = 0; i < writes; i += 1) {
    const id = own.at(-1)
    if (id === undefined || i % 3 === 0) {
      own.push((await write(origin, 'POST', contacts, { label: 'general', telephone: `${i}` })).id)
    } else if (i % 7 === 0) await write(origin, 'DELETE', `${contacts}/${own.pop()}`)
    else if (i % 11 === 0) await write(origin, 'DELETE', contacts)
    else await write(origin, 'PATCH', `${contacts}/${id}`, { telephone: `u${i}` })
  }
}

/** What somebody has in the end who hears of nothing but the changes, with what is wrong with them. */
function replay(changes: readonly Change[]) {
  const contacts = new Map<number, number>()
  const faults: string[] = []
  for (const { name, data } of changes) {
    if (name === 'cleared')
      for (const id of data.ids) if (!contacts.delete(id)) faults.push(`${id} cleared, but not there`)
    const version = Number(/^"v(\d+)"$/.exec(data.etag)?.[1])
    if (name === 'removed' && contacts.get(data.id) !== version) faults.push(`${data.id} removed at ${version}`)
    if (name === 'removed') contacts.delete(data.id)
    if (name !== 'added' && name !== 'updated') continue
    const before = contacts.get(data.id)
    const isNext = name === 'added' ? before === undefined && version === 1 : version === before! + 1
    if (!isNext) faults.push(`${data.id} ${name} at ${version} after ${before}`)
    contacts.set(data.id, version)
  }
  return { contacts: [...contacts].sort(([a], [b]) => a - b), faults }
}

it('200 writers reach 100 subscribers of two processes, each change once and in order, whatever breaks', async () => {
  const ids = await postgres.use(async (sql) => {
    const [{ id: account }] = (await sql`select id from accounts where name = 'demo'`) as unknown as [{ id: number }]
    const rows = await sql`insert into organizations (account_id, name)
      select ${account}, 'organization ' || n from generate_series(1, ${organizations}) n returning id::int`
    return rows.map(({ id }) => id as number)
  })
  const [one, two] = gateways.map(({ origin }) => origin) as [string, string]
  const subscribers = ids.map((id) =>
    [one, two].flatMap((origin) => Array.from({ length: subscribersOfEach }, () => new Subscriber(origin, id))),
  )
  await Promise.all(subscribers.flat().map(({ ready }) => ready))

  const writers = ids.flatMap((id) => Array.from({ length: writersOfEach }, (_, i) => writer(i % 2 ? one : two, id)))
  const counted = (least: number) =>
    expect
      .poll(() => subscribers.flat().reduce((sum, { changes }) => sum + changes.length, 0), { timeout: 60_000 })
      .toBeGreaterThan(least)
  await counted(500)
  const cut = await postgres.use(
    (sql) => sql`select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen contact_events'`,
  )
  await counted(2000)
  await postgres.stop('fast')
  await postgres.start()
  await Promise.all(writers)
  for (const id of ids)
    await write(one, 'POST', `/organizations/${id}/contacts`, { label: 'general', telephone: marker })
  await Promise.all(subscribers.flat().map(({ done }) => done))

  expect(cut.length).toBe(2)
  for (const [i, id] of ids.entries()) {
    const stored = await postgres.use(
      (sql) => sql`select id::int, version from contacts where organization_id = ${id} order by id`,
    )
    const [first, ...others] = subscribers[i]!.map(({ changes }) => changes)
    expect(replay(first!)).toEqual({ contacts: stored.map(({ id, version }) => [id, version]), faults: [] })
    for (const changes of others) expect(changes).toEqual(first)
  }
  expect(gateways.map(({ deaths }) => deaths)).toEqual([0, 0])
})
