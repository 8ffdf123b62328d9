import { describe, expect, it, vi } from 'vitest'
import { createRateLimiter } from '../../src/auth/rate-limit.ts'
import { clearContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { StreamEnded } from '../../src/live/feed.ts'
import { useDatabase } from '../support/database.ts'
import { type EventReader, readEvents } from '../support/events.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { createTestFeed, useLiveApps } from '../support/live-app.ts'

const database = useDatabase()
const apps = useLiveApps()

async function serve(given: Parameters<typeof apps.serve>[1] = {}, ctx: Context = database.ctx) {
  const organization = await anOrganization(database.ctx)
  const { server } = await apps.serve(ctx, given)
  const path = (id: unknown = organization.id) => `${server.url}/v1/organizations/${id}/contacts/events`
  const opened: EventReader[] = []
  const open = async (query = '', headers: Record<string, string> = {}, id?: unknown) => {
    const events = await readEvents(path(id) + query, { headers })
    opened.push(events)
    return events
  }
  return { server, organization, path, open }
}

describe('GET /organizations/:id/contacts/events', () => {
  it('brings the changes as server-sent events, with contacts as the API shows them', async () => {
    const { ctx } = database
    const { open, organization } = await serve()
    const events = await open()
    const { id: organizationId } = organization

    const contact = await aContact(ctx, organizationId, { value: '11' })
    await updateContact(ctx, { id: contact.id, organizationId, change: { telephone: { value: '12' } } })
    await removeContact(ctx, { id: contact.id, organizationId })
    const other = await aContact(ctx, organizationId, { channel: 'email', label: 'service_desk', integration: true })
    await clearContacts(ctx, { organizationId })

    const id = expect.any(String)
    const common = { organization_id: organizationId, id: contact.id }
    const cursor = (await events.next())!.data.cursor
    expect(cursor).toEqual(id)
    expect(await events.next()).toEqual({
      id,
      event: 'added',
      data: { ...common, label: 'general', telephone: '11', integration: false, etag: '"v1"' },
    })
    expect(await events.next()).toEqual({
      id,
      event: 'updated',
      data: { ...common, label: 'general', telephone: '12', integration: false, etag: '"v2"' },
    })
    expect(await events.next()).toMatchObject({ id, event: 'removed', data: common })
    expect(await events.next()).toMatchObject({
      event: 'added',
      data: { id: other.id, label: 'service_desk', email: 'info@best-it.com', integration: true },
    })
    expect(await events.next()).toEqual({
      id,
      event: 'cleared',
      data: { organization_id: organizationId, ids: [other.id] },
    })
  })

  it('begins with where it begins, at once', async () => {
    const { open } = await serve()

    const events = await open()
    const first = await events.next()

    expect(events.status).toBe(200)
    expect(events.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(events.headers.get('cache-control')).toContain('no-cache')
    expect(events.headers.get('x-accel-buffering')).toBe('no')
    expect(events.headers.get('etag')).toBeNull()
    expect(first).toEqual({ id: first!.data.cursor, event: 'ready', data: { cursor: expect.any(String) } })
  })

  it.each<[string, (cursor: string) => [query: string, headers: Record<string, string>]]>([
    ['Last-Event-ID', (cursor: string) => ['', { 'last-event-id': cursor }]],
    ['after', (cursor: string) => [`?after=${cursor}`, {}]],
    ['Last-Event-ID rather than after', (cursor: string) => ['?after=nothing', { 'last-event-id': cursor }]],
  ])('goes on by %s', async (_, by) => {
    const { open, organization } = await serve()
    const first = await open()
    await first.next()
    await aContact(database.ctx, organization.id, { value: '21' })
    const { id } = (await first.next())!
    first.close()
    await aContact(database.ctx, organization.id, { value: '22' })

    const second = await open(...by(id!))

    expect(await second.next()).toMatchObject({ event: 'ready' })
    expect((await second.next())!.data.telephone).toBe('22')
  })

  it('brings what is beneath where that is asked for', async () => {
    const { open, organization } = await serve()
    const child = await anOrganization(database.ctx, { parentId: organization.id })
    const [alone, all] = [await open('?include_descendants=false'), await open('?include_descendants=true')]
    await Promise.all([alone.next(), all.next()])

    await aContact(database.ctx, child.id)
    await aContact(database.ctx, organization.id)

    expect((await all.next())!.data.organization_id).toBe(child.id)
    expect((await alone.next())!.data.organization_id).toBe(organization.id)
  })

  it('takes global ids, and the ends of paths that the API takes', async () => {
    const { path, organization, server } = await serve()
    const statusOf = async (url: string) => {
      const events = await readEvents(url)
      events.close()
      return events.status
    }

    expect(await statusOf(path(encodeId('Organization', organization.id)))).toBe(200)
    expect(await statusOf(`${path()}/`)).toBe(200)
    expect(await statusOf(`${server.url}/v1/organizations/${organization.id}/contacts/event`)).not.toBe(200)
  })

  describe('answers as the API does', () => {
    const answerTo = async (url: string, init: RequestInit = {}) => {
      const response = await fetch(url, init)
      const text = await response.text()
      return { status: response.status, body: text ? JSON.parse(text) : undefined, headers: response.headers }
    }

    it('404 for an organization that is not there, or of somebody else', async () => {
      const { path } = await serve()
      const { id } = await anOrganization(database.otherCtx)

      for (const one of [999_999, 'x', id]) {
        expect(await answerTo(path(one))).toMatchObject({ status: 404, body: { message: 'Not Found' } })
      }
    })

    it('400 for what cannot be', async () => {
      const { path } = await serve()

      expect(await answerTo(`${path()}?after=x`)).toMatchObject({ status: 400, body: { message: /cursor/ } })
      expect(await answerTo(`${path()}?include_descendants=maybe`)).toMatchObject({
        status: 400,
        body: { message: "Parameter 'include_descendants' must be true or false" },
      })
    })

    it('403 to who may not read contacts', async () => {
      const { path } = await serve({}, { ...database.ctx, permissions: new Set(['organizations:read'] as const) })

      expect(await answerTo(path())).toMatchObject({ status: 403, body: { message: 'Forbidden' } })
    })

    it('406 to who takes no events', async () => {
      const { path } = await serve()

      expect(await answerTo(path(), { headers: { accept: 'application/json' } })).toMatchObject({ status: 406 })
    })

    it('405 to what it is not for, and tells what it is', async () => {
      const { path } = await serve()

      const { status, headers } = await answerTo(path(), { method: 'DELETE' })

      expect(status).toBe(405)
      expect(headers.get('allow')).toBe('GET, HEAD, OPTIONS')
    })

    it('HEAD without a stream', async () => {
      const { feed, count } = createTestFeed()
      const { path } = await serve({ feed })

      const { status, headers } = await answerTo(path(), { method: 'HEAD' })

      expect([status, headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8'])
      await vi.waitUntil(() => count() === 0)
    })

    it('429 and 503 where there are too many', async () => {
      const limits = { requests: 100, nodes: 1000, concurrent: 100, streams: 1 }
      const limited = await serve({ limiter: createRateLimiter(limits, undefined) })
      const full = await serve({ maxStreams: 1 })
      for (const { open } of [limited, full]) await open()

      const answers = [await answerTo(limited.path()), await answerTo(full.path())]

      expect(answers).toMatchObject([
        { status: 429, body: { message: 'Too Many Requests' } },
        { status: 503, body: { message: 'Service Unavailable' } },
      ])
      for (const { headers } of answers) expect(headers.get('retry-after')).toBe('10')
    })
  })

  describe('ends with an event that says why', () => {
    it('when the server stops', async () => {
      const { open, server } = await serve()
      const events = await open()
      await events.next()

      const closed = server.close(60_000)

      expect(await events.rest()).toEqual([
        { event: 'end', data: { code: 'SHUTTING_DOWN', message: expect.any(String) } },
      ])
      await closed
    })

    it('when its source ends, after what came before', async () => {
      const { feed, tell, fail, count } = createTestFeed()
      const { open, organization } = await serve({ feed })
      const events = await open()
      await events.next()
      tell({ kind: 'removed', cursor: 'c1', organizationId: organization.id, contactId: 1, version: 2 })
      fail(new StreamEnded('SLOW_CONSUMER', 'Too slow.'))

      expect(await events.rest()).toEqual([
        { id: 'c1', event: 'removed', data: { organization_id: organization.id, id: 1, etag: '"v2"' } },
        { event: 'end', data: { code: 'SLOW_CONSUMER', message: 'Too slow.' } },
      ])
      expect(count()).toBe(0)
    })

    it('and has browsers forget a place that is too old', async () => {
      const feed = {
        subscribe: () => Promise.reject(new StreamEnded('CURSOR_EXPIRED', 'Too old.')),
        close: async () => {},
      }
      const { open } = await serve({ feed })

      const events = await open()

      expect(events.status).toBe(200)
      expect(await events.rest()).toEqual([
        { id: '', event: 'end', data: { code: 'CURSOR_EXPIRED', message: 'Too old.' } },
      ])
    })

    it('and nothing of what was thrown by accident', async () => {
      const { feed, fail } = createTestFeed()
      const { open } = await serve({ feed })
      const events = await open()
      await events.next()
      fail(new Error('secret'))

      expect(await events.rest()).toEqual([
        { event: 'end', data: { code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' } },
      ])
    })
  })
})
