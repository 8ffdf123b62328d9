import postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { addContact, clearContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import type { ContactEvent } from '../../src/domain/events.ts'
import { useDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { type TestStream, useFeeds } from '../support/streams.ts'

const database = useDatabase({ poolSize: 20 })
const feeds = useFeeds()
/** Notifications alone: looking by itself would hide it if none came. */
const neverLooks = { listening: 3_600_000, alone: 3_600_000 }

/** Work on a database handle of its own, as another process has one. */
async function withHandle<Result>(work: (db: Database) => Promise<Result>, poolSize = 4): Promise<Result> {
  const db = await openDatabase({ url: database.url, poolSize, prepare: true, deadlines: testDeadlines })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

async function withClient<Result>(work: (client: postgres.Sql) => Promise<Result>): Promise<Result> {
  const client = postgres(database.url, { max: 2, onnotice: () => {} })
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Contacts by their id, as a client keeps them that hears of nothing but the stream. */
function replay(events: readonly ContactEvent[]): Map<number, { version: number; value: string }> {
  const contacts = new Map<number, { version: number; value: string }>()
  for (const event of events) {
    if (event.kind === 'cleared') for (const id of event.contactIds) expect(contacts.delete(id)).toBe(true)
    else if (event.kind === 'removed') {
      expect(contacts.get(event.contactId)?.version).toBe(event.version)
      contacts.delete(event.contactId)
    } else {
      const { id, version, value } = event.contact
      // None is missing, none comes twice, and none before another.
      expect(version).toBe(event.kind === 'added' ? 1 : contacts.get(id)!.version + 1)
      contacts.set(id, { version, value })
    }
  }
  return contacts
}

/** Changes one organization at random, as one of many who do. */
async function write(ctx: Context, organizationId: number, writes: number): Promise<void> {
  const own: number[] = []
  for (let i = 0; i < writes; i += 1) {
    const contact = { telephone: { label: 'general', value: `${i}` } }
    const id = own.at(-1)
    // What somebody else has cleared meanwhile is gone.
    const gone = (error: Error) => expect(error.message).toBe('Contact not found.')
    if (id === undefined || i % 3 === 0) own.push((await addContact(ctx, { organizationId, contact })).id)
    else if (i % 7 === 0) await removeContact(ctx, { id: own.pop() }).then(() => {}, gone)
    else if (i % 11 === 0) await clearContacts(ctx, { organizationId })
    else await updateContact(ctx, { id, change: { telephone: { value: `u${i}` } } }).then(() => {}, gone)
  }
}

const isMarker = (event: ContactEvent) => event.kind === 'added' && event.contact.value === '+1 000'

/** Reads all streams to their markers, and holds them to what is stored, and to each other. */
async function holdToStored(ctx: Context, organizationId: number, streams: readonly TestStream[]): Promise<void> {
  const heard = await Promise.all(streams.map((stream) => stream.takeUntil(isMarker)))
  const plain = heard.map((events) => events.map(({ cursor, ...event }) => event))
  for (const events of plain) expect(events).toEqual(plain[0])
  const stored = await withClient(
    (client) => client`select id::int, version, value from contacts
      where account_id = ${ctx.account} and organization_id = ${organizationId} order by id`,
  )
  const replayed = [...replay(heard[0]!)].map(([id, contact]) => ({ id, ...contact })).sort((a, b) => a.id - b.id)
  expect(replayed).toEqual(stored.map(({ id, version, value }) => ({ id, version, value })))
}

describe('a stream', () => {
  it('hears of what another process does by being notified', async () => {
    const { ctx, db } = database
    const organization = await anOrganization(ctx)
    const feed = feeds.make(db, { lookMs: neverLooks })
    const stream = await feeds.open(feed, ctx, { organizationId: organization.id })
    await until(() => isListening('contact_events'))

    const contact = await withHandle((other) => aContact({ ...ctx, db: other }, organization.id))

    expect(await stream.take(1)).toMatchObject([{ kind: 'added', contact: { id: contact.id } }])
  })

  it('misses nothing that is committed late, whatever was read meanwhile', async () => {
    const { ctx, db } = database
    const [first, second] = [await anOrganization(ctx), await anOrganization(ctx)]
    const root = await anOrganization(ctx)
    await withClient(async (client) => {
      await client`update organizations set parent_id = ${root.id} where id in (${first.id}, ${second.id})`
      // These rows come without the notification that statements of the gateway bring.
      const feed = feeds.make(db, { lookMs: { listening: 20, alone: 20 } })
      const stream = await feeds.open(feed, ctx, { organizationId: root.id, includeDescendants: true })
      const insert = 'insert into contact_events (account_id, organization_id, changes) values'
      let seen: ContactEvent[] = []

      await client.begin(async (transaction) => {
        await transaction.unsafe(`${insert} (${ctx.account}, ${first.id}, '[{"cleared": [1]}]')`)
        await client.unsafe(`${insert} (${ctx.account}, ${second.id}, '[{"cleared": [2]}]')`)
        seen = await stream.take(1)
      })
      // Another that comes after both: the late one is not behind it.
      const late = await stream.take(1)
      await client.unsafe(`${insert} (${ctx.account}, ${second.id}, '[{"cleared": [3]}]')`)

      expect(seen).toMatchObject([{ organizationId: second.id, contactIds: [2] }])
      expect(late).toMatchObject([{ organizationId: first.id, contactIds: [1] }])
      expect(await stream.take(1)).toMatchObject([{ contactIds: [3] }])
      const again = await feeds.open(feeds.make(db), ctx, {
        organizationId: root.id,
        includeDescendants: true,
        after: seen[0]!.cursor,
      })
      expect(await again.take(2)).toMatchObject([{ contactIds: [1] }, { contactIds: [3] }])
    })
  })

  it('brings each organization in the order of its commits to all subscribers of two processes, over cut links', async () => {
    const { ctx } = database
    const organizations = await Promise.all(Array.from({ length: 4 }, () => anOrganization(ctx)))
    await withHandle(async (one) => {
      await withHandle(async (two) => {
        const streams = await Promise.all(
          organizations.map(({ id: organizationId }) =>
            Promise.all(
              [feeds.make(one), feeds.make(two)].flatMap((feed) =>
                Array.from({ length: 3 }, () => feeds.open(feed, ctx, { organizationId })),
              ),
            ),
          ),
        )
        const writers = organizations.flatMap(({ id }) => Array.from({ length: 5 }, () => write(ctx, id, 40)))
        const cutting = cutListeners(Promise.all(writers))

        await Promise.all(writers)
        expect(await cutting).toBeGreaterThan(0)
        for (const { id } of organizations) await aContact(ctx, id, { value: '+1 000' })

        for (const [i, { id }] of organizations.entries()) await holdToStored(ctx, id, streams[i]!)
      })
    })
  })

  it('goes on from its cursor in the middle of many writers', async () => {
    const { ctx, db } = database
    const { id: organizationId } = await anOrganization(ctx)
    const feed = feeds.make(db)
    const whole = await feeds.open(feed, ctx, { organizationId })
    const writers = Promise.all(Array.from({ length: 6 }, () => write(ctx, organizationId, 40)))
    let after = whole.cursor
    const pieces: ContactEvent[] = []
    for (let n = 1; n <= 12; n += 1) {
      const stream = await feeds.open(feed, ctx, { organizationId, after })
      pieces.push(...(await stream.take(n)))
      after = pieces.at(-1)!.cursor
      stream.leave()
    }
    await writers
    await aContact(ctx, organizationId, { value: '+1 000' })

    const rest = await feeds.open(feed, ctx, { organizationId, after })
    pieces.push(...(await rest.takeUntil(isMarker)))

    const plain = (events: ContactEvent[]) => events.map(({ cursor, ...event }) => event)
    expect(plain(pieces)).toEqual(plain(await whole.takeUntil(isMarker)))
    replay(pieces)
  })

  it('notifies nobody where nobody listens', async () => {
    const { ctx } = database
    const organization = await anOrganization(ctx)
    await withClient(async (client) => {
      await client`delete from contact_listeners`
      const heard: string[] = []
      const listening = await client.listen('contact_events', (payload) => heard.push(payload))

      await aContact(ctx, organization.id)
      await client.notify('contact_events', 'marker')

      await until(async () => heard.includes('marker'))
      expect(heard).toEqual(['marker'])
      await listening.unlisten()
    })
  })
})

const isListening = (channel: string) =>
  withClient(async (client) => {
    const rows = await client`select 1 from pg_stat_activity
      where datname = current_database() and query = ${`listen ${channel}`} and state = 'idle'`
    return rows.length > 0
  })

/** Cuts the connections that listen, again and again while the work goes on; tells how many. */
async function cutListeners(work: Promise<unknown>): Promise<number> {
  let isOver = false
  const end = () => {
    isOver = true
  }
  work.then(end, end)
  let cut = 0
  await withClient(async (client) => {
    while (!isOver) {
      const rows = await client`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query = 'listen contact_events' and state = 'idle'`
      cut += rows.length
    }
  })
  return cut
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 10))
}
