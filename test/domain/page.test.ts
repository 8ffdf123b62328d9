import { describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { contactListArguments, contactSearchArguments, listOrder, searchOrder } from '../../src/domain/contact-lists.ts'
import type { Contact } from '../../src/domain/contacts.ts'
import { type Issue, ValidationError } from '../../src/domain/errors.ts'
import { organizationListArguments, organizationOrderings } from '../../src/domain/organization-lists.ts'
import type { Organization } from '../../src/domain/organizations.ts'
import { encodeCursor } from '../../src/domain/page.ts'
import { parse } from '../../src/domain/parse.ts'

const contact = { id: 68, channel: 'telephone', label: 'general' } as Contact
const organization = {
  id: 1,
  name: 'Łąka “Best” IT 👩‍👩‍👧',
  createdAt: new Date('2026-11-24T09:30:00.123Z'),
  updatedAt: new Date('2026-12-24T00:00:00.000Z'),
} as Organization

const ofContacts = encodeCursor(listOrder, contact)
const ofSearch = encodeCursor(searchOrder, contact)
const byName = encodeCursor(organizationOrderings.NAME, organization)
const byCreated = encodeCursor(organizationOrderings.CREATED_AT, organization)
const byUpdated = encodeCursor(organizationOrderings.UPDATED_AT, organization)
const made = (...values: unknown[]) => Buffer.from(JSON.stringify(values)).toString('base64url')

function issuesOf(schema: z.ZodType, input: unknown): readonly Issue[] {
  try {
    parse(schema, input)
  } catch (error) {
    if (error instanceof ValidationError) return error.issues
    throw error
  }
  return []
}

const search = { filter: { email: 'info@best-it.com' } }
const lists: [string, z.ZodType, { cursor: string; size: number; given: object }][] = [
  ['contacts', contactListArguments, { cursor: ofContacts, size: 100, given: {} }],
  ['organizations', organizationListArguments, { cursor: byName, size: 50, given: {} }],
  ['found contacts', contactSearchArguments, { cursor: ofSearch, size: 100, given: search }],
]
const pageOf = (schema: z.ZodType, input: object) => (parse(schema, input) as { page: unknown }).page

describe.each(lists)('the page of a list of %s', (_, schema, { cursor, size, given }) => {
  it.each([
    ['absent', {}],
    ['null', { first: null, last: null, after: null, before: null }],
    ['undefined', { first: undefined, last: undefined, after: undefined, before: undefined }],
  ])('is the first one, of the default size, where its arguments are %s', (_, args) => {
    expect(pageOf(schema, { ...given, ...args })).toEqual({ limit: size, backward: false, after: null, before: null })
  })

  it.each([1, 2, 99, 100])('may have a size of %d from either end', (limit) => {
    const forward = pageOf(schema, { ...given, first: limit, last: null })
    const backward = pageOf(schema, { ...given, last: limit, first: null })

    expect(forward).toEqual({ limit, backward: false, after: null, before: null })
    expect(backward).toEqual({ limit, backward: true, after: null, before: null })
  })

  it.each([0, -1, 101, 1.5, 0.5, -100, 2 ** 31, 2 ** 53, 1e21])('cannot have a size of %d', (limit) => {
    const issues = [...issuesOf(schema, { ...given, first: limit }), ...issuesOf(schema, { ...given, last: limit })]

    expect(issues).toEqual([
      { path: ['first'], code: 'OUT_OF_RANGE', message: `first is ${limit}; it must be an integer from 1 to 100.` },
      { path: ['last'], code: 'OUT_OF_RANGE', message: `last is ${limit}; it must be an integer from 1 to 100.` },
    ])
  })

  it.each(['10', true, {}, [10], Number.NaN, Number.POSITIVE_INFINITY])(
    'cannot have a size that is no number: %j',
    (first) => {
      const issues = issuesOf(schema, { ...given, first })

      expect(issues).toEqual([{ path: ['first'], code: 'INVALID_TYPE', message: expect.any(String) }])
    },
  )

  it('has one end only', () => {
    const issues = issuesOf(schema, { ...given, first: 10, last: 10 })

    expect(issues).toEqual([{ path: ['last'], code: 'EXCLUSIVE', message: 'Give first or last, not both.' }])
  })

  it('may lie after one cursor and before another', () => {
    const page = pageOf(schema, { ...given, after: cursor, before: cursor })

    const position = JSON.parse(Buffer.from(cursor, 'base64url').toString()).slice(1)
    expect(page).toEqual({ limit: size, backward: false, after: position, before: position })
  })

  it.each([
    ['empty', ''],
    ['a text', 'hello'],
    ['an integer', '10'],
    ['cut off', cursor.slice(0, -3)],
    ['of something else than a list', Buffer.from('{"tag":"contacts"}').toString('base64url')],
    ['null', Buffer.from('null').toString('base64url')],
    ['a text in JSON', Buffer.from('"contacts"').toString('base64url')],
    ['an empty list', made()],
    ['a list of nothing', made(null, null)],
    ['of an unknown list', made('accounts', 1)],
    ['a global id', 'Q29udGFjdDo2NQ'],
  ])('is refused where its cursor is %s', (_, broken) => {
    const issues = issuesOf(schema, { ...given, after: broken })

    const message = 'after is not a cursor of this list in this order.'
    expect(issues).toEqual([{ path: ['after'], code: 'INVALID_CURSOR', message }])
  })

  it.each([5, true, {}, []])('is refused where its cursor is no text: %j', (before) => {
    const issues = issuesOf(schema, { ...given, before })

    expect(issues).toEqual([{ path: ['before'], code: 'INVALID_TYPE', message: expect.any(String) }])
  })

  it('is refused with everything that is wrong with it at once', () => {
    const issues = issuesOf(schema, { ...given, first: 0, last: 101, after: 'x', before: 'y' })

    expect(issues).toEqual([
      { path: ['first'], code: 'OUT_OF_RANGE', message: 'first is 0; it must be an integer from 1 to 100.' },
      { path: ['last'], code: 'OUT_OF_RANGE', message: 'last is 101; it must be an integer from 1 to 100.' },
      { path: ['last'], code: 'EXCLUSIVE', message: 'Give first or last, not both.' },
      { path: ['after'], code: 'INVALID_CURSOR', message: 'after is not a cursor of this list in this order.' },
      { path: ['before'], code: 'INVALID_CURSOR', message: 'before is not a cursor of this list in this order.' },
    ])
  })
})

describe('a cursor', () => {
  const afterOf = (schema: z.ZodType, input: object) => (pageOf(schema, input) as { after: unknown }).after
  const codesOf = (schema: z.ZodType, input: object) =>
    issuesOf(schema, input).map(({ code, path }) => `${code} ${path}`)
  const ordered = (field: string) => ({ orderBy: { field, direction: 'ASC' } })

  it('holds the position of its row in each order', () => {
    expect(afterOf(contactListArguments, { after: ofContacts })).toEqual(['telephone', 'general', 68])
    expect(afterOf(contactSearchArguments, { ...search, after: ofSearch })).toEqual([68])
    expect(afterOf(organizationListArguments, { after: byName })).toEqual([organization.name])
    expect(afterOf(organizationListArguments, { ...ordered('CREATED_AT'), after: byCreated })).toEqual([
      '2026-11-24T09:30:00.123Z',
      1,
    ])
    expect(afterOf(organizationListArguments, { ...ordered('UPDATED_AT'), after: byUpdated })).toEqual([
      '2026-12-24T00:00:00.000Z',
      1,
    ])
  })

  it('is safe in a URL', () => {
    expect([ofContacts, ofSearch, byName, byCreated, byUpdated].filter((cursor) => !/^[\w-]+$/.test(cursor))).toEqual(
      [],
    )
  })

  it('may be used in either direction of its order', () => {
    const after = afterOf(organizationListArguments, { orderBy: { field: 'NAME', direction: 'DESC' }, after: byName })

    expect(after).toEqual([organization.name])
  })

  it.each([
    ['organizations by name', organizationListArguments, {}, [ofContacts, ofSearch, byCreated, byUpdated]],
    [
      'organizations by creation',
      organizationListArguments,
      ordered('CREATED_AT'),
      [ofContacts, ofSearch, byName, byUpdated],
    ],
    [
      'organizations by change',
      organizationListArguments,
      ordered('UPDATED_AT'),
      [ofContacts, ofSearch, byName, byCreated],
    ],
    ['contacts of an organization', contactListArguments, {}, [ofSearch, byName, byCreated, byUpdated]],
    ['contacts that a search finds', contactSearchArguments, search, [ofContacts, byName, byCreated, byUpdated]],
  ])('of another list or order is refused by %s', (_, schema, given, cursors) => {
    const codes = cursors.flatMap((after) => codesOf(schema, { ...given, after }))

    expect(codes).toEqual(cursors.map(() => 'INVALID_CURSOR after'))
  })

  it.each<[string, z.ZodType, object, unknown[]]>([
    ['an unknown channel', contactListArguments, {}, ['contacts', 'chat', 'general', 1]],
    ['an unknown label', contactListArguments, {}, ['contacts', 'email', 'boss', 1]],
    ['an id that is a text', contactListArguments, {}, ['contacts', 'email', 'general', '1']],
    ['an id that is a fraction', contactListArguments, {}, ['contacts', 'email', 'general', 1.5]],
    ['an id beyond 2^53', contactListArguments, {}, ['contacts', 'email', 'general', 2 ** 53]],
    ['an id that is null', contactListArguments, {}, ['contacts', 'email', 'general', null]],
    ['a value too few', contactListArguments, {}, ['contacts', 'email', 'general']],
    ['a value too many', contactListArguments, {}, ['contacts', 'email', 'general', 1, 2]],
    ['a list for a value', contactListArguments, {}, ['contacts', ['email'], 'general', 1]],
    ['an id that is a text', contactSearchArguments, search, ['search', '1']],
    ['a name that is a number', organizationListArguments, {}, ['organizations NAME', 1]],
    ['a name with NUL', organizationListArguments, {}, ['organizations NAME', 'a\0b']],
    ['a name with half of a surrogate pair', organizationListArguments, {}, ['organizations NAME', 'a\ud800']],
    ...[
      'yesterday',
      '',
      'infinity',
      '2026-11-24',
      '2026-11-24T09:30:00Z',
      '2026-11-24T09:30:00.123',
      '2026-11-24T09:30:00.123+01:00',
      '2026-13-01T00:00:00.000Z',
      '2026-02-30T00:00:00.000Z',
      '2026-02-29T00:00:00.000Z',
      '2026-04-31T00:00:00.000Z',
      '2026-11-00T00:00:00.000Z',
      '2026-11-24T25:00:00.000Z',
      '2026-11-24T24:00:00.000Z',
      '2026-11-24T23:60:00.000Z',
      '2026-11-24T23:59:60.000Z',
      '0000-01-01T00:00:00.000Z',
      '-000001-01-01T00:00:00.000Z',
      '+010000-01-01T00:00:00.000Z',
      1_700_000_000_000,
    ].map((instant): [string, z.ZodType, object, unknown[]] => [
      `the instant ${JSON.stringify(instant)}`,
      organizationListArguments,
      ordered('CREATED_AT'),
      ['organizations CREATED_AT', instant, 1],
    ]),
  ])('is refused where it holds what is no position: %s', (_, schema, given, values) => {
    expect(codesOf(schema, { ...given, after: made(...values) })).toEqual(['INVALID_CURSOR after'])
  })

  it.each(['0001-01-01T00:00:00.000Z', '2024-02-29T23:59:59.999Z', '9999-12-31T23:59:59.999Z'])(
    'may hold the instant %s',
    (instant) => {
      const after = made('organizations CREATED_AT', instant, 1)

      expect(afterOf(organizationListArguments, { ...ordered('CREATED_AT'), after })).toEqual([instant, 1])
    },
  )
})
