import { createClient } from 'graphql-sse'
import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import { AuthError, type Caller } from '../../src/auth/authenticate.ts'
import { createRateLimiter, type RateLimits } from '../../src/auth/rate-limit.ts'
import { clearContacts, removeContact, updateContact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { StreamEnded } from '../../src/live/feed.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { useDatabase } from '../support/database.ts'
import { openRaw, type ServerEvent } from '../support/events.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { executeAt } from '../support/gateway.ts'
import { createTestFeed, useLiveApps } from '../support/live-app.ts'

const database = useDatabase()
const apps = useLiveApps()

const contactsChanged = /* GraphQL */ `
  subscription Changes($id: ID!, $descendants: Boolean, $after: String) {
    contactsChanged(organizationId: $id, includeDescendants: $descendants, after: $after) {
      __typename
      ... on ContactsChangeDetails { cursor organization { id name } }
      ... on ContactAdded { contact { __typename ... on ContactDetails { id label value version } } }
      ... on ContactUpdated { contact { ... on ContactDetails { id value version } } }
      ... on ContactRemoved { contactId version }
      ... on ContactsCleared { contactIds }
    }
  }
`

const changeIn = (event: ServerEvent | undefined) => event?.data?.data?.contactsChanged
const errorsIn = (event: ServerEvent | undefined) => event?.data?.errors
const codesIn = (event: ServerEvent | undefined) =>
  errorsIn(event)?.map(({ extensions }: { extensions: { code: string } }) => extensions.code)

/** What an event of the test feed shows. */
const anEvent = (organizationId: number, cursor = 'next') =>
  ({ kind: 'removed', cursor, organizationId, contactId: 7, version: 3 }) as const

describe('a subscription by server-sent events', () => {
  it('brings each kind of change as a member of its own, in their order', async () => {
    const { ctx } = database
    const organization = await anOrganization(ctx)
    const { subscribe } = await apps.serve(ctx)
    const events = await subscribe(contactsChanged, { id: encodeId('Organization', organization.id) })

    const contact = await aContact(ctx, organization.id, { value: '11' })
    await updateContact(ctx, {
      id: contact.id,
      organizationId: organization.id,
      change: { telephone: { value: '12' } },
    })
    await removeContact(ctx, { id: contact.id, organizationId: organization.id })
    const others = [await aContact(ctx, organization.id), await aContact(ctx, organization.id)]
    await clearContacts(ctx, { organizationId: organization.id })

    const common = {
      cursor: expect.any(String),
      organization: { id: encodeId('Organization', organization.id), name: organization.name },
    }
    const id = encodeId('Contact', contact.id)
    const added = { ...common, __typename: 'ContactAdded' }
    expect(changeIn(await events.next())).toEqual({
      ...added,
      contact: { __typename: 'TelephoneContact', id, label: 'GENERAL', value: '11', version: 1 },
    })
    expect(changeIn(await events.next())).toEqual({
      ...common,
      __typename: 'ContactUpdated',
      contact: { id, value: '12', version: 2 },
    })
    expect(changeIn(await events.next())).toMatchObject({ ...common, __typename: 'ContactRemoved', contactId: id })
    expect(changeIn(await events.next())).toMatchObject(added)
    expect(changeIn(await events.next())).toMatchObject(added)
    const cleared = changeIn(await events.next())
    expect(cleared).toMatchObject({ ...common, __typename: 'ContactsCleared' })
    expect(cleared.contactIds.toSorted()).toEqual(others.map((one) => encodeId('Contact', one.id)).toSorted())
  })

  it('is sent as the protocol has it', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { url } = await apps.serve(ctx)
    const body = JSON.stringify({ query: `subscription { contactsChanged(organizationId: ${id}) { __typename } }` })
    const { socket, told } = openRaw(url)
    socket.write(
      `POST /graphql HTTP/1.1\r\nhost: gateway\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await vi.waitUntil(() => told.text.includes(':\n\n'))

    await aContact(ctx, id)

    const event = 'event: next\ndata: {"data":{"contactsChanged":{"__typename":"ContactAdded"}}}\n\n'
    await vi.waitUntil(() => told.text.includes(event))
    expect(told.text).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(told.text).toMatch(/^content-type: text\/event-stream/im)
  })

  it('comes by GET as well', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { url } = await apps.serve(ctx)
    const query = `subscription { contactsChanged(organizationId: ${id}) { __typename } }`
    const going = new AbortController()
    const response = await fetch(`${url}?query=${encodeURIComponent(query)}`, {
      headers: { accept: 'text/event-stream' },
      signal: going.signal,
    })

    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    going.abort()
  })

  it('brings the changes beneath an organization where that is asked for, and of no other', async () => {
    const { ctx } = database
    const root = await anOrganization(ctx)
    const child = await anOrganization(ctx, { parentId: root.id })
    const elsewhere = await anOrganization(ctx)
    const { subscribe } = await apps.serve(ctx)
    const [alone, all] = [
      await subscribe(contactsChanged, { id: root.id }),
      await subscribe(contactsChanged, { id: root.id, descendants: true }),
    ]

    for (const { id } of [elsewhere, child, root]) await aContact(ctx, id)

    const nameOf = async (events: typeof all) => changeIn(await events.next()).organization.name
    expect([await nameOf(all), await nameOf(all)]).toEqual([child.name, root.name])
    expect(await nameOf(alone)).toBe(root.name)
  })

  it('goes on after a cursor', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { subscribe } = await apps.serve(ctx)
    const first = await subscribe(contactsChanged, { id })
    await aContact(ctx, id, { value: '21' })
    const { cursor } = changeIn(await first.next())
    first.close()
    await aContact(ctx, id, { value: '22' })

    const second = await subscribe(contactsChanged, { id, after: cursor })
    await aContact(ctx, id, { value: '23' })

    expect(changeIn(await second.next()).contact.value).toBe('22')
    expect(changeIn(await second.next()).contact.value).toBe('23')
  })

  it('shows with each change how things are by then', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { subscribe } = await apps.serve(ctx)
    const query = `subscription { contactsChanged(organizationId: ${id}) { ... on ContactsChangeDetails { organization { contacts { totalCount } } } } }`
    const events = await subscribe(query)
    const countIn = (event: ServerEvent | undefined) => changeIn(event).organization.contacts.totalCount

    await aContact(ctx, id)
    expect(countIn(await events.next())).toBe(1)
    await aContact(ctx, id)
    expect(countIn(await events.next())).toBe(2)
  })

  it('lives longer than a request may take', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { subscribe } = await apps.serve(ctx, { deadlines: { requestMs: 300 } })
    const events = await subscribe(contactsChanged, { id })
    await new Promise((resolve) => setTimeout(resolve, 400))

    await aContact(ctx, id)

    expect(changeIn(await events.next())).toMatchObject({ __typename: 'ContactAdded', organization: {} })
  })

  it('is let go of when its client goes', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const { feed, count } = createTestFeed()
    const { subscribe } = await apps.serve(ctx, { feed })
    const events = [await subscribe(contactsChanged, { id }), await subscribe(contactsChanged, { id })]
    expect(count()).toBe(2)

    for (const { close } of events) close()

    await vi.waitUntil(() => count() === 0)
  })

  it('is let go of when it was begun too late', async () => {
    const { ctx } = database
    const { id } = await anOrganization(ctx)
    const test = createTestFeed()
    const begun = Promise.withResolvers<void>()
    const feed = {
      ...test.feed,
      async subscribe(...given: Parameters<typeof test.feed.subscribe>) {
        const subscribed = await test.feed.subscribe(...given)
        await begun.promise
        return subscribed
      },
    }
    const { subscribe } = await apps.serve(ctx, { feed, deadlines: { requestMs: 100 } })

    const { status } = await subscribe(contactsChanged, { id })
    begun.resolve()

    expect(status).toBe(504)
    await vi.waitUntil(() => test.count() === 0)
  })
})

describe('a subscription is refused', () => {
  const refusalOf = async (ctx: Context, id: unknown, more: object = {}) => {
    const { subscribe } = await apps.serve(ctx)
    const events = await subscribe(contactsChanged, { id, ...more })
    const [first, last, ...others] = await events.rest()
    expect(others).toEqual([])
    expect(last).toEqual({ event: 'complete', data: null })
    return codesIn(first)
  }

  it('for an organization that is not there, or of somebody else', async () => {
    const { id } = await anOrganization(database.otherCtx)

    expect(await refusalOf(database.ctx, 999_999)).toEqual(['NOT_FOUND'])
    expect(await refusalOf(database.ctx, id)).toEqual(['NOT_FOUND'])
  })

  it('for what is no id, and what is no cursor', async () => {
    const { id } = await anOrganization(database.ctx)

    expect(await refusalOf(database.ctx, encodeId('Contact', id))).toEqual(['BAD_USER_INPUT'])
    expect(await refusalOf(database.ctx, id, { after: 'yesterday' })).toEqual(['BAD_USER_INPUT'])
  })

  it('to who may not read contacts', async () => {
    const { id } = await anOrganization(database.ctx)
    const ctx: Context = { ...database.ctx, permissions: new Set(['organizations:read']) }

    expect(await refusalOf(ctx, id)).toEqual(['FORBIDDEN'])
  })

  it.each([
    [
      'several fields',
      'subscription { a: contactsChanged(organizationId: 1) { __typename } b: contactsChanged(organizationId: 1) { __typename } }',
    ],
    [
      'several fields by fragments',
      'subscription { ...F b: contactsChanged(organizationId: 1) { __typename } } fragment F on Subscription { a: contactsChanged(organizationId: 1) { __typename } }',
    ],
    ['nothing but its type', 'subscription { __typename }'],
    ['a field that is left out', 'subscription { contactsChanged(organizationId: 1) @skip(if: true) { __typename } }'],
    [
      'a fragment that is left out',
      'subscription { ... @include(if: false) { contactsChanged(organizationId: 1) { __typename } } }',
    ],
    [
      'a field that is left out of a fragment',
      'subscription { ...F } fragment F on Subscription { contactsChanged(organizationId: 1) @include(if: false) { __typename } }',
    ],
    ['parts that come later', 'subscription { contactsChanged(organizationId: 1) { ... @defer { __typename } } }'],
    [
      'a key for one effect',
      'subscription { contactsChanged(organizationId: 1) @idempotent(key: "a") { __typename } }',
    ],
    ['what is not there', 'subscription { contactsChanged(organizationId: 1) { nothing } }'],
  ])('with %s', async (_, query) => {
    const { feed, count } = createTestFeed()
    const { subscribe } = await apps.serve(database.ctx, { feed })

    const [first] = await (await subscribe(query)).rest()

    expect(codesIn(first)).toEqual(expect.arrayContaining(['BAD_USER_INPUT']))
    expect(count()).toBe(0)
  })

  it('that asks for more than a document may', async () => {
    const { subscribe } = await apps.serve(database.ctx)
    const query = `subscription { contactsChanged(organizationId: 1) { ... on ContactsChangeDetails {
      organization { children(first: 100) { nodes { children(first: 100) { nodes { contacts(first: 100) { totalCount } } } } } }
    } } }`

    expect(codesIn(await (await subscribe(query)).next())).toEqual(['QUERY_TOO_COMPLEX'])
  })

  it('as before where its document is known already', async () => {
    const { id } = await anOrganization(database.ctx)
    const { subscribe } = await apps.serve(database.ctx)
    const query = `subscription Known($id: ID!, $n: Int) { contactsChanged(organizationId: $id) { ... on ContactsChangeDetails {
      organization { children(first: $n) { nodes { children(first: $n) { nodes { children(first: $n) { totalCount } } } } } }
    } } }`
    const known = await subscribe(query, { id, n: 1 })
    const codesFor = async (variables: object) => codesIn(await (await subscribe(query, { ...variables })).next())

    expect(await codesFor({ id, n: 100 })).toEqual(['QUERY_TOO_COMPLEX'])
    expect(await codesFor({ id: 999_999, n: 1 })).toEqual(['NOT_FOUND'])
    expect(await codesFor({ n: 1 })).toEqual(['BAD_USER_INPUT'])
    const again = await subscribe(query, { id, n: 1 })
    await aContact(database.ctx, id)
    for (const events of [known, again]) {
      expect(changeIn(await events.next())).toEqual({ organization: { children: { nodes: [] } } })
    }
  })

  it.each([['application/json'], ['application/graphql-response+json'], ['*/*'], [undefined]])(
    'where events are not accepted: %s',
    async (accept) => {
      const { feed, count } = createTestFeed()
      const { url } = await apps.serve(database.ctx, { feed })
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(accept && { accept }) },
        body: JSON.stringify({ query: contactsChanged, variables: { id: 1 } }),
      })

      expect(response.status).toBe(406)
      const { errors } = (await response.json()) as { errors: unknown[] }
      expect(errors).toEqual([
        {
          message: 'A subscription needs `accept: text/event-stream`, or a WebSocket.',
          extensions: { code: 'BAD_USER_INPUT' },
        },
      ])
      expect(count()).toBe(0)
    },
  )
})

describe('a stream ends', () => {
  const start = async (given: Parameters<typeof apps.serve>[1] = {}) => {
    const organization = await anOrganization(database.ctx)
    const test = createTestFeed()
    const app = await apps.serve(database.ctx, { feed: test.feed, ...given })
    return { ...app, ...test, organization }
  }
  const completed = { event: 'complete', data: null }

  it.each(['SLOW_CONSUMER', 'CURSOR_EXPIRED'] as const)('with the code %s of its source', async (code) => {
    const { subscribe, organization, fail, tell, count } = await start()
    const events = await subscribe(contactsChanged, { id: organization.id })
    tell(anEvent(organization.id))
    fail(new StreamEnded(code, 'Why.'))

    const [change, end, ...others] = await events.rest()

    expect(changeIn(change)).toMatchObject({ __typename: 'ContactRemoved', cursor: 'next', version: 3 })
    expect(errorsIn(end)).toEqual([{ message: 'Why.', extensions: { code } }])
    expect(others).toEqual([completed])
    expect(count()).toBe(0)
  })

  it('without a word of what was thrown by accident, which is logged', async () => {
    const logged: string[] = []
    const log = pino({ base: undefined }, { write: (line: string) => logged.push(line) })
    const { subscribe, organization, fail } = await start({ log })
    const events = await subscribe(contactsChanged, { id: organization.id }, { 'x-request-id': 'stream-1' })
    fail(new Error('secret'))

    const [end] = await events.rest()

    expect(errorsIn(end)).toEqual([
      { message: 'Unexpected error.', extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'stream-1' } },
    ])
    expect(logged.join('')).toMatch(/"requestId":"stream-1".*unexpected error/)
  })

  it('when the server stops, and says so', async () => {
    const { subscribe, organization, server } = await start()
    const events = await subscribe(contactsChanged, { id: organization.id })

    const closed = server.close(60_000)

    const [end, ...others] = await events.rest()
    expect(codesIn(end)).toEqual(['SHUTTING_DOWN'])
    expect(others).toEqual([completed])
    await closed
  })

  const reader: Caller = { account: 0, permissions: new Set(['contacts:read', 'organizations:read']), key: 'reader' }
  it.each<[string, string, () => Partial<Caller>]>([
    [
      'is not valid any more',
      'UNAUTHENTICATED',
      () => {
        throw new AuthError(401, 'Unauthorized')
      },
    ],
    [
      'may not use the account any more',
      'FORBIDDEN',
      () => {
        throw new AuthError(403, 'Forbidden')
      },
    ],
    ['may not read contacts any more', 'FORBIDDEN', () => ({ permissions: new Set(['organizations:read']) })],
    ['is for another account', 'FORBIDDEN', () => ({ account: -1 })],
  ])('when its token %s, with %s', async (_, code, later) => {
    let isLater = false
    const authenticate = async () => ({
      ...reader,
      account: database.ctx.account,
      ...(isLater && later()),
    })
    const { subscribe, organization, count } = await start({ authenticate, recheckMs: 100 })
    const events = await subscribe(contactsChanged, { id: organization.id })
    isLater = true

    const [end] = await events.rest()

    expect(codesIn(end)).toEqual([code])
    expect(count()).toBe(0)
  })

  it('not when nobody can be asked about its token', async () => {
    let isAway = false
    let asked = 0
    const authenticate = async () => {
      if (isAway) {
        asked += 1
        throw new Error('away')
      }
      return { ...reader, account: database.ctx.account }
    }
    const { subscribe, organization, tell } = await start({ authenticate, recheckMs: 60 })
    const events = await subscribe(contactsChanged, { id: organization.id })
    isAway = true
    await vi.waitUntil(() => asked > 3)

    tell(anEvent(organization.id))

    expect(changeIn(await events.next())).toMatchObject({ __typename: 'ContactRemoved' })
  })
})

describe('streams are limited', () => {
  const plenty: RateLimits = { requests: 1000, nodes: 1_000_000, concurrent: 1000, streams: 1000 }
  const start = async (limits: Partial<RateLimits>, maxStreams = 1000) => {
    const organization = await anOrganization(database.ctx)
    const { account, permissions } = database.ctx
    const app = await apps.serve(database.ctx, {
      limiter: createRateLimiter({ ...plenty, ...limits }, undefined),
      // Each caller is known by what it sends.
      authenticate: async (headers) => ({ account, permissions, key: headers.get('authorization') ?? 'one' }),
      maxStreams,
    })
    return {
      ...app,
      ...organization,
      open: (headers = {}) => app.subscribe(contactsChanged, { id: organization.id }, headers),
    }
  }

  it('in number for each caller, until one of them ends', async () => {
    const { open } = await start({ streams: 2 })
    const [first] = [await open(), await open()]

    const refused = await open()

    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('10')
    expect(errorsIn(await refused.next())).toEqual([
      expect.objectContaining({
        message: '3 streams at the same time; at most 2 are allowed.',
        extensions: { code: 'RATE_LIMITED', retryAfterSeconds: 10 },
      }),
    ])
    expect((await open({ authorization: 'another' })).status).toBe(200)
    first.close()
    await vi.waitFor(async () => expect((await open()).status).toBe(200))
  })

  it('in number for the process', async () => {
    const { open } = await start({}, 1)
    await open()

    const refused = await open({ authorization: 'another' })

    expect(refused.status).toBe(503)
    expect(codesIn(await refused.next())).toEqual(['SERVICE_UNAVAILABLE'])
  })

  it('and told by the metrics', async () => {
    const metrics = createMetrics()
    const { id } = await anOrganization(database.ctx)
    const { subscribe } = await apps.serve(database.ctx, { metrics })
    const streamsIn = async () => Number(/^gateway_streams (\d+)$/m.exec(await metrics.render())?.[1])
    const events = [await subscribe(contactsChanged, { id }), await subscribe(contactsChanged, { id })]
    expect(await streamsIn()).toBe(2)

    for (const { close } of events) close()

    await vi.waitFor(async () => expect(await streamsIn()).toBe(0))
  })

  it('as one request each, which is over when it has begun', async () => {
    const { open, url } = await start({ concurrent: 1, requests: 3 })

    const { headers } = await open()

    expect(headers.get('ratelimit-remaining')).toBe('2')
    expect(await executeAt(url)('{ __typename }')).toEqual({ data: { __typename: 'Query' } })
    expect((await open()).status).toBe(200)
    expect((await open()).status).toBe(429)
  })

  it('by the nodes that each change asks for, and can be resumed', async () => {
    const { subscribe, id } = await start({ nodes: 25 })
    const query = `subscription { contactsChanged(organizationId: ${id}) { ... on ContactsChangeDetails { cursor organization { children(first: 10) { nodes { id } } } } } }`
    const events = await subscribe(query)
    for (let i = 0; i < 3; i += 1) await aContact(database.ctx, id)

    const [first, second, end] = await events.rest()

    expect([changeIn(first).cursor, changeIn(second).cursor]).toEqual([expect.any(String), expect.any(String)])
    expect(codesIn(end)).toEqual(['RATE_LIMITED'])
  })
})

describe('graphql-sse', () => {
  const changes = async (ctx: Context, singleConnection: boolean, given: Parameters<typeof apps.serve>[1] = {}) => {
    const organization = await anOrganization(ctx)
    const app = await apps.serve(ctx, given)
    const client = createClient({ url: app.url, singleConnection, retryAttempts: 0 })
    return { ...app, organization, client }
  }

  describe.each([
    ['by distinct connections', false],
    ['by a single connection', true],
  ])('%s', (_, singleConnection) => {
    it('brings the changes', async () => {
      const { client, organization } = await changes(database.ctx, singleConnection)
      const other = await anOrganization(database.ctx)
      const of = ({ id }: Organization) => client.iterate({ query: contactsChanged, variables: { id } })
      const [one, two] = [of(organization), of(other)]
      const results = [one.next(), two.next()]
      const shownIn = async (result: Promise<IteratorResult<unknown>>) =>
        ((await result).value as ServerEvent['data']).data.contactsChanged.contact?.value

      await vi.waitFor(async () => {
        await aContact(database.ctx, organization.id, { value: '21' })
        await aContact(database.ctx, other.id, { value: '22' })
        await Promise.race([Promise.all(results), new Promise((_, reject) => setTimeout(reject, 50))])
      }, 10_000)

      expect(await Promise.all(results.map(shownIn))).toEqual(['21', '22'])
      client.dispose()
    })

    it('answers queries and mutations, too', async () => {
      const { client, organization } = await changes(database.ctx, singleConnection)
      const query = 'query Name($id: ID!) { organization(id: $id) { name } }'

      const results = []
      for await (const result of client.iterate({ query, variables: { id: organization.id } })) results.push(result)

      expect(results).toEqual([{ data: { organization: { name: organization.name } } }])
      client.dispose()
    })

    it('tells errors of the document', async () => {
      const { client } = await changes(database.ctx, singleConnection)

      const results = []
      for await (const result of client.iterate({ query: '{ nothing }' })) results.push(result)

      expect(results).toMatchObject([{ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] }])
      client.dispose()
    })

    it('ends the stream at the server when it stops reading', async () => {
      const { feed, count } = createTestFeed()
      const { client, organization } = await changes(database.ctx, singleConnection, { feed })
      const end = client.subscribe(
        { query: contactsChanged, variables: { id: organization.id } },
        { next() {}, error() {}, complete() {} },
      )
      await vi.waitUntil(() => count() === 1)

      end()

      await vi.waitUntil(() => count() === 0)
      client.dispose()
    })
  })

  describe('a single connection', () => {
    const call = async (url: string, method: string, token?: string, body?: object, query = '') => {
      const response = await fetch(url + query, {
        method,
        headers: {
          ...(token && { 'x-graphql-event-stream-token': token }),
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
      })
      return { status: response.status, text: await response.text() }
    }
    const operation = (operationId: string, id: number) => ({
      query: contactsChanged,
      variables: { id },
      extensions: { operationId },
    })

    it('is opened by the one who has reserved it, once', async () => {
      const { url, organization } = await changes(database.ctx, true)
      const { status, text: token } = await call(url, 'PUT')
      expect(status).toBe(201)
      expect((await call(url, 'POST', 'another', operation('1', organization.id))).status).toBe(404)
      expect((await call(url, 'POST', token, operation('1', organization.id))).status).toBe(202)
      expect((await call(url, 'POST', token, operation('1', organization.id))).status).toBe(409)

      const going = new AbortController()
      const headers = { accept: 'text/event-stream' }
      const first = await fetch(`${url}?token=${token}`, { headers, signal: going.signal })
      const second = await fetch(`${url}?token=${token}`, { headers })

      expect([first.status, second.status]).toEqual([200, 409])
      expect((await call(url, 'DELETE', token, undefined, '?operationId=1')).status).toBe(200)
      going.abort()
      await vi.waitFor(async () =>
        expect((await call(url, 'POST', token, operation('2', organization.id))).status).toBe(404),
      )
    })

    it('is of its caller alone', async () => {
      const { account, permissions } = database.ctx
      const { url, organization } = await changes(database.ctx, true, {
        authenticate: async (headers) => ({ account, permissions, key: headers.get('authorization') ?? 'one' }),
      })
      const { text: token } = await call(url, 'PUT')

      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-graphql-event-stream-token': token,
          authorization: 'another',
        },
        body: JSON.stringify(operation('1', organization.id)),
      })

      expect(response.status).toBe(404)
    })

    it('needs an id for each operation', async () => {
      const { url } = await changes(database.ctx, true)
      const { text: token } = await call(url, 'PUT')

      expect(await call(url, 'POST', token, { query: '{ __typename }' })).toMatchObject({ status: 400 })
      expect((await call(url, 'PATCH', token)).status).toBe(405)
    })

    it('is not offered where several processes serve, which is said', async () => {
      const { url } = await changes(database.ctx, true, { workers: 2 })

      const { status, text } = await call(url, 'PUT')

      expect(status).toBe(501)
      expect(JSON.parse(text).errors[0].message).toMatch(/take a connection for each subscription/)
    })

    it('says with which code each operation ends when the server stops', async () => {
      const { url, organization, server } = await changes(database.ctx, true)
      const { text: token } = await call(url, 'PUT')
      const stream = fetch(url, { headers: { accept: 'text/event-stream', 'x-graphql-event-stream-token': token } })
      const body = (await stream).text()
      await call(url, 'POST', token, operation('1', organization.id))

      await server.close(60_000)

      expect(await body).toBe(
        ':\n\nevent: next\ndata: {"id":"1","payload":{"errors":[{"message":"The gateway is stopping: subscribe again.","extensions":{"code":"SHUTTING_DOWN"}}]}}\n\nevent: complete\ndata: {"id":"1"}\n\n',
      )
    })
  })
})
