import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Contact } from '../../src/domain/contacts.ts'
import { encodeId } from '../../src/domain/ids.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { type CallRest, restFor } from '../support/rest.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let call: CallRest
let callAsOther: CallRest
let organization: Organization
let contact: Contact
beforeAll(async () => {
  await seedOrganizations(database.ctx, sampleOrganizations)
  call = restFor(database.ctx)
  callAsOther = restFor(database.otherCtx)
})
beforeEach(async () => {
  organization = await anOrganization(database.ctx)
  contact = await aContact(database.ctx, organization.id)
})

const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)
const contactsPath = () => `/organizations/${organization.id}/contacts`
const contactPath = () => `${contactsPath()}/${contact.id}`

const notFound = { message: 'Not Found' }
const invalidJson = { message: 'Invalid JSON string posted' }
const invalid = (...errors: [string, string][]) => ({ message: 'Validation Failed', errors })

describe('the samples of the page', () => {
  it('are the list of Best IT, byte for byte', async () => {
    const { status, text, headers } = await call('GET', '/organizations/1/contacts')

    expect(status).toBe(200)
    expect(text).toBe(
      '[{"label":"general","id":68,"telephone":"+1 (203) 413 4880"},' +
        '{"label":"service_desk","id":67,"telephone":"+1 (800) 4-BEST-IT or +1 (800) 423 7848"},' +
        '{"label":"fax","id":70,"telephone":"+1 (203) 413 4881"},' +
        '{"label":"general","id":65,"email":"info@best-it.com"},' +
        '{"label":"service_desk","id":69,"email":"helpdesk@best-it.com"},' +
        '{"label":"general","id":66,"website":"www.best-it.com"},' +
        '{"label":"service_desk","id":71,"website":"www.support.best-it.com"}]',
    )
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8')
  })

  it('are contact 68, byte for byte', async () => {
    const { text } = await call('GET', '/organizations/1/contacts/68')

    expect(text).toBe('{"id":68,"label":"general","telephone":"+1 (203) 413 4880","integration":true}')
  })

  it('are found by global ids and with .json, too', async () => {
    const plain = await call('GET', '/organizations/1/contacts/68')
    const paths = [
      `/organizations/${encodeId('Organization', 1)}/contacts/68`,
      `/organizations/1/contacts/${encodeId('Contact', 68)}`,
      `/organizations/${encodeId('Organization', 1)}/contacts/${encodeId('Contact', 68)}.json`,
      '/organizations/1/contacts/68.json',
    ]

    for (const path of paths) expect((await call('GET', path)).text).toBe(plain.text)
    expect((await call('GET', '/organizations/1/contacts.json')).body).toHaveLength(7)
  })
})

describe('fields', () => {
  it('are shown as asked for, in that order', async () => {
    const { text } = await call('GET', '/organizations/1/contacts/68?fields=integration,id,telephone,email')

    expect(text).toBe('{"integration":true,"id":68,"telephone":"+1 (203) 413 4880"}')
  })

  it('of a list, too', async () => {
    const { body } = await call('GET', '/organizations/1/contacts?fields=id,created_at&per_page=1')

    expect(body).toEqual([{ id: 68, created_at: expect.stringMatching(/Z$/) }])
  })

  it('that are unknown are named', async () => {
    const { status, body } = await call('GET', '/organizations/1/contacts?fields=a,id,b,constructor')

    expect([status, body]).toEqual([400, { message: 'Unknown fields: a, b, constructor' }])
  })
})

describe('adding', () => {
  it('answers 201 with the contact and where it is', async () => {
    const { status, body, headers } = await call('POST', contactsPath(), {
      label: 'service_desk',
      email: ' info@best-it.com ',
      integration: 'YES',
      id: 5,
      unknown: { deep: [] },
    })

    expect(status).toBe(201)
    expect(body).toEqual({
      id: expect.any(Number),
      label: 'service_desk',
      email: 'info@best-it.com',
      integration: true,
    })
    expect(Object.keys(body)).toEqual(['id', 'label', 'email', 'integration'])
    expect(headers.get('location')).toBe(`/v1${contactsPath()}/${body.id}`)
    expect(headers.get('etag')).toBe('"v1"')
    expect((await call('GET', `${contactsPath()}/${body.id}`)).body).toEqual(body)
  })

  it.each([
    [true, true],
    [false, false],
    ['1', true],
    ['T', true],
    ['y', true],
    ['TRUE', true],
    ['Yes', true],
    ['ON', true],
    ['0', false],
    ['no', false],
  ])('takes %j for a boolean', async (integration, expected) => {
    const { body } = await call('POST', contactsPath(), { label: 'general', website: 'x.example', integration })

    expect(body.integration).toBe(expected)
  })

  it.each([
    [
      'nothing',
      {},
      [
        ['label', "Label can't be blank"],
        ['base', 'Exactly one of telephone, email, website must be given, not none'],
      ],
    ],
    [
      'null for everything',
      { label: null, telephone: null },
      [
        ['label', "Label can't be blank"],
        ['base', 'Exactly one of telephone, email, website must be given, not none'],
      ],
    ],
    [
      'two channels',
      { label: 'general', email: 'a@b', website: 'x' },
      [['base', 'Exactly one of telephone, email, website must be given, not email and website']],
    ],
    ['no label', { telephone: '1' }, [['label', "Label can't be blank"]]],
    [
      'a label of another channel',
      { label: 'fax', email: 'a@b' },
      [['label', 'Label "fax" is not one of general, service_desk']],
    ],
    [
      'a label that is none',
      { label: 7, telephone: '1' },
      [['label', 'Label 7 is not one of general, service_desk, fax, service_desk_fax']],
    ],
    ['a blank value', { label: 'general', telephone: ' ' }, [['telephone', "Telephone can't be blank"]]],
    ['a number for a text', { label: 'general', telephone: 12 }, [['telephone', 'Telephone must be a text']]],
    [
      'a number for a boolean',
      { label: 'general', telephone: '1', integration: 1 },
      [['integration', 'Integration must be true or false']],
    ],
    [
      'a word that is no boolean',
      { label: 'general', telephone: '1', integration: 'maybe' },
      [['integration', 'Integration must be true or false']],
    ],
    [
      'a value that is too long',
      { label: 'general', website: 'x'.repeat(256) },
      [['website', 'Website is too long: 256 characters, at most 255 are allowed']],
    ],
    [
      'several faults',
      { label: 'nope', email: 'no', integration: 'x' },
      [
        ['label', 'Label "nope" is not one of general, service_desk'],
        ['email', 'Email must have exactly one @, with text on both sides'],
        ['integration', 'Integration must be true or false'],
      ],
    ],
  ] as [string, object, [string, string][]][])('refuses %s', async (_, sent, errors) => {
    const { status, body } = await refused(() => call('POST', contactsPath(), sent))

    expect(status).toBe(422)
    expect(body).toEqual(invalid(...errors))
  })
})

describe('adding in odd ways', () => {
  it('takes a label that is a very deep list for what it is: no label', async () => {
    const label = '['.repeat(20_000) + ']'.repeat(20_000)
    const { status, body } = await refused(() => call('POST', contactsPath(), `{"email":"a@b","label":${label}}`))

    expect([status, body]).toEqual([
      422,
      invalid(['label', 'Label that is a list is not one of general, service_desk']),
    ])
  })

  it('tells where the contact is, without what stood at the end of the path', async () => {
    const { headers, body } = await call('POST', `${contactsPath()}.json/`, { label: 'general', email: 'a@b' })

    expect(headers.get('location')).toBe(`/v1${contactsPath()}/${body.id}`)
  })

  it.each(['javascript:1/alert(1)', 'JavaScript:0?alert(1):0', 'data:1/x', 'tel:5551234', 'file:1/etc', 'mailto:25'])(
    'refuses the website %s, whose scheme some program follows',
    async (website) => {
      const { status, body } = await refused(() => call('POST', contactsPath(), { label: 'general', website }))

      expect([status, body.errors[0][0]]).toEqual([422, 'website'])
    },
  )
})

describe.each(['PATCH', 'PUT'])('%s', (method) => {
  it('changes what is given and keeps the rest', async () => {
    const first = await call(method, contactPath(), { telephone: '+44 20 7946 0958' })
    const second = await call(method, contactPath(), { label: 'fax', integration: true })

    expect(first.status).toBe(200)
    expect(first.body).toEqual({ id: contact.id, label: 'general', telephone: '+44 20 7946 0958', integration: false })
    expect(second.body).toEqual({ id: contact.id, label: 'fax', telephone: '+44 20 7946 0958', integration: true })
    expect(second.headers.get('etag')).toBe('"v3"')
  })

  it('with nothing to change changes nothing', async () => {
    const { status, body } = await refused(() => call(method, contactPath(), { id: 7, unknown: true, email: null }))

    expect([status, body]).toEqual([
      200,
      { id: contact.id, label: 'general', telephone: '+1 203 413 4880', integration: false },
    ])
  })

  it.each([
    [
      'null',
      { label: null, telephone: null },
      [
        ['label', "Label can't be blank"],
        ['telephone', "Telephone can't be blank"],
      ],
    ],
    [
      'another channel',
      { email: 'a@b' },
      [['email', 'The channel of the contact is telephone and cannot become email: add a new contact instead']],
    ],
    [
      'another channel beside other faults',
      { telephone: 'x', label: 'y', website: 'z' },
      [
        ['label', 'Label "y" is not one of general, service_desk, fax, service_desk_fax'],
        ['telephone', 'Telephone must hold at least one digit'],
        ['website', 'The channel of the contact is telephone and cannot become website: add a new contact instead'],
      ],
    ],
  ] as [string, object, [string, string][]][])('refuses %s', async (_, sent, errors) => {
    const { status, body } = await refused(() => call(method, contactPath(), sent))

    expect(status).toBe(422)
    expect(body).toEqual(invalid(...errors))
  })

  it('goes by If-Match', async () => {
    const { headers } = await call('GET', contactPath())
    const tag = headers.get('etag')!
    const changed = await call(method, contactPath(), { label: 'fax' }, { 'if-match': tag })
    const stale = await refused(() => call(method, contactPath(), { label: 'general' }, { 'if-match': tag }))
    const weak = await refused(() => call(method, contactPath(), { label: 'general' }, { 'if-match': 'W/"v2"' }))
    const other = await refused(() => call(method, contactPath(), { label: 'general' }, { 'if-match': '"x"' }))
    const any = await call(method, contactPath(), { label: 'service_desk' }, { 'if-match': '*' })
    const oneOfTwo = await call(method, contactPath(), { label: 'general' }, { 'if-match': '"v1", "v3"' })

    expect([changed, stale, weak, other, any, oneOfTwo].map(({ status }) => status)).toEqual([
      200, 412, 412, 412, 200, 200,
    ])
    expect(stale.body).toEqual({ message: 'Precondition Failed' })
    expect([stale, weak, other].map(({ headers }) => headers.get('etag'))).toEqual(['"v2"', '"v2"', '"v2"'])
  })
})

describe('removing', () => {
  it('one answers 204 without a body', async () => {
    const { status, text } = await call('DELETE', contactPath())

    expect([status, text]).toEqual([204, ''])
    expect((await call('GET', contactPath())).status).toBe(404)
    expect((await call('DELETE', contactPath())).status).toBe(404)
  })

  it('one goes by If-Match', async () => {
    const stale = await refused(() => call('DELETE', contactPath(), undefined, { 'if-match': '"v9"' }))
    const current = await call('DELETE', contactPath(), undefined, { 'if-match': '"v1"' })

    expect([stale.status, current.status]).toEqual([412, 204])
  })

  it.each([
    ['"v1"', 204],
    ['*', 204],
    ['', 204],
    ['"v3", "v1"', 204],
    ['"x", "v1"', 204],
    ['"v2"', 412],
    ['"v2", "v3"', 412],
    ['W/"v1"', 412],
    ['"x"', 412],
    ['"v01"', 412],
    ['"v1', 412],
    ['v1', 412],
    ['"v9999999999"', 412],
  ])('one under If-Match: %s is answered by %i', async (ifMatch, expected) => {
    const { status, headers } = await call('DELETE', contactPath(), undefined, { 'if-match': ifMatch })

    expect([status, headers.get('etag')]).toEqual([expected, expected === 412 ? '"v1"' : null])
    expect((await call('GET', contactPath())).status).toBe(expected === 412 ? 200 : 404)
  })

  it('one is one statement', async () => {
    database.takeStatements()
    await call('DELETE', contactPath(), undefined, { 'if-match': '"v1"' })

    expect(database.takeStatements()).toHaveLength(1)
  })

  it.each(['', '/', '.json'])('all works with "%s" at the end', async (end) => {
    const { status, text } = await call('DELETE', `${contactsPath()}${end}`)

    expect([status, text]).toEqual([204, ''])
    expect((await call('GET', contactsPath())).body).toEqual([])
  })

  it('all under a condition is refused: a list has no version', async () => {
    expect((await refused(() => call('DELETE', contactsPath(), undefined, { 'if-match': '"v1"' }))).status).toBe(412)
  })
})

describe('what is not there', () => {
  it.each([
    ['an unknown organization', () => '/organizations/999999/contacts'],
    ['an unknown contact', () => `${contactsPath()}/999999`],
    ['a contact of another organization', () => `${contactsPath()}/68`],
    ['a negative id', () => '/organizations/-1/contacts'],
    ['a huge id', () => '/organizations/99999999999999999999/contacts'],
    ['an id that is none', () => '/organizations/best-it/contacts'],
    ['the global id of another type', () => `/organizations/${encodeId('Contact', 1)}/contacts`],
    ['.. in a path', () => `/organizations/${organization.id}/contacts/../../nothing`],
    ['an unknown path', () => '/nothing'],
    ['a path beneath a contact', () => `${contactPath()}/more`],
  ])('is answered by 404: %s', async (_, path) => {
    const { status, body } = await call('GET', path())

    expect([status, body]).toEqual([404, notFound])
  })

  it('is all that belongs to another account', async () => {
    const answers = [
      await refused(() => callAsOther('GET', contactsPath())),
      await refused(() => callAsOther('GET', contactPath())),
      await refused(() => callAsOther('POST', contactsPath(), { label: 'general', email: 'a@b' })),
      await refused(() => callAsOther('PATCH', contactPath(), { label: 'fax' })),
      await refused(() => callAsOther('DELETE', contactPath())),
      await refused(() => callAsOther('DELETE', contactsPath())),
    ]

    for (const { status, body } of answers) expect([status, body]).toEqual([404, notFound])
  })

  it('is a contact of another organization, for every method', async () => {
    const elsewhere = await aContact(database.ctx, (await anOrganization(database.ctx)).id)
    const path = `${contactsPath()}/${elsewhere.id}`
    const answers = [
      await refused(() => call('PATCH', path, { label: 'fax' })),
      await refused(() => call('PUT', path, { label: 'fax' })),
      await refused(() => call('DELETE', path)),
    ]

    for (const { status } of answers) expect(status).toBe(404)
  })
})

describe('bodies that are no JSON object', () => {
  it.each([
    '',
    '{',
    '[]',
    'null',
    '"text"',
    '1',
    '{"label":"general","label":"fax","telephone":"1"}',
    '{"a":1,"\\u0061":2}',
  ])('are refused: %s', async (sent) => {
    const posted = await refused(() => call('POST', contactsPath(), sent, { 'content-type': 'application/json' }))
    const patched = await refused(() => call('PATCH', contactPath(), sent, { 'content-type': 'application/json' }))

    expect([posted.status, posted.body]).toEqual([400, invalidJson])
    expect([patched.status, patched.body]).toEqual([400, invalidJson])
  })

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json; charset=latin1',
    '',
  ])('are of the type %j', async (type) => {
    const { status, body } = await refused(() =>
      call('POST', contactsPath(), '{"label":"general","email":"a@b"}', { 'content-type': type }),
    )

    expect([status, body]).toEqual([415, { message: 'Unsupported Media Type' }])
  })

  it('but keys may repeat in what is ignored', async () => {
    const { status } = await call(
      'POST',
      contactsPath(),
      '{"label":"general","email":"a@b","x":{"a":":","a":"{"},"y":[{"a":1},{"a":1}]}',
    )

    expect(status).toBe(201)
  })
})

describe('methods and types', () => {
  it('that a path does not have are told with those that it has', async () => {
    const collection = await call('PATCH', contactsPath(), {})
    const single = await call('POST', contactPath(), {})

    expect([collection.status, collection.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST, DELETE, OPTIONS'])
    expect([single.status, single.headers.get('allow')]).toEqual([405, 'GET, HEAD, PATCH, PUT, DELETE, OPTIONS'])
  })

  it('are told by OPTIONS', async () => {
    const { status, headers, text } = await call('OPTIONS', contactsPath())

    expect([status, headers.get('allow'), text]).toEqual([204, 'GET, HEAD, POST, DELETE, OPTIONS', ''])
  })

  it('HEAD answers as GET does, without the body', async () => {
    const get = await call('GET', contactsPath())
    const head = await call('HEAD', contactsPath())

    expect([head.status, head.text]).toEqual([200, ''])
    expect([...head.headers]).toEqual([...get.headers])
  })

  it.each([
    ['text/html', 406],
    ['application/json;q=0', 406],
    ['application/json;q=0, */*', 406],
    ['text/*, */*;q=0.1', 200],
    ['application/xml, application/json;q=0.5', 200],
    ['application/*', 200],
    ['*/*', 200],
  ])('that the caller takes: %s', async (accept, expected) => {
    expect((await call('GET', contactsPath(), undefined, { accept })).status).toBe(expected)
  })
})

describe('tags', () => {
  it('spare a list that has not changed', async () => {
    const { headers } = await call('GET', contactsPath())
    const tag = headers.get('etag')!
    const same = await call('GET', contactsPath(), undefined, { 'if-none-match': `"other", ${tag}` })
    await aContact(database.ctx, organization.id)
    const changed = await call('GET', contactsPath(), undefined, { 'if-none-match': tag })

    expect(tag).toMatch(/^W\/"/)
    expect([same.status, same.text, same.headers.get('etag')]).toEqual([304, '', tag])
    expect([changed.status, changed.body.length]).toEqual([200, 2])
  })

  it('of a page change with its links and its total, though its rows stay', async () => {
    const first = await call('GET', `${contactsPath()}?per_page=1`)
    await aContact(database.ctx, organization.id, { channel: 'website' })
    const again = await call('GET', `${contactsPath()}?per_page=1`, undefined, {
      'if-none-match': first.headers.get('etag')!,
    })

    expect(again.status).toBe(200)
    expect(again.body).toEqual(first.body)
    expect(again.headers.get('x-pagination-total-entries')).toBe('2')
  })

  it('of a contact are strong, and compared weakly when reading', async () => {
    const same = await call('GET', contactPath(), undefined, { 'if-none-match': 'W/"v1"' })
    const any = await call('GET', contactPath(), undefined, { 'if-none-match': '*' })
    await call('PATCH', contactPath(), { label: 'fax' })
    const changed = await call('GET', contactPath(), undefined, { 'if-none-match': '"v1"' })

    expect([same.status, any.status, changed.status]).toEqual([304, 304, 200])
  })
})

describe('pages', () => {
  const linksOf = (headers: Headers) =>
    Object.fromEntries(
      [...(headers.get('link') ?? '').matchAll(/<([^>]+)>; rel="(\w+)"/g)].map(([, target, rel]) => [
        rel,
        target!.replace('http://127.0.0.1:4000/v1', ''),
      ]),
    )

  it('lead to each other by Link, through 250 contacts without gaps while others are added', async () => {
    const inOrder: number[] = []
    for (let i = 0; i < 250; i++) inOrder.push((await aContact(database.ctx, organization.id, { channel: 'email' })).id)
    const seen: number[] = []
    let next: string | undefined = `${contactsPath()}?per_page=40&fields=id,email`
    while (next) {
      const { body, headers } = await call('GET', next)
      seen.push(...body.map(({ id }: { id: number }) => id))
      next = linksOf(headers).next
      await aContact(database.ctx, organization.id, { label: 'fax' })
      await aContact(database.ctx, organization.id, { channel: 'website' })
    }

    expect(seen.filter((id) => inOrder.includes(id))).toEqual(inOrder)
    expect(new Set(seen).size).toBe(seen.length)
  })

  it('lead back, and tell their size and the number of all', async () => {
    for (let i = 0; i < 4; i++) await aContact(database.ctx, organization.id)
    const first = await call('GET', `${contactsPath()}?per_page=2`)
    const second = await call('GET', linksOf(first.headers).next!)
    const back = await call('GET', linksOf(second.headers).prev!)

    expect(Object.keys(linksOf(first.headers))).toEqual(['first', 'next'])
    expect(Object.keys(linksOf(second.headers))).toEqual(['first', 'prev', 'next'])
    expect(back.body).toEqual(first.body)
    expect((await call('GET', linksOf(second.headers).first!)).body).toEqual(first.body)
    expect(second.headers.get('x-pagination-per-page')).toBe('2')
    expect(second.headers.get('x-pagination-total-entries')).toBe('5')
  })

  it.each([
    ['per_page=0', "Parameter 'per_page' cannot be less than 1"],
    ['per_page=-1', "Parameter 'per_page' cannot be less than 1"],
    ['per_page=101', "Parameter 'per_page' cannot be greater than 100"],
    ['per_page=ten', "Parameter 'per_page' must be an integer"],
    ['per_page=1.5', "Parameter 'per_page' must be an integer"],
    ['per_page=', "Parameter 'per_page' must be an integer"],
    ['search_after=x', "Parameter 'search_after' is not a cursor of this list"],
    ['search_before=x', "Parameter 'search_before' is not a cursor of this list"],
    [
      'search_after=x&search_before=y',
      "Parameter 'search_after' is not a cursor of this list. Parameter 'search_before' is not a cursor of this list",
    ],
  ])('are refused for %s', async (query, message) => {
    const { status, body } = await call('GET', `${contactsPath()}?${query}`)

    expect([status, body]).toEqual([400, { message }])
  })
})
