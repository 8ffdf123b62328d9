import { print } from 'graphql'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { encodeEventCursor } from '../../src/domain/event-cursor.ts'
import { decodeId } from '../../src/domain/ids.ts'
import type { ContactsChangedSubscription } from './snippets/gql/graphql'
import { follow } from './snippets/live'
import { contactsChanged } from './snippets/live-changes'
import { readEvents, type ServerEvent } from './snippets/live-rest'
import { changesAfter, connect } from './snippets/live-websocket'
import { openLine } from './support/line.ts'
import { addContacts, changeValue, clearAll, makeOrganization, removeById, url } from './support/organizations.ts'

type Change = ContactsChangedSubscription['contactsChanged']

const patience = { timeout: 20_000 }
/** Of a database that has come further, as before one is restored from its dump. */
const unknownCursor = encodeEventCursor({ snapshot: '999999999999:999999999999:', at: Date.now() })

const website = (value: string) => ({ website: { label: 'GENERAL', value } })

/** Follows an organization until the test is over. `begun` resolves when the list is to be read for the first time. */
function start(organizationId: string, { address = url, after }: { address?: string; after?: string } = {}) {
  const changes: Change[] = []
  const failures: unknown[] = []
  const readLists = vi.fn(async () => {})
  const stop = follow(
    { url: address, query: print(contactsChanged), variables: { organizationId, after }, readLists },
    { next: ({ data }) => changes.push(data.contactsChanged), error: (error) => failures.push(error) },
  )
  onTestFinished(stop)
  return {
    changes,
    failures,
    readLists,
    stop,
    begun: () => vi.waitFor(() => expect(readLists).toHaveBeenCalled(), patience),
    kinds: () => changes.map(({ __typename }) => __typename),
    values: () => changes.flatMap((change) => (change.__typename === 'ContactUpdated' ? change.contact.value : [])),
    came: (count: number) => vi.waitFor(() => expect(changes).toHaveLength(count), patience),
  }
}

describe('follow', () => {
  it('brings each kind of change', async () => {
    const id = await makeOrganization()
    const { begun, changes, kinds, came } = start(id)
    await begun()

    const { added } = await addContacts(id, [website('a.example'), website('b.example')])
    await changeValue(added[0].id, { website: { value: 'c.example' } })
    await removeById(added[0].id)
    await clearAll(id)
    await came(5)

    expect(kinds()).toEqual(['ContactAdded', 'ContactAdded', 'ContactUpdated', 'ContactRemoved', 'ContactsCleared'])
    expect(changes[2]).toMatchObject({ contact: { id: added[0].id, value: 'c.example', version: 2 } })
    expect(changes[3]).toMatchObject({ contactId: added[0].id })
    expect(changes[4]).toMatchObject({ contactIds: [added[1].id] })
  })

  it('reads the list once the subscription has begun, and shows no change before it', async () => {
    const id = await makeOrganization()
    const { readLists, changes, begun, came } = start(id)
    const { promise, resolve } = Promise.withResolvers<void>()
    readLists.mockReturnValue(promise)
    await begun()

    const reader = readEvents(restUrlOf(id))
    await reader.next()
    await addContacts(id, [website('a.example')])
    // By the time that another stream has brought the change, this one may have as well.
    await reader.next()
    await reader.return(undefined)
    const before = changes.length
    resolve()
    await came(1)

    expect(before).toBe(0)
  })

  it('goes on after the last change when the line was broken, without reading the list again', async () => {
    const id = await makeOrganization()
    const { added } = await addContacts(id, [website('0.example')])
    const line = await openLine()
    const { begun, readLists, values } = start(id, { address: line.url })
    await begun()
    const change = (value: string) => changeValue(added[0].id, { website: { value } })

    await change('1.example')
    await expect.poll(values, patience).toEqual(['1.example'])
    line.breakOff()
    await change('2.example')
    await change('3.example')
    line.mend()
    await expect.poll(values, patience).toEqual(['1.example', '2.example', '3.example'])
    await change('4.example')

    await expect.poll(values, patience).toEqual(['1.example', '2.example', '3.example', '4.example'])
    expect(readLists).toHaveBeenCalledTimes(1)
  })

  it('reads the list again when the line was broken before the first change', async () => {
    const id = await makeOrganization()
    const line = await openLine()
    const { begun, readLists, came } = start(id, { address: line.url })
    await begun()

    line.breakOff()
    line.mend()
    await vi.waitFor(() => expect(readLists).toHaveBeenCalledTimes(2), patience)
    await addContacts(id, [website('a.example')])

    await came(1)
  })

  it('tries again when the list could not be read', async () => {
    const id = await makeOrganization()
    const { begun, readLists, came } = start(id)
    readLists.mockRejectedValueOnce(new Error('The line is broken.'))
    await begun()

    await vi.waitFor(() => expect(readLists).toHaveBeenCalledTimes(2), patience)
    await addContacts(id, [website('a.example')])

    await came(1)
  })

  it('reads the list and begins anew when the cursor has expired', async () => {
    const id = await makeOrganization()
    const { begun, readLists, kinds, came } = start(id, { after: unknownCursor })

    await begun()
    await addContacts(id, [website('a.example')])
    await came(1)

    expect(kinds()).toEqual(['ContactAdded'])
    expect(readLists).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['an organization that is not there', '999999999', 'NOT_FOUND'],
    ['no id', 'nobody', 'BAD_USER_INPUT'],
  ])('ends with the error for %s', async (_, id, code) => {
    const { failures } = start(id)

    await vi.waitFor(() => expect(failures).toHaveLength(1), patience)

    expect(failures[0]).toMatchObject([{ extensions: { code } }])
  })

  it('brings nothing more when it was told to stop', async () => {
    const id = await makeOrganization()
    const { begun, changes, stop, failures } = start(id)
    const other = start(id)
    await begun()
    await other.begun()

    stop()
    await addContacts(id, [website('a.example')])
    await other.came(1)

    expect(changes).toEqual([])
    expect(failures).toEqual([])
  })
})

describe('graphql-ws', () => {
  it('brings what came after a cursor, and what comes', async () => {
    const id = await makeOrganization()
    const { begun, changes, came } = start(id)
    await begun()
    const { added } = await addContacts(id, [website('a.example')])
    await came(1)
    await changeValue(added[0].id, { website: { value: 'b.example' } })
    const client = connect(url)
    onTestFinished(() => client.dispose())

    const results = changesAfter(client, id, changes[0]!.cursor)
    const first = await results.next()
    await changeValue(added[0].id, { website: { value: 'c.example' } })
    const second = await results.next()

    expect([first, second].map(({ value }) => value.data.contactsChanged.contact.value)).toEqual([
      'b.example',
      'c.example',
    ])
  })

  it('ends with an error when the cursor has expired', async () => {
    const id = await makeOrganization()
    const client = connect(url)
    onTestFinished(() => client.dispose())

    const failure = await changesAfter(client, id, unknownCursor)
      .next()
      .catch((error: unknown) => error)

    expect(failure).toMatchObject([{ extensions: { code: 'CURSOR_EXPIRED' } }])
  })
})

/** The address of the changes of an organization by REST, whose id is in the global one. */
const restUrlOf = (id: string) => new URL(`/v1/organizations/${decodeId(id)!.id}/contacts/events`, url).href

describe('the events of REST', () => {
  const next = async (events: AsyncGenerator<ServerEvent>) => {
    const { value } = await events.next()
    return { ...value, data: JSON.parse(value.data) }
  }

  it('go on after the last', async () => {
    const id = await makeOrganization()
    const events = readEvents(restUrlOf(id))
    const ready = await next(events)
    const { added } = await addContacts(id, [website('a.example')])
    const first = await next(events)
    await events.return(undefined)
    await changeValue(added[0].id, { website: { value: 'b.example' } })

    const later = readEvents(restUrlOf(id), first.id)
    const again = await next(later)
    const second = await next(later)
    await later.return(undefined)

    expect([ready, again].map(({ event }) => event)).toEqual(['ready', 'ready'])
    expect(first).toMatchObject({ event: 'added', data: { website: 'a.example' } })
    expect(second).toMatchObject({ event: 'updated', data: { website: 'b.example' } })
  })

  it('end with an empty id when the cursor has expired', async () => {
    const id = await makeOrganization()
    const ends: ServerEvent[] = []

    for await (const event of readEvents(restUrlOf(id), unknownCursor)) ends.push(event)

    expect(ends).toEqual([{ event: 'end', id: '', data: expect.stringContaining('CURSOR_EXPIRED') }])
  })
})
