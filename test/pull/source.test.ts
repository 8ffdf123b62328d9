import { describe, expect, it } from 'vitest'
import { Client, SourceError } from '../../src/pull/client.ts'
import { Source } from '../../src/pull/source.ts'
import { answer, cut, type RestSource, startRestSource } from './rest-source.ts'
import { Simulation } from './simulation.ts'

const { signal } = new AbortController()

function readerOf(rest: RestSource) {
  const clock = new Simulation()
  const told: string[] = []
  const client = new Client({ url: rest.url, token: rest.token, clock })
  const source = new Source(client, (warning) => told.push(warning))
  return {
    told,
    organizations: () => clock.run(source.organizations(signal)),
    organization: (id: number) => clock.run(source.organization(id, signal)),
    contacts: (id: number, { etag = null, known = [] }: { etag?: string | null; known?: number[] } = {}) =>
      clock.run(source.contacts(id, { etag, known: async () => known, signal })),
  }
}

/** Contacts enough for several pages. */
function withContacts(rest: RestSource, count: number) {
  const organization = rest.add({ id: 1 })
  for (let id = 1001; id <= 1000 + count; id += 1) rest.addContact(organization, { id })
  return organization
}

const idsOf = (read: { rows?: readonly { foreignId: number }[] }) => read.rows?.map(({ foreignId }) => foreignId)
const upTo = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('organizations', () => {
  it('are read with all that is kept of them', async () => {
    const rest = await startRestSource()
    rest.add({ id: 5, name: 'Best IT', source: 'sap', sourceID: 'b-1', updatedAt: '2026-02-03T04:05:06+01:00' })
    rest.add({ id: 6, name: 'Branch', parentId: 5, disabled: true, source: '', sourceID: '' })

    expect(await readerOf(rest).organizations()).toEqual({
      rows: [
        {
          ...{ foreignId: 5, name: 'Best IT', parentForeignId: null, disabled: false, source: 'sap', sourceID: 'b-1' },
          updatedAt: '2026-02-03T04:05:06+01:00',
        },
        {
          ...{ foreignId: 6, name: 'Branch', parentForeignId: 5, disabled: true, source: null, sourceID: null },
          updatedAt: '2026-01-01T00:00:00Z',
        },
      ],
      faulty: [],
      isCertain: true,
    })
    expect(rest.take()).toEqual([
      '/v1/organizations?per_page=100&fields=id,name,parent,disabled,source,sourceID,updated_at',
    ])
  })

  it('may have ids that are texts', async () => {
    const rest = await startRestSource()
    rest.add({ id: 5 })
    rest.distort = () => [
      { id: '5', name: 'A', parent: { id: '6' } },
      { id: '6', name: 'B', parent: null },
    ]

    const { rows } = await readerOf(rest).organizations()

    expect(rows.map(({ foreignId, parentForeignId }) => [foreignId, parentForeignId])).toEqual([
      [5, 6],
      [6, null],
    ])
  })

  it('that cannot be are told with what and where, and leave the others as they are', async () => {
    const rest = await startRestSource()
    rest.tellsTotals = false
    rest.add()
    rest.distort = () => [
      { id: 1, name: 'A' },
      null,
      'text',
      [],
      { name: 'B' },
      { id: 0 },
      { id: 1.5 },
      { id: '12a' },
      { id: true },
      { id: 2 ** 53 },
      { id: 2, parent: 'elsewhere' },
      { id: 3, parent: { name: 'C' } },
      { id: 4, name: 'D', updated_at: 7 },
    ]

    const read = await readerOf(rest).organizations()

    expect(idsOf(read)).toEqual([1, 4])
    expect(read.isCertain).toBe(false)
    expect(read.faulty).toEqual([
      { foreignId: undefined, reason: 'item 2 of page 1 of /organizations is nothing where an object should be.' },
      { foreignId: undefined, reason: 'item 3 of page 1 of /organizations is a string where an object should be.' },
      { foreignId: undefined, reason: 'item 4 of page 1 of /organizations is a list where an object should be.' },
      { foreignId: undefined, reason: 'item 5 of page 1 of /organizations has no id.' },
      ...['0', '1.5', '"12a"', 'true', '9007199254740992'].map((id, i) => ({
        foreignId: undefined,
        reason: `item ${i + 6} of page 1 of /organizations has the id ${id}, which is no positive integer.`,
      })),
      { foreignId: 2, reason: 'Its parent "elsewhere" names no organization by a positive integer.' },
      { foreignId: 3, reason: 'Its parent that is an object names no organization by a positive integer.' },
    ])
  })

  it.each([
    ['an object', '{}'],
    ['nothing', 'null'],
    ['a string', '"text"'],
  ])('are no list where the answer is %s', async (kind, body) => {
    const rest = await startRestSource()
    rest.fail(answer(200, {}, body))

    await expect(readerOf(rest).organizations()).rejects.toThrow(`answered ${kind} where a list should be.`)
  })

  it('must be there', async () => {
    const rest = await startRestSource()
    rest.fail(answer(404))

    await expect(readerOf(rest).organizations()).rejects.toThrow(
      `There is no ${rest.url}/organizations: is it the base of the API?`,
    )
  })

  it('are asked for without the fields that the server does not know, which it says once', async () => {
    const rest = await startRestSource()
    rest.fields.organization = ['id', 'name', 'disabled', 'parent']
    rest.add({ id: 5, name: 'Best IT' })
    const { organizations, organization, told } = readerOf(rest)

    const { rows } = await organizations()
    expect(rows).toEqual([
      {
        ...{ foreignId: 5, name: 'Best IT', parentForeignId: null, disabled: false },
        ...{ source: undefined, sourceID: undefined, updatedAt: null },
      },
    ])
    expect(await organization(5)).toEqual(rows[0])
    expect(told).toEqual([
      'The source does not know these fields of organizations, and is not asked for them: source, sourceID, updated_at.',
    ])
    expect(rest.take()).toEqual([
      '/v1/organizations?per_page=100&fields=id,name,parent,disabled,source,sourceID,updated_at',
      '/v1/organizations?per_page=100&fields=id,name,parent,disabled',
      '/v1/organizations/5?fields=id,name,parent,disabled',
    ])
  })

  it('are not asked for again where the question was wrong for another reason', async () => {
    const rest = await startRestSource()
    rest.fail(answer(400, {}, '{"message":"Unknown fields: colour\\u001b[31m"}'), { times: 9 })

    const failed = readerOf(rest).organizations()
    await expect(failed).rejects.toThrow(SourceError)
    await expect(failed).rejects.toThrow('answered 400: Unknown fields: colour [31m.')
    expect(rest.requests).toHaveLength(1)
  })

  it('of several pages are not certainly gone where they were not seen', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 101; id += 1) rest.add({ id })

    const read = await readerOf(rest).organizations()

    expect(read.rows).toHaveLength(101)
    expect(read.isCertain).toBe(false)
  })

  it('can be asked for one by one', async () => {
    const rest = await startRestSource()
    rest.add({ id: 5, name: 'Best IT' })
    const { organization } = readerOf(rest)

    expect(await organization(5)).toMatchObject({ foreignId: 5, name: 'Best IT' })
    expect(await organization(6)).toBeUndefined()
  })
})

describe('pages that shift while they are read', () => {
  it('show a row twice, which counts once, as it was last', async () => {
    const rest = await startRestSource()
    for (let id = 11; id <= 160; id += 1) rest.add({ id, name: `Old ${id}` })
    const { organizations } = readerOf(rest)
    rest.before = (url) => {
      if (!url.includes('search_after')) return
      rest.organizations.get(110)!.name = 'New'
      rest.add({ id: 1 })
    }

    const { rows } = await organizations()

    // The one that was added while reading is missing by the count, so the list is read again, and then is there.
    expect(rows).toHaveLength(151)
    expect(rows.filter(({ foreignId }) => foreignId === 110)).toMatchObject([{ name: 'New' }])
    expect(rest.requests).toHaveLength(4)
  })

  it('are read again where a row slipped by because another one went', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 150; id += 1) rest.add({ id })
    rest.before = (url) => {
      if (url.includes('search_after')) rest.organizations.delete(1)
    }

    expect(idsOf(await readerOf(rest).organizations())).toEqual(upTo(2, 150))
    expect(rest.requests).toHaveLength(4)
  })

  it('are put together where none of the readings has seen all', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 150; id += 1) rest.add({ id })
    const { organizations, told } = readerOf(rest)
    const hidden = [120, 130]
    rest.distort = (items, url) => {
      const id = url.includes('search_after') ? hidden.shift() : undefined
      return items.filter((item) => item.id !== id)
    }

    expect(idsOf(await organizations())!.toSorted((a, b) => a - b)).toEqual(upTo(1, 150))
    expect(rest.requests).toHaveLength(4)
    expect(told).toEqual([])
  })

  it('are given up after four readings, with what was seen', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 150; id += 1) rest.add({ id })
    const { organizations, told } = readerOf(rest)
    rest.distort = (items, url) => (url.includes('search_after') ? items.slice(1) : items)

    const read = await organizations()

    expect(read).toMatchObject({ isCertain: false })
    expect(idsOf(read)).toEqual([...upTo(1, 100), ...upTo(102, 150)])
    expect(rest.requests).toHaveLength(8)
    expect(told).toEqual([
      '/organizations changed each time while it was read: 149 of 150 entries were seen. The next pull sees the rest.',
    ])
  })

  it('do not matter where the server does not say how many there are', async () => {
    const rest = await startRestSource()
    rest.tellsTotals = false
    for (let id = 1; id <= 150; id += 1) rest.add({ id })

    expect(idsOf(await readerOf(rest).organizations())).toEqual(upTo(1, 150))
    expect(rest.requests).toHaveLength(2)
  })
})

describe('contacts', () => {
  it('are read as they are added here', async () => {
    const rest = await startRestSource()
    const organization = rest.add({ id: 1 })
    rest.addContact(organization, { id: 11, channel: 'telephone', label: 'fax', value: '+1 203', integration: true })
    rest.addContact(organization, { id: 12, channel: 'website', value: 'www.best-it.com' })
    const { contacts, told } = readerOf(rest)

    expect(await contacts(1)).toEqual({
      kind: 'read',
      rows: [
        { foreignId: 11, contact: { telephone: { label: 'fax', value: '+1 203', integration: true } } },
        { foreignId: 12, contact: { website: { label: 'general', value: 'www.best-it.com', integration: false } } },
      ],
      etag: expect.stringMatching(/^W\//),
    })
    expect(rest.take()).toEqual([
      '/v1/organizations/1/contacts?per_page=100&fields=id,label,telephone,email,website,integration',
    ])
    expect(told).toEqual([])
  })

  it('are unchanged where their tag still is, which costs one request', async () => {
    const rest = await startRestSource()
    const organization = withContacts(rest, 3)
    const { contacts } = readerOf(rest)
    const read = await contacts(1)
    const { etag } = read as { etag: string }

    expect(await contacts(1, { etag })).toEqual({ kind: 'unchanged' })
    organization.contacts[0]!.integration = true
    expect(await contacts(1, { etag })).toMatchObject({ kind: 'read' })
    expect(rest.requests).toHaveLength(3)
  })

  it.each([100, 101, 150])(
    'have no tag where there are %i, since that of a full page says nothing of the next',
    async (count) => {
      const rest = await startRestSource()
      withContacts(rest, count)

      expect(await readerOf(rest).contacts(1)).toMatchObject({ kind: 'read', etag: null })
    },
  )

  it('have none where the server has none', async () => {
    const rest = await startRestSource()
    rest.tellsTags = false
    withContacts(rest, 1)

    expect(await readerOf(rest).contacts(1)).toMatchObject({ kind: 'read', etag: null })
  })

  it('are missing where their organization is', async () => {
    const rest = await startRestSource()

    expect(await readerOf(rest).contacts(7)).toEqual({ kind: 'missing' })
  })

  it('are missing where their organization went while they were read', async () => {
    const rest = await startRestSource()
    withContacts(rest, 150)
    rest.before = (url) => {
      if (url.includes('search_after')) rest.organizations.clear()
    }

    expect(await readerOf(rest).contacts(1)).toEqual({ kind: 'missing' })
  })

  it.each([
    ['knows no `integration` in lists', (rest: RestSource) => rest.fields.contact.splice(5, 1)],
    ['knows no fields at all', (rest: RestSource) => Object.assign(rest.fields, { areIgnored: true })],
  ])('are read one by one where the server %s, which is told once', async (_, change) => {
    const rest = await startRestSource()
    change(rest)
    const organization = rest.add({ id: 1 })
    rest.addContact(organization, { id: 11, integration: true, value: 'a@b' })
    rest.addContact(organization, { id: 12, integration: false, value: 'c@d' })
    const { contacts, told } = readerOf(rest)

    const read = await contacts(1)
    const { etag } = read as { etag: string }
    rest.take()

    expect(read).toMatchObject({
      rows: [
        { foreignId: 11, contact: { email: { label: 'general', value: 'a@b', integration: true } } },
        { foreignId: 12, contact: { email: { label: 'general', value: 'c@d', integration: false } } },
      ],
    })
    expect(await contacts(1, { etag })).toEqual({ kind: 'unchanged' })
    expect(rest.take()).toHaveLength(1)
    expect(told.filter((text) => text.startsWith('The source does not show `integration` in lists'))).toHaveLength(1)
  })

  it('that went before they could be read by themselves are left out', async () => {
    const rest = await startRestSource()
    rest.fields.areIgnored = true
    const organization = withContacts(rest, 3)
    rest.before = (url) => {
      if (url.endsWith('/1002')) organization.contacts.splice(1, 1)
    }

    expect(idsOf((await readerOf(rest).contacts(1)) as object)).toEqual([1001, 1003])
  })

  it('of several requests at once, all learn which fields are unknown', async () => {
    const rest = await startRestSource()
    rest.fields.contact = ['id', 'label', 'telephone', 'email', 'website']
    for (const id of [1, 2, 3, 4]) rest.add({ id })
    const { contacts, told } = readerOf(rest)

    const read = await Promise.all([1, 2, 3, 4].map((id) => contacts(id)))

    expect(read.map(({ kind }) => kind)).toEqual(['read', 'read', 'read', 'read'])
    expect(told).toHaveLength(1)
  })

  it('that were known and are not in a list of several pages are asked for before they count as gone', async () => {
    const rest = await startRestSource()
    const organization = withContacts(rest, 150)
    // One of the first page goes and one comes, so that 1101 slips by, and the count does not tell.
    rest.before = (url) => {
      if (!url.includes('search_after')) return
      organization.contacts.shift()
      rest.addContact(organization, { id: 1151 })
    }

    const read = await readerOf(rest).contacts(1, { known: [1001, 1101, 999, 1002] })

    expect(idsOf(read as object)!.toSorted((a, b) => a - b)).toEqual(upTo(1001, 1151))
    expect(rest.take().filter((url) => /\/\d+$/.test(url))).toEqual([
      '/v1/organizations/1/contacts/1101',
      '/v1/organizations/1/contacts/999',
    ])
  })

  it('that were known are not asked for where the list has one page', async () => {
    const rest = await startRestSource()
    withContacts(rest, 2)

    expect(idsOf((await readerOf(rest).contacts(1, { known: [7, 8] })) as object)).toEqual([1001, 1002])
    expect(rest.requests).toHaveLength(1)
  })

  it('that are none of a channel, or of several, are for the rules to judge', async () => {
    const rest = await startRestSource()
    withContacts(rest, 1)
    rest.distort = () => [
      { id: 1, label: 'general', integration: false },
      { id: 2, label: 'general', email: 'a@b', website: 'c.de', telephone: null, integration: 'no' },
    ]

    expect(await readerOf(rest).contacts(1)).toMatchObject({
      rows: [
        { foreignId: 1, contact: {} },
        {
          foreignId: 2,
          contact: {
            email: { label: 'general', value: 'a@b', integration: 'no' },
            website: { label: 'general', value: 'c.de', integration: 'no' },
          },
        },
      ],
    })
  })

  it('without an id make those of the organization faulty: the others alone would remove what they are', async () => {
    const rest = await startRestSource()
    withContacts(rest, 2)
    rest.distort = (items) => [items[0], { label: 'general' }]

    expect(await readerOf(rest).contacts(1)).toEqual({
      kind: 'faulty',
      reasons: ['item 2 of page 1 of /organizations/1/contacts has no id.'],
      count: 2,
    })
  })

  it('survive a page that was cut', async () => {
    const rest = await startRestSource()
    withContacts(rest, 150)
    rest.fail(cut, { times: 3, on: /search_after/ })

    expect(idsOf((await readerOf(rest).contacts(1)) as object)).toEqual(upTo(1001, 1150))
  })
})
