import { describe, expect, it } from 'vitest'
import { type Issue, ValidationError } from '../../src/domain/errors.ts'
import { decodeId, encodeId, globalId, idOf } from '../../src/domain/ids.ts'
import { parse } from '../../src/domain/parse.ts'

const maxId = Number.MAX_SAFE_INTEGER
const base64url = (text: string) => Buffer.from(text).toString('base64url')

function issuesOf(run: () => unknown): readonly Issue[] {
  try {
    run()
  } catch (error) {
    if (error instanceof ValidationError) return error.issues
    throw error
  }
  return []
}

describe('a global id', () => {
  it.each(
    (['Organization', 'Contact'] as const).flatMap((kind) =>
      [1, 9, 10, 65, 1000, 2 ** 31, 2 ** 32 + 1, maxId - 1, maxId].map((id) => ({ kind, id })),
    ),
  )('leads back to what it was made of: $kind $id', ({ kind, id }) => {
    expect(decodeId(encodeId(kind, id))).toEqual({ kind, id })
  })

  it('stays the same, since clients store it', () => {
    expect(encodeId('Organization', 1)).toBe('T3JnYW5pemF0aW9uOjE')
    expect(encodeId('Contact', 65)).toBe('Q29udGFjdDo2NQ')
  })

  it('is safe in a URL, whatever the id', () => {
    const ids = Array.from({ length: 3000 }, (_, i) =>
      encodeId(i % 2 ? 'Contact' : 'Organization', 1 + i * 3_002_399_751),
    )

    expect(ids.filter((id) => !/^[\w-]+$/.test(id))).toEqual([])
  })

  it('differs between objects and between kinds', () => {
    const ids = (['Organization', 'Contact'] as const).flatMap((kind) =>
      Array.from({ length: 1000 }, (_, i) => encodeId(kind, i + 1)),
    )

    expect(new Set(ids).size).toBe(2000)
  })

  it.each([
    ['nothing', ''],
    ['a plain integer', '65'],
    ['a text', 'hello'],
    ['padding', 'Q29udGFjdDo2NQ=='],
    ['white space before it', ' Q29udGFjdDo2NQ'],
    ['a line break after it', 'Q29udGFjdDo2NQ\n'],
    ['more after it', 'Q29udGFjdDo2NQ.x'],
    ['unused bits set', 'Q29udGFjdDo2NR'],
    ['another case', 'q29udGFjdDo2NQ'],
    ['an unknown kind', base64url('Account:1')],
    ['a kind in small letters', base64url('contact:65')],
    ['the name of a property of objects', base64url('constructor:1')],
    ['no kind', base64url(':65')],
    ['no id', base64url('Contact:')],
    ['no separator', base64url('Contact65')],
    ['a second separator', base64url('Contact:65:1')],
    ['white space within', base64url('Contact: 65')],
    ['a line break at its end', base64url('Contact:65\n')],
    ['zero', base64url('Contact:0')],
    ['a negative id', base64url('Contact:-65')],
    ['leading zeros', base64url('Contact:065')],
    ['a sign', base64url('Contact:+65')],
    ['a float', base64url('Contact:65.0')],
    ['an exponent', base64url('Contact:1e3')],
    ['a hexadecimal id', base64url('Contact:0x41')],
    ['digits of another script', base64url('Contact:٦٥')],
    ['2^53', base64url(`Contact:${2 ** 53}`)],
    ['2^53 + 1', base64url('Contact:9007199254740993')],
    ['a huge id', base64url(`Contact:${'9'.repeat(1000)}`)],
    ['infinity', base64url('Contact:Infinity')],
    ['the standard alphabet', Buffer.from('Contact:~~~???').toString('base64')],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x3a, 0x31]).toString('base64url')],
  ])('is nothing but what was given out: %s', (_, text) => {
    expect(decodeId(text)).toBeUndefined()
  })
})

describe('an id argument', () => {
  it.each([
    ['a global id', encodeId('Contact', 65), 65],
    ['the integer as a text', '65', 65],
    ['the integer', 65, 65],
    ['1', '1', 1],
    ['2^53 - 1 as a text', '9007199254740991', maxId],
    ['2^53 - 1', maxId, maxId],
    ['the global id of 2^53 - 1', encodeId('Contact', maxId), maxId],
  ])('takes %s', (_, given, id) => {
    expect(parse(idOf('Contact'), given)).toBe(id)
  })

  const neither = (given: string) =>
    `Contact id ${JSON.stringify(given)} is neither a global id nor a positive integer.`
  const above = (given: string) =>
    `Contact id ${JSON.stringify(given)} is above 9007199254740991, the largest id there can be.`

  it.each([
    ['zero', '0', neither('0')],
    ['zero as a number', 0, neither('0')],
    ['minus zero', -0, neither('0')],
    ['a negative id', '-65', neither('-65')],
    ['a negative number', -65, neither('-65')],
    ['leading zeros', '065', neither('065')],
    ['sixteen digits with leading zeros', '0000000000000065', neither('0000000000000065')],
    ['a sign', '+65', neither('+65')],
    ['a float', '65.5', neither('65.5')],
    ['a float without a fraction', '65.0', neither('65.0')],
    ['a fractional number', 65.5, neither('65.5')],
    ['an exponent', '1e3', neither('1e3')],
    ['a huge number', 1e21, neither('1e+21')],
    ['white space', ' 65', neither(' 65')],
    ['a line break', '65\n', neither('65\n')],
    ['a text', 'hello', neither('hello')],
    ['nothing', '', neither('')],
    ['digits of another script', '٦٥', neither('٦٥')],
    ['2^53 as a text', '9007199254740992', above('9007199254740992')],
    ['2^53', 2 ** 53, above('9007199254740992')],
    ['more digits than a number holds', '90071992547409910', above('90071992547409910')],
    ['a huge text', '9'.repeat(100), above(`${'9'.repeat(40)}…`)],
    ['a long text', 'x'.repeat(41), neither(`${'x'.repeat(40)}…`)],
    [
      'the id of another kind',
      encodeId('Organization', 65),
      'Contact id "T3JnYW5pemF0aW9uOjY1" is the id of an object of type Organization.',
    ],
    ['the id of an unknown kind', base64url('Account:65'), neither(base64url('Account:65'))],
  ])('refuses %s', (_, given, message) => {
    const issues = issuesOf(() => parse(idOf('Contact'), given))

    expect(issues).toEqual([{ path: [], code: 'INVALID_ID', message }])
  })

  it.each([
    ['absent', undefined, 'REQUIRED', "Contact id can't be blank."],
    ['null', null, 'REQUIRED', "Contact id can't be blank."],
    ['a boolean', true, 'INVALID_TYPE', 'Contact id must be a text or an integer.'],
    ['an object', {}, 'INVALID_TYPE', 'Contact id must be a text or an integer.'],
    ['a list', ['65'], 'INVALID_TYPE', 'Contact id must be a text or an integer.'],
    ['not a number', Number.NaN, 'INVALID_TYPE', 'Contact id must be a text or an integer.'],
    ['infinity', Number.POSITIVE_INFINITY, 'INVALID_TYPE', 'Contact id must be a text or an integer.'],
  ])('says what it must be when it is %s', (_, given, code, message) => {
    const issues = issuesOf(() => parse(idOf('Contact'), given))

    expect(issues).toEqual([{ path: [], code, message }])
  })

  it('is named as the caller names it', () => {
    const issues = issuesOf(() => parse(idOf('Organization', 'Parent'), 'x'))

    expect(issues.map(({ message }) => message)).toEqual(['Parent "x" is neither a global id nor a positive integer.'])
  })
})

describe('an id of any kind', () => {
  it.each([
    ['Organization', 1],
    ['Contact', maxId],
  ] as const)('tells kind and integer: %s %d', (kind, id) => {
    expect(parse(globalId, encodeId(kind, id))).toEqual({ kind, id })
  })

  it.each(['65', '', 'hello', base64url('Account:1')])('is a global id only: %j', (given) => {
    const issues = issuesOf(() => parse(globalId, given))

    const message = `${JSON.stringify(given)} is not a global id; plain integers name no type here.`
    expect(issues).toEqual([{ path: [], code: 'INVALID_ID', message }])
  })

  it.each([
    [65, 'INVALID_TYPE'],
    [null, 'REQUIRED'],
  ])('is a text: %j', (given, code) => {
    const issues = issuesOf(() => parse(globalId, given))

    expect(issues).toEqual([{ path: [], code, message: 'The id must be a text.' }])
  })
})
