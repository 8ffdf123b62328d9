import { describe, expect, it } from 'vitest'
import { findNumbers, hasDigit, telephoneKeys, telephoneSearchKey } from '../../src/domain/telephone.ts'

describe('findNumbers', () => {
  it('reads the sample of the REST API, whose two notations are one number', () => {
    const numbers = findNumbers('+1 (800) 4-BEST-IT or +1 (800) 423 7848')

    expect(numbers).toEqual(['+18004237848'])
  })

  it.each([
    ['spaces', '+1 203 413 4880'],
    ['no punctuation', '+12034134880'],
    ['parentheses', '+1 (203) 413 4880'],
    ['hyphens', '+1-203-413-4880'],
    ['dots', '+1.203.413.4880'],
    ['slashes', '+1/203/413/4880'],
    ['non-breaking hyphens', '+1\u2011203\u2011413\u20114880'],
    ['dashes', '+1\u2013203\u2014413\u20154880'],
    ['minus signs', '+1\u2212203\u2212413\u22124880'],
    ['square brackets', '+1 [203] 413 4880'],
    ['no-break, thin and ideographic spaces', '+1\u00a0203\u2009413\u30004880'],
    ['soft hyphens', '+1 203\u00ad413\u00ad4880'],
    ['zero width spaces and word joiners', '+1 203\u200b413\u20604880'],
    ['a space after the plus', '+ 1 203 413 4880'],
    ['a scheme before it', 'tel:+1-203-413-4880'],
    ['words around it', 'Reception: +1 203 413 4880 (weekdays)'],
    ['a second plus before it', '++1 203 413 4880'],
  ])('reads a number with %s', (_, text) => {
    expect(findNumbers(text)).toEqual(['+12034134880'])
  })

  it.each([
    ['full-width', '＋１（２０３）４１３－４８８０'],
    ['Arabic', '+١ ٢٠٣ ٤١٣ ٤٨٨٠'],
    ['Persian', '+۱ ۲۰۳ ۴۱۳ ۴۸۸۰'],
    ['mathematical', '+𝟏 𝟐𝟎𝟑 𝟒𝟏𝟑 𝟒𝟖𝟖𝟎'],
    ['Devanagari', '+१ २०३ ४१३ ४८८०'],
    ['Bengali', '+১ ২০৩ ৪১৩ ৪৮৮০'],
    ['Thai', '+๑ ๒๐๓ ๔๑๓ ๔๘๘๐'],
    ['mixed', '+١ 203 ४१३ ４８８０'],
  ])('reads %s digits', (_, text) => {
    expect(findNumbers(text)).toEqual(['+12034134880'])
  })

  it.each([
    ['+1 800 FLOWERS', '+18003569377'],
    ['+1-800-GO-FEDEX', '+18004633339'],
    ['+1 800 4-BEST-IT', '+18004237848'],
    ['+1 (888) CALL NOW', '+18882255669'],
    ['+1800CALLNOW', '+18002255669'],
  ])('reads the letters of %s as a keypad has them', (text, number) => {
    expect(findNumbers(text)).toEqual([number])
  })

  it.each([
    ['A and Z', '+1 800 AAA ZZZZ', '+18002229999'],
    ['the four letters of 7', '+1 800 PQR SPQR', '+18007777777'],
    ['the four letters of 9', '+1 800 WXY ZWXY', '+18009999999'],
  ])('knows %s', (_, text, number) => {
    expect(findNumbers(text)).toEqual([number])
  })

  it.each([
    ['United Kingdom', '+44 (0)20 7946 0120', '+442079460120'],
    ['United Kingdom, closed up', '+44(0)2079460120', '+442079460120'],
    ['Germany', '+49 (0)89 / 99998-123', '+498999998123'],
    ['France', '+33 (0)1 99 00 22 33', '+33199002233'],
    ['Japan', '+81 (0)6-6345-6789', '+81663456789'],
    ['Italy, where the zero is dialled', '+39 06 698 12345', '+390669812345'],
  ])('leaves out the trunk prefix in parentheses: %s', (_, text, number) => {
    expect(findNumbers(text)).toEqual([number])
  })

  it.each([
    ['an "or"', '+1 203 413 4880 or +44 20 7946 0120'],
    ['an "OR"', '+1 203 413 4880 OR +44 20 7946 0120'],
    ['a slash', '+1 203 413 4880/+44 20 7946 0120'],
    ['a spaced slash', '+1 203 413 4880 / +44 20 7946 0120'],
    ['a comma', '+1 203 413 4880, +44 20 7946 0120'],
    ['a semicolon', '+1 203 413 4880;+44 20 7946 0120'],
    ['a space', '+1 203 413 4880 +44 20 7946 0120'],
    ['nothing', '+12034134880+442079460120'],
    ['the names of places', 'New York: +1 203 413 4880, London: +44 20 7946 0120'],
    ['one without a country code', '+1 203 413 4880, 203 413 4881, +44 20 7946 0120'],
  ])('finds several numbers in order with %s between', (_, text) => {
    expect(findNumbers(text)).toEqual(['+12034134880', '+442079460120'])
  })

  it.each([
    ['x12', '+1 203 413 4880 x12'],
    ['ext. 12', '+1 203 413 4880 ext. 12'],
    ['EXT 12', '+1 203 413 4880 EXT 12'],
    ['#12', '+1 203 413 4880 #12'],
    ['a comma and digits', '+1 203 413 4880,12'],
    [';ext=12', 'tel:+1-203-413-4880;ext=12'],
    ['a shorter second number', '+1 203 413 4880 / 4881'],
  ])('ends a number before an extension: %s', (_, text) => {
    expect(findNumbers(text)).toEqual(['+12034134880'])
  })

  // Germany has numbers of many lengths, so a word read as digits would make another valid number.
  it.each([
    ['FAX', '+49 30 23125100 FAX'],
    ['EXT 5', '+49 30 23125100 EXT 5'],
    ['a place', '+49 30 23125100 BERLIN'],
    ['a word in small letters', '+49 30 23125100 fax'],
  ])('does not read a word after a complete number as a part of it: %s', (_, text) => {
    expect(findNumbers(text)).toEqual(['+493023125100'])
  })

  it.each([
    ['an area code that does not exist', '+1 123 456 7890'],
    ['a country code that does not exist', '+999 123 456 789'],
    ['too few digits', '+1 203 413'],
    ['too many digits', '+1 203 413 4880123'],
    ['more digits than there can be', `+1${'2'.repeat(30)}`],
    ['a country code that begins with zero', '+0 203 413 4880'],
    ['no country code', '(203) 413 4880'],
    ['no digit', '+'],
    ['words only', '+CALL US'],
    ['nothing', ''],
  ])('drops what is no valid number: %s', (_, text) => {
    expect(findNumbers(text)).toEqual([])
  })

  it('keeps the valid ones beside invalid ones', () => {
    const numbers = findNumbers('+1 123 456 7890 or +1 203 413 4880 or +999 1')

    expect(numbers).toEqual(['+12034134880'])
  })

  it('drops duplicates whatever their notation', () => {
    const numbers = findNumbers('+44 (0)20 7946 0120 or +44.20.7946.0120 or +1 203 413 4880 or +442079460120')

    expect(numbers).toEqual(['+442079460120', '+12034134880'])
  })
})

describe('telephoneKeys', () => {
  it('has each number with its country code and without', () => {
    const keys = telephoneKeys('+1 (203) 413 4880 or +44 (0)20 7946 0120')

    expect(keys).toEqual(['12034134880', '2034134880', '442079460120', '2079460120'])
  })

  it('has one pair of keys for the sample of the REST API', () => {
    const keys = telephoneKeys('+1 (800) 4-BEST-IT or +1 (800) 423 7848')

    expect(keys).toEqual(['18004237848', '8004237848'])
  })

  it('falls back to all digits where no number can be read', () => {
    const keys = telephoneKeys('call 203 / 413-4880')

    expect(keys).toEqual(['2034134880'])
  })

  it.each(['no digits', '000', ''])('has no empty key: %j', (text) => {
    expect(telephoneKeys(text)).toEqual([])
  })
})

describe('telephoneSearchKey', () => {
  it.each(['', '   ', 'nobody', '+', '00', '-()'])('is undefined where there is nothing to search for: %j', (text) => {
    expect(telephoneSearchKey(text)).toBeUndefined()
  })

  it.each([
    [
      '+1 (203) 413 4880',
      [
        '+12034134880',
        '+1 203-413-4880',
        'tel:+1-203-413-4880',
        '001 203 413 4880',
        '0012034134880',
        '1-203-413-4880',
        '(203) 413-4880',
        '203.413.4880',
        '2034134880',
        '203 413 48 80',
        '１２０３４１３４８８０',
        '٢٠٣ ٤١٣ ٤٨٨٠',
        '२०३ ४१३ ४८८०',
        '  +1 203 413 4880  ',
      ],
    ],
    [
      '+1 (800) 4-BEST-IT or +1 (800) 423 7848',
      ['+1 800 4 BEST IT', '+1 (800) 423 7848', '1 800 423 7848', '800-423-7848'],
    ],
    [
      '+44 (0)20 7946 0120',
      [
        '+442079460120',
        '+44 20 7946 0120',
        '+44 (0)20 7946 0120',
        '0044 20 7946 0120',
        '0044 (0)20 7946 0120',
        '020 7946 0120',
        '(020) 7946-0120',
        '20 7946 0120',
      ],
    ],
    ['+49 (0)89 / 99998-123', ['+49 89 99998123', '0049 89 99998123', '089/99998123', '089 - 99 99 81 23']],
    ['+39 06 698 12345', ['+39 06 69812345', '0039 06 698 12345', '06 698 12345', '06-69812345']],
    ['(203) 413-4880', ['203 413 4880', '203.413.4880', '0203 413 4880']],
    ['0044 20 7946 0120', ['+44 20 7946 0120', '0044 20 7946 0120', '44 20 7946 0120']],
    ['२०३ ४१३ ४८८०', ['203 413 4880', '२०३४१३४८८०']],
  ])('is among the keys of %s in every notation of it', (stored, notations) => {
    const keys = telephoneKeys(stored)

    const missed = notations.filter((notation) => !keys.includes(telephoneSearchKey(notation)!))

    expect(missed).toEqual([])
  })

  it('is not among the keys of another number', () => {
    const keys = telephoneKeys('+1 (203) 413 4880')

    const key = telephoneSearchKey('+1 (203) 413 4881')

    expect(keys).not.toContain(key)
  })
})

describe('hasDigit', () => {
  it.each([
    ['1', true],
    ['４', true],
    ['٣', true],
    ['x१', true],
    ['FLOWERS', false],
    ['½', false],
    ['+()', false],
    ['', false],
  ])('tells of %j: %s', (text, expected) => {
    expect(hasDigit(text)).toBe(expected)
  })
})

describe('hostile texts', () => {
  const longest = 255
  const patterns = [
    '+',
    '1',
    '+1',
    '0',
    'A',
    '(',
    ' ',
    '+-',
    '+A',
    '1 ',
    '1-',
    '+1 2 0 3 4 1 3 4 8 8 0 1 1 1 1',
    '+12034134880',
    '+1 (800) 4-BEST-IT',
    '+49 30 2312510',
    '٣',
    '\u{fdfa}',
    '👩‍👩‍👧',
    '\u0301',
  ]
  const texts = patterns.flatMap((pattern) => [
    pattern.repeat(longest).slice(0, longest),
    `+${pattern.repeat(longest)}`.slice(0, longest),
    `+1203413${pattern.repeat(longest)}`.slice(0, longest),
  ])

  it.each(texts)('of 255 characters are read at once: %j', (text) => {
    const startedAt = performance.now()

    telephoneKeys(text)
    telephoneSearchKey(text)

    expect(performance.now() - startedAt).toBeLessThan(2000)
  })

  it.each(patterns)('take time in proportion to their length: %j', (pattern) => {
    const text = `+${pattern.repeat(100_000)}`.slice(0, 100_000)
    const startedAt = performance.now()

    findNumbers(text)
    hasDigit(text)

    // Quadratic time would be 10^10 steps.
    expect(performance.now() - startedAt).toBeLessThan(5000)
  })
})
