import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Issue, ValidationError } from '../../src/domain/errors.ts'
import { countCodePoints, expectedVersion, flag, line, parse, report } from '../../src/domain/parse.ts'

function issuesOf(run: () => unknown): readonly Issue[] {
  try {
    run()
  } catch (error) {
    if (error instanceof ValidationError) return error.issues
    throw error
  }
  return []
}

const name = line('Name', 255)
const nameOf = (character: string) => `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`

describe('a line', () => {
  it.each([
    ['spaces', '  Best IT  ', 'Best IT'],
    ['tabs and line breaks', '\t\r\nBest IT\n\v\f', 'Best IT'],
    ['spaces of other scripts', '\u3000\u00a0\u2003Best IT\u202f\u205f', 'Best IT'],
    ['line and paragraph separators', '\u2028Best IT\u2029', 'Best IT'],
    ['a byte order mark', '\ufeffBest IT', 'Best IT'],
  ])('loses %s around it', (_, raw, text) => {
    expect(parse(name, raw)).toBe(text)
  })

  it.each([
    ['spaces within', 'Best  IT'],
    ['a no-break space within', 'Best\u00a0IT'],
    ['accents, composed', 'Müller'],
    ['accents, decomposed', 'Mu\u0308ller'],
    ['right-to-left text', 'شركة'],
    ['joiners', 'می\u200cخواهم'],
    ['a combined emoji', '👩‍👩‍👧‍👦'],
    ['a mark alone', '\u0301'],
    ['markup', '<b>&amp;</b>'],
    ['quotes and backslashes', `'"\\`],
    ['one character', 'x'],
    ['a replacement character', '\ufffd'],
  ])('is kept as entered otherwise: %s', (_, text) => {
    expect(parse(name, text)).toBe(text)
  })

  it.each([
    ['nothing', ''],
    ['spaces', '   '],
    ['a tab', '\t'],
    ['a line break', '\n'],
    ['a no-break space', '\u00a0'],
    ['an ideographic space', '\u3000'],
    ['a zero width space', '\u200b'],
    ['joiners', '\u200c\u200d\u2060'],
    ['direction marks', '\u200e\u200f\u202a\u202c\u2066\u2069'],
    ['a byte order mark', '\ufeff'],
    ['a soft hyphen', '\u00ad'],
    ['tags', '\u{e0041}\u{e007f}'],
    ['spaces around a zero width space', '  \u200b  '],
    ['variation selectors', '\ufe0f\ufe0e'],
    ['supplementary variation selectors', '\u{e0100}'],
    ['a combining grapheme joiner', '\u034f'],
    ['Hangul fillers', '\u115f\u1160\u3164\uffa0'],
    ['a Mongolian vowel separator', '\u180e'],
    ['a blank Braille pattern', '\u2800'],
  ])('is blank when it shows nothing: %s', (_, raw) => {
    const issues = issuesOf(() => parse(name, raw))

    expect(issues).toEqual([{ path: [], code: 'BLANK', message: "Name can't be blank." }])
  })

  it.each([
    ['absent', undefined, 'REQUIRED', "Name can't be blank."],
    ['null', null, 'REQUIRED', "Name can't be blank."],
    ['a number', 5, 'INVALID_TYPE', 'Name must be a text.'],
    ['a boolean', false, 'INVALID_TYPE', 'Name must be a text.'],
    ['a list', ['x'], 'INVALID_TYPE', 'Name must be a text.'],
    ['an object', {}, 'INVALID_TYPE', 'Name must be a text.'],
  ])('is a text, so it is refused when it is %s', (_, raw, code, message) => {
    const issues = issuesOf(() => parse(name, raw))

    expect(issues).toEqual([{ path: [], code, message }])
  })

  const controls = [...Array(0x20).keys(), ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i)].map((code) =>
    String.fromCharCode(code),
  )

  it.each(controls)('holds no control character: %j', (character) => {
    const issues = issuesOf(() => parse(name, `a${character}b`))

    const message = `Name holds the control character ${nameOf(character)}.`
    expect(issues).toEqual([{ path: [], code: 'INVALID_CHARACTER', message }])
  })

  it.each(['\0', '\u0001', '\u001b', '\u007f', '\u0085', '\u009f'])(
    'is not trimmed of a control character: %j',
    (character) => {
      const issues = issuesOf(() => parse(name, `${character}a`))

      const message = `Name holds the control character ${nameOf(character)}.`
      expect(issues).toEqual([{ path: [], code: 'INVALID_CHARACTER', message }])
    },
  )

  it.each([
    ['a first half', 'a\ud83db'],
    ['a second half', 'a\udc69b'],
    ['the halves in the wrong order', 'a\udc69\ud83db'],
    ['a first half at the end', 'a\ud83d'],
    ['a second half at the start', '\udc69a'],
    ['a half after a pair', '👩\ud83d'],
    ['nothing else', '\ud83d'],
  ])('holds no half of a surrogate pair: %s', (_, raw) => {
    const issues = issuesOf(() => parse(name, raw))

    expect(issues).toEqual([{ path: [], code: 'INVALID_CHARACTER', message: 'Name holds half of a surrogate pair.' }])
  })

  const family = '👩‍👩‍👧‍👦'

  it.each([
    ['ASCII', 'x'],
    ['two-byte characters', 'ü'],
    ['three-byte characters', '例'],
    ['emoji, which are two units each', '👩'],
    ['combining marks', '\u0301'],
  ])('may be 255 code points long, not 256: %s', (_, character) => {
    const accepted = [254, 255].map((length) => parse(name, character.repeat(length)))

    const issues = issuesOf(() => parse(name, character.repeat(256)))

    expect(accepted).toEqual([character.repeat(254), character.repeat(255)])
    const message = 'Name is too long: 256 characters, at most 255 are allowed.'
    expect(issues).toEqual([{ path: [], code: 'TOO_LONG', message }])
  })

  it('counts each code point of a combined emoji', () => {
    const longest = `${family.repeat(36)}xyz`

    const text = parse(name, longest)
    const issues = issuesOf(() => parse(name, `${longest}!`))

    expect(countCodePoints(family)).toBe(7)
    expect(text).toBe(longest)
    const message = 'Name is too long: 256 characters, at most 255 are allowed.'
    expect(issues).toEqual([{ path: [], code: 'TOO_LONG', message }])
  })

  it('does not count what is trimmed', () => {
    const text = 'x'.repeat(255)

    expect(parse(name, `   ${text}\n\n`)).toBe(text)
  })

  it('is checked as it will be stored', () => {
    const seen: string[] = []
    const checked = line('Code', 10, (text) => {
      seen.push(text)
      return text === 'ok' ? undefined : 'must be ok.'
    })

    parse(checked, ' ok ')
    const issues = issuesOf(() => parse(checked, ' ko '))

    expect(seen).toEqual(['ok', 'ko'])
    expect(issues).toEqual([{ path: [], code: 'INVALID_FORMAT', message: 'Code must be ok.' }])
  })

  it('tells everything that is wrong with it at once', () => {
    const checked = line('Code', 3, () => 'must be ok.')

    const issues = issuesOf(() => parse(checked, 'a\0bc'))

    expect(issues).toEqual([
      { path: [], code: 'TOO_LONG', message: 'Code is too long: 4 characters, at most 3 are allowed.' },
      { path: [], code: 'INVALID_CHARACTER', message: 'Code holds the control character U+0000.' },
      { path: [], code: 'INVALID_FORMAT', message: 'Code must be ok.' },
    ])
  })

  it('tells everything that is wrong with it at once, beside half of a surrogate pair', () => {
    const checked = line('Code', 3, () => 'must be ok.')

    const issues = issuesOf(() => parse(checked, 'a\0b\ud83d'))

    expect(issues).toEqual([
      { path: [], code: 'INVALID_CHARACTER', message: 'Code holds half of a surrogate pair.' },
      { path: [], code: 'TOO_LONG', message: 'Code is too long: 4 characters, at most 3 are allowed.' },
      { path: [], code: 'INVALID_CHARACTER', message: 'Code holds the control character U+0000.' },
      { path: [], code: 'INVALID_FORMAT', message: 'Code must be ok.' },
    ])
  })

  it.each(['x', ' ', '\u200b', '\0', '\ud800', '👩', ' x', '\u0301'])(
    'is judged in time that is proportional to its length: %j',
    (pattern) => {
      const startedAt = performance.now()

      issuesOf(() => parse(name, pattern.repeat(200_000)))

      // Quadratic time would be 4 × 10^10 steps.
      expect(performance.now() - startedAt).toBeLessThan(5000)
    },
  )
})

describe('an expected version', () => {
  it.each([
    [1, 1],
    [2, 2],
    [2 ** 31 - 1, 2 ** 31 - 1],
    [null, null],
    [undefined, null],
  ])('%j is read as %j', (given, version) => {
    expect(parse(expectedVersion, given)).toBe(version)
  })

  it.each([0, -1, 1.5, 2 ** 31, 2 ** 53, 1e21])('%d is out of range', (given) => {
    const issues = issuesOf(() => parse(expectedVersion, given))

    const message = `The expected version is ${given}; versions are integers from 1 to 2147483647.`
    expect(issues).toEqual([{ path: [], code: 'OUT_OF_RANGE', message }])
  })

  it.each(['1', true, [1], {}, Number.NaN, Number.POSITIVE_INFINITY])('is not of another type: %j', (given) => {
    const issues = issuesOf(() => parse(expectedVersion, given))

    expect(issues).toEqual([{ path: [], code: 'INVALID_TYPE', message: 'The expected version must be an integer.' }])
  })
})

describe('parse', () => {
  const input = z.object({
    name,
    version: expectedVersion,
    active: flag('Active'),
    color: z.enum(['red', 'green'], { error: 'Color must be red or green.' }),
    items: z.array(z.object({ code: line('Code', 3) })),
  })
  const valid = { name: 'x', version: 1, active: true, color: 'red', items: [{ code: 'a' }] }

  it('returns what the schema makes of an input', () => {
    expect(parse(input, { ...valid, name: ' x ', version: undefined, more: 1 })).toEqual({ ...valid, version: null })
  })

  it('tells every issue with its code and its path from the root', () => {
    const issues = issuesOf(() =>
      parse(input, {
        name: '',
        version: 0,
        active: 'yes',
        color: 'blue',
        items: [{ code: 'ok' }, { code: 'long\0' }, {}],
      }),
    )

    expect(issues).toEqual([
      { path: ['name'], code: 'BLANK', message: "Name can't be blank." },
      {
        path: ['version'],
        code: 'OUT_OF_RANGE',
        message: 'The expected version is 0; versions are integers from 1 to 2147483647.',
      },
      { path: ['active'], code: 'INVALID_TYPE', message: 'Active must be true or false.' },
      { path: ['color'], code: 'NOT_ALLOWED', message: 'Color must be red or green.' },
      {
        path: ['items', '1', 'code'],
        code: 'TOO_LONG',
        message: 'Code is too long: 5 characters, at most 3 are allowed.',
      },
      { path: ['items', '1', 'code'], code: 'INVALID_CHARACTER', message: 'Code holds the control character U+0000.' },
      { path: ['items', '2', 'code'], code: 'REQUIRED', message: "Code can't be blank." },
    ])
  })

  it.each([
    ['absent', {}],
    ['null', { name: null, active: null, color: null, items: null }],
  ])('tells what is required when it is %s', (_, given) => {
    const issues = issuesOf(() => parse(input, given))

    expect(issues.map(({ path, code }) => [path.join('.'), code])).toEqual([
      ['name', 'REQUIRED'],
      ['active', 'REQUIRED'],
      ['color', 'REQUIRED'],
      ['items', 'REQUIRED'],
    ])
  })

  it.each([
    ['absent', undefined, 'REQUIRED'],
    ['null', null, 'REQUIRED'],
    ['a text', 'x', 'INVALID_TYPE'],
    ['a list', [], 'INVALID_TYPE'],
  ])('tells that the whole input is %s', (_, given, code) => {
    const issues = issuesOf(() => parse(input, given))

    expect(issues).toEqual([{ path: [], code, message: expect.any(String) }])
  })

  it('keeps the code and the path that a check reports', () => {
    const schema = z.object({
      list: z.array(z.string().transform((_, context) => report(context, 'DUPLICATE', 'Again.', ['deep', 0]))),
    })

    const issues = issuesOf(() => parse(schema, { list: ['x'] }))

    expect(issues).toEqual([{ path: ['list', '0', 'deep', '0'], code: 'DUPLICATE', message: 'Again.' }])
  })

  it('throws an error whose message says all of it', () => {
    expect(() => parse(z.object({ name, other: line('Other', 3) }), { name: '', other: 'long' })).toThrow(
      new ValidationError([
        { path: ['name'], code: 'BLANK', message: "Name can't be blank." },
        { path: ['other'], code: 'TOO_LONG', message: 'Other is too long: 4 characters, at most 3 are allowed.' },
      ]),
    )
  })
})
