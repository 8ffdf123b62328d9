import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { defineStatement } from '../../src/db/statement.ts'
import { changeContacts } from '../../src/domain/change-contacts.ts'
import { clearContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import { withIncluded } from '../../src/domain/context.ts'
import { decodeEventCursor, encodeEventCursor } from '../../src/domain/event-cursor.ts'
import { type ContactEvent, removeOldEvents } from '../../src/domain/events.ts'
import { importContacts } from '../../src/domain/import-contacts.ts'
import { type Organization, updateOrganization } from '../../src/domain/organizations.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { StreamEnded } from '../../src/live/feed.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { useFeeds } from '../support/streams.ts'

const database = useDatabase()
const feeds = useFeeds()

let organization: Organization
let other: Organization
beforeEach(async () => {
  organization = await anOrganization(database.ctx)
  other = await anOrganization(database.ctx)
})

const open = (given: { includeDescendants?: boolean; after?: string } = {}, id = organization.id) =>
  feeds.open(feeds.make(database.db), database.ctx, { organizationId: id, ...given })

/** Events without their cursors. */
const plain = (events: ContactEvent[]) => events.map(({ cursor, ...event }) => event)

describe('a stream', () => {
  it('tells what each verb has done, with the contact as it was by then', async () => {
    const { ctx } = database
    const id = organization.id
    const stream = await open()

    const added = await aContact(ctx, id)
    const updated = await updateContact(ctx, { id: added.id, change: { telephone: { label: 'fax' } } })
    await removeContact(ctx, { id: added.id })
    const { added: both } = await changeContacts(ctx, {
      organizationId: id,
      add: [{ email: { label: 'general', value: 'a@b' } }, { website: { label: 'general', value: 'b' } }],
    })
    const imported = await importContacts(ctx, {
      organizationId: id,
      contacts: [
        { id: both[0]!.id, contact: { email: { label: 'general', value: 'c@d' } } },
        { contact: { telephone: { label: 'general', value: '7' } } },
      ],
    })
    const { ids } = await clearContacts(ctx, { organizationId: id })

    const place = { organizationId: id }
    expect(plain(await stream.take(8))).toEqual([
      { kind: 'added', ...place, contact: added },
      { kind: 'updated', ...place, contact: updated },
      { kind: 'removed', ...place, contactId: added.id, version: 2 },
      { kind: 'added', ...place, contact: both[0] },
      { kind: 'added', ...place, contact: both[1] },
      { kind: 'updated', ...place, contact: imported.results[0]!.contact },
      { kind: 'added', ...place, contact: imported.results[1]!.contact },
      { kind: 'cleared', ...place, contactIds: ids },
    ])
  })

  it('tells nothing where nothing was changed, or was refused', async () => {
    const { ctx } = database
    const contact = await aContact(ctx, organization.id)
    const stream = await open()

    await updateContact(ctx, { id: contact.id, change: { telephone: { label: 'general' } } })
    await clearContacts(ctx, { organizationId: other.id })
    await expect(removeContact(ctx, { id: contact.id, ifVersion: 9 })).rejects.toThrow('at version 1')
    await importContacts(ctx, {
      organizationId: organization.id,
      contacts: [{ contact: { telephone: { label: 'general', value: contact.value } } }],
    })
    const last = await aContact(ctx, organization.id, { value: '5' })

    expect(plain(await stream.take(1))).toMatchObject([{ kind: 'added', contact: { id: last.id } }])
  })

  it('tells what was removed and changed by one call first, and what was added last', async () => {
    const { ctx } = database
    const [a, b] = [await aContact(ctx, organization.id), await aContact(ctx, organization.id)]
    const stream = await open()

    await changeContacts(ctx, {
      organizationId: organization.id,
      add: [{ email: { label: 'general', value: 'a@b' } }],
      update: [{ id: a.id, change: { telephone: { label: 'fax' } } }],
      remove: [{ id: b.id }],
    })

    expect((await stream.take(3)).map(({ kind }) => kind)).toEqual(['removed', 'updated', 'added'])
  })

  it('is of one organization, and of those beneath it only where that is asked for', async () => {
    const { ctx } = database
    const child = await anOrganization(ctx, { parentId: organization.id })
    const grandchild = await anOrganization(ctx, { parentId: child.id })
    const feed = feeds.make(database.db)
    const alone = await feeds.open(feed, ctx, { organizationId: organization.id })
    const tree = await feeds.open(feed, ctx, { organizationId: organization.id, includeDescendants: true })

    for (const { id } of [other, grandchild, child, organization]) await aContact(ctx, id)

    const organizations = (events: ContactEvent[]) => events.map(({ organizationId }) => organizationId)
    expect(organizations(await tree.take(3))).toEqual([grandchild.id, child.id, organization.id])
    expect(organizations(await alone.take(1))).toEqual([organization.id])
  })

  it('follows organizations that move', async () => {
    const { ctx } = database
    const stream = await open({ includeDescendants: true })

    await aContact(ctx, other.id, { value: '1' })
    await updateOrganization(ctx, { id: other.id, parentId: organization.id })
    // Whoever is beneath it when the event is read counts; by now the first one may have been read or not.
    await aContact(ctx, other.id, { value: '2' })

    const last = (event: ContactEvent) => event.kind === 'added' && event.contact.value === '2'
    expect((await stream.takeUntil(last)).length).toBeLessThanOrEqual(2)
  })

  it('tells of seeded contacts, too', async () => {
    const stream = await open({ includeDescendants: true })

    await seedOrganizations(database.ctx, [
      {
        name: `beneath ${organization.name}`,
        parent: organization.name,
        contacts: [{ channel: 'telephone', label: 'general', value: '1' }],
      },
    ])

    expect(await stream.take(1)).toMatchObject([{ kind: 'added', contact: { value: '1' } }])
  })

  it('goes on after any of its cursors with exactly what comes after it', async () => {
    const { ctx } = database
    const child = await anOrganization(ctx, { parentId: organization.id })
    const change = fc.record({
      organization: fc.constantFrom(organization.id, child.id),
      add: fc.integer({ min: 0, max: 3 }),
      clears: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const stream = await open({ includeDescendants: true })
        for (const { organization, add, clears } of changes) {
          const contacts = Array.from({ length: add }, (_, i) => ({ telephone: { label: 'general', value: `${i}` } }))
          if (add > 0) await changeContacts(ctx, { organizationId: organization, add: contacts })
          if (clears) await clearContacts(ctx, { organizationId: organization })
        }
        const last = await aContact(ctx, organization.id, { value: '+1 999' })
        const all = await stream.takeUntil((event) => event.kind === 'added' && event.contact.id === last.id)

        for (const [i, cursor] of [stream.cursor, ...all.map((event) => event.cursor)].entries()) {
          const again = await open({ includeDescendants: true, after: cursor })
          const rest = all.slice(i)
          if (rest.length > 0) expect(plain(await again.take(rest.length))).toEqual(plain(rest))
          else {
            const next = await aContact(ctx, organization.id, { value: '+1 998' })
            expect(await again.take(1)).toMatchObject([{ contact: { id: next.id } }])
          }
          again.leave()
        }
      }),
      { numRuns: 8 },
    )
  })

  it('goes on from the cursor of another process', async () => {
    const first = await open()
    const second = feeds.make(database.db)
    // It has begun to read before, and knows nothing of what comes now.
    await feeds.open(second, database.ctx, { organizationId: other.id })
    const contact = await aContact(database.ctx, organization.id)
    const [event] = await first.take(1)
    const next = await aContact(database.ctx, organization.id)

    const stream = await feeds.open(second, database.ctx, { organizationId: organization.id, after: event!.cursor })

    expect(event).toMatchObject({ contact: { id: contact.id } })
    expect(await stream.take(1)).toMatchObject([{ kind: 'added', contact: { id: next.id } }])
  })

  it('brings thousands of changes that were missed', async () => {
    const { ctx } = database
    const before = await open()
    for (let i = 0; i < 15; i += 1) {
      const contacts = Array.from({ length: 100 }, (_, n) => ({
        telephone: { label: 'general', value: `${i * 100 + n}` },
      }))
      await changeContacts(ctx, { organizationId: organization.id, add: contacts })
    }

    const stream = await open({ after: before.cursor })

    const values = (await stream.take(1500)).map((event) => event.kind === 'added' && event.contact.value)
    expect(values).toEqual(Array.from({ length: 1500 }, (_, i) => `${i}`))
  })

  it('leaves nothing behind when it is left', async () => {
    const feed = feeds.make(database.db)
    const streams = await Promise.all(
      [organization.id, organization.id, other.id].map((organizationId) =>
        feeds.open(feed, database.ctx, { organizationId, includeDescendants: true }),
      ),
    )
    expect(feed.streams()).toBe(3)

    const waiting = streams[0]!.next()
    for (const stream of streams) stream.leave()

    expect(await waiting).toEqual({ value: undefined, done: true })
    expect(feed.streams()).toBe(0)
  })
})

describe('a stream ends', () => {
  it('when what waits to be read is too much', async () => {
    const feed = feeds.make(database.db, { maxWaiting: 3 })
    const stream = await feeds.open(feed, database.ctx, { organizationId: organization.id })
    const quick = await feeds.open(feed, database.ctx, { organizationId: organization.id })
    for (let i = 0; i < 5; i += 1) {
      await aContact(database.ctx, organization.id)
      await quick.take(1)
    }

    await expect(stream.next()).rejects.toMatchObject({
      code: 'SLOW_CONSUMER',
      message: '4 changes waited to be read; at most 3 may.',
    })
    expect(feed.streams()).toBe(1)
  })

  it('when the process stops', async () => {
    const feed = feeds.make(database.db)
    const stream = await feeds.open(feed, database.ctx, { organizationId: organization.id })
    const waiting = stream.next()

    await feed.close()

    await expect(waiting).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    await expect(feeds.open(feed, database.ctx, { organizationId: organization.id })).rejects.toBeInstanceOf(
      StreamEnded,
    )
  })

  it('at once where what came after its cursor is not known any more', async () => {
    const { db, ctx } = database
    const stream = await open()
    await aContact(ctx, organization.id)
    await db.run(age, {})
    await removeOldEvents(db, 3600)
    const position = decodeEventCursor(stream.cursor)!
    const hours = (n: number) => encodeEventCursor({ ...position, at: position.at - n * 3_600_000 })

    await expect(open({ after: hours(3) })).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' })
    await expect(open({ after: hours(1) })).resolves.toBeDefined()
    await expect(open()).resolves.toBeDefined()
  })

  it('at once where its cursor is from a database that has come further', async () => {
    const future = Buffer.from([1, 1, 255, 255, 255, 255, 127, 0, 0]).toString('base64url')

    await expect(open({ after: future })).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' })
  })
})

/** As if two hours had passed. */
const age = defineStatement<Record<never, never>>(
  'age_events',
  sql`update contact_events set created_at = created_at - interval '2 hours'`,
)

describe('who asks for a stream', () => {
  it('is told what is wrong', async () => {
    const { ctx, otherCtx } = database
    const feed = feeds.make(database.db)
    const subscribe = (input: object, as = ctx) => feed.subscribe(as, input as never, new AbortController().signal)

    const faults = { organizationId: 'x', includeDescendants: 'yes', after: 'none' }
    await expect(subscribe(faults)).rejects.toMatchObject({
      issues: [
        { path: ['organizationId'] },
        { path: ['includeDescendants'] },
        { path: ['after'], code: 'INVALID_CURSOR' },
      ],
    })
    await expect(subscribe({ organizationId: 999_999_999 })).rejects.toThrow('Organization not found.')
    await expect(subscribe({ organizationId: organization.id }, otherCtx)).rejects.toThrow('Organization not found.')
    const unable = { ...ctx, permissions: withIncluded(['organizations:write']) }
    await expect(subscribe({ organizationId: organization.id }, unable)).rejects.toThrow('contacts:read')
    expect(feed.streams()).toBe(0)
  })

  it('hears of no other account, whatever cursor it has', async () => {
    const { ctx, otherCtx } = database
    const theirs = await anOrganization(otherCtx)
    const before = await open()
    await aContact(ctx, organization.id)
    const feed = feeds.make(database.db)
    const stream = await feeds.open(feed, otherCtx, {
      organizationId: theirs.id,
      includeDescendants: true,
      after: before.cursor,
    })

    await aContact(ctx, organization.id)
    const own = await aContact(otherCtx, theirs.id)

    expect(await stream.take(1)).toMatchObject([{ contact: { id: own.id } }])
  })

  it.each([
    '',
    'AQ',
    'AAAA',
    '__________8',
    Buffer.from([1, 1, 5, 255, 255, 255, 255, 127, 255, 255, 255, 127]).toString('base64url'),
    'x'.repeat(9000),
    '-'.repeat(100),
  ])('cannot use %j as a cursor', async (after) => {
    await expect(open({ after })).rejects.toMatchObject({ issues: [{ path: ['after'], code: 'INVALID_CURSOR' }] })
  })
})

describe('events of the past', () => {
  it('are removed, and the others stay', async () => {
    const { db, ctx } = database
    const stream = await open()
    await aContact(ctx, organization.id)
    await db.run(age, {})
    const kept = await aContact(ctx, organization.id)
    await removeOldEvents(db, 3600)

    const again = await open({ after: stream.cursor })

    expect(await again.take(1)).toMatchObject([{ contact: { id: kept.id } }])
  })
})
