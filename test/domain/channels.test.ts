import { describe, expect, it } from 'vitest'
import { type Channel, channelLabels, contactChannel, contactLabel, maxLength } from '../../src/db/tables.ts'
import { channelNames, channels, labelDescriptions } from '../../src/domain/channels.ts'
import { contactSearchArguments } from '../../src/domain/contact-lists.ts'
import { parse } from '../../src/domain/parse.ts'

/** What a safe link looks like: printable ASCII without quotes and angle brackets, and no more than its scheme needs. */
const safeHref: Record<Channel, RegExp> = {
  telephone: /^tel:\+[1-9]\d{6,14}$/,
  email: /^mailto:[\w.!~*'()%-]+@[\w.!~*'()%-]+$/,
  website: /^https:\/\/(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?\/[!#-;=?-~]*$/,
}

const unsafeHrefs = (text: string) =>
  channelNames
    .map((channel) => ({ channel, href: channels[channel].href(text) }))
    .filter(({ channel, href }) => href !== null && !safeHref[channel].test(href))

describe('the table of channels', () => {
  it('has the channels of the database, in the order of its enum', () => {
    expect(channelNames).toEqual(contactChannel.enumValues)
  })

  it.each(contactChannel.enumValues)('gives %s the labels that the check of the database allows', (channel) => {
    expect(channels[channel].labels).toEqual(channelLabels[channel])
  })

  it('describes every label of the database, and no other', () => {
    expect(Object.keys(labelDescriptions)).toEqual(contactLabel.enumValues)
  })

  it('gives each channel a type and a subject of its own', () => {
    const rules = Object.values(channels)

    expect(rules.map(({ typename }) => typename)).toEqual(['TelephoneContact', 'EmailContact', 'WebsiteContact'])
    expect(rules.map(({ subject }) => subject)).toEqual(['Telephone', 'Email', 'Website'])
  })
})

describe('refuse', () => {
  it.each(['+1 (800) 4-BEST-IT or +1 (800) 423 7848', '112', 'ask for 5', '٣', '１', '५'])(
    'lets a telephone hold what has a digit: %j',
    (text) => {
      expect(channels.telephone.refuse(text)).toBeUndefined()
    },
  )

  it.each(['call us', '+', '½', 'IV', '()-'])('refuses a telephone without a digit: %j', (text) => {
    expect(channels.telephone.refuse(text)).toBe('must hold at least one digit.')
  })

  it.each([
    'info@best-it.com',
    'a@b',
    'first.last+tag@example.co.uk',
    "o'hara@example.com",
    'büro@bücher.example',
    '例え@例え.example',
    '"quoted"@example.com',
    'x@[127.0.0.1]',
    'a?cc=b&subject=c@example.com',
  ])('lets an e-mail address have text on both sides of one @: %j', (text) => {
    expect(channels.email.refuse(text)).toBeUndefined()
  })

  it.each([
    'info',
    'info@',
    '@example.com',
    '@',
    'a@b@c',
    'a@@b',
    '@a@',
    'a@b@',
    '\u200b@example.com',
    'info@\u200b',
    '\u2060@\u200b',
  ])('refuses an e-mail address without exactly one @ between texts: %j', (text) => {
    expect(channels.email.refuse(text)).toBe('must have exactly one @, with text on both sides.')
  })

  it.each([
    'in fo@example.com',
    'info@exa mple.com',
    'info @example.com',
    'info@example.com, sales@example.com',
    'info\u00a0@example.com',
    'info@example\u3000.com',
    'a\tb@example.com',
    'a\u2028b@example.com',
  ])('refuses an e-mail address with white space: %j', (text) => {
    expect(channels.email.refuse(text)).toBe('must not hold white space.')
  })

  it.each([
    'www.best-it.com',
    'http://example.com',
    'https://example.com/a?b=c#d',
    'HTTPS://EXAMPLE.COM',
    'localhost:8080',
    'example.com:8080/path',
    'example.com:8080?query',
    'example.com/a:b',
    'example.com?next=https://example.org',
    'bücher.example',
    'bücher.example:8080',
    '[::1]:8080',
    '192.168.0.1:8080',
    '//example.com',
  ])('lets a website have no scheme, http or https: %j', (text) => {
    expect(channels.website.refuse(text)).toBeUndefined()
  })

  it.each([
    ['javascript:alert(1)', 'javascript'],
    ['JavaScript:alert(1)', 'javascript'],
    ['javascript:1;alert(1)', 'javascript'],
    ['javascript://example.com/%0aalert(1)', 'javascript'],
    ['data:text/html,<script>', 'data'],
    ['vbscript:msgbox', 'vbscript'],
    ['file:///etc/passwd', 'file'],
    ['ftp://example.com', 'ftp'],
    ['mailto:info@example.com', 'mailto'],
    ['tel:+12034134880', 'tel'],
    ['view-source:https://example.com', 'view-source'],
    ['blob:https://example.com/1', 'blob'],
    ['web+app:x', 'web+app'],
    ['httpſ://example.com', undefined],
  ])('refuses a website with another scheme: %j', (text, scheme) => {
    const refusal = channels.website.refuse(text)

    expect(refusal).toMatch(/^must not have the scheme ".*"; only http and https are allowed\.$/)
    if (scheme) expect(refusal).toContain(`"${scheme}"`)
  })

  it.each(['best it.com', 'java\tscript:alert(1)', 'www.best-it.com\u00a0', 'a\nb.com', 'https://example.com/a b'])(
    'refuses a website with white space: %j',
    (text) => {
      expect(channels.website.refuse(text)).toBe('must not hold white space.')
    },
  )

  it.each(
    channelNames.flatMap((channel) =>
      ['a', '@', ':', 'a:', '1', '.', '/', 'a@', ' ', '+', '١'].map((pattern) => [channel, pattern] as const),
    ),
  )('of %s takes time in proportion to the length: %j', (channel, pattern) => {
    const text = pattern.repeat(200_000).slice(0, 200_000)
    const startedAt = performance.now()

    channels[channel].refuse(text)

    // Quadratic time would be 4 × 10^10 steps.
    expect(performance.now() - startedAt).toBeLessThan(5000)
  })
})

describe('href', () => {
  it.each<[Channel, string, string | null]>([
    ['telephone', '+1 (800) 4-BEST-IT or +1 (800) 423 7848', 'tel:+18004237848'],
    ['telephone', '+44 (0)20 7946 0120', 'tel:+442079460120'],
    ['telephone', '(203) 413-4880', null],
    ['telephone', '112', null],
    ['email', 'info@best-it.com', 'mailto:info@best-it.com'],
    ['email', 'first.last+tag@example.com', 'mailto:first.last%2Btag@example.com'],
    ['email', 'a?cc=b@example.com', 'mailto:a%3Fcc%3Db@example.com'],
    ['email', 'a%0aBcc:b@example.com', 'mailto:a%250aBcc%3Ab@example.com'],
    ['email', 'a,b@example.com', 'mailto:a%2Cb@example.com'],
    ['email', 'büro@bücher.example', 'mailto:b%C3%BCro@b%C3%BCcher.example'],
    ['email', '"><script>@example.com', 'mailto:%22%3E%3Cscript%3E@example.com'],
    ['email', 'no address', null],
    ['email', 'a@b@c', null],
    ['website', 'www.best-it.com', 'https://www.best-it.com/'],
    ['website', 'https://example.com/a?b=c#d', 'https://example.com/a?b=c#d'],
    ['website', 'http://example.com', 'https://example.com/'],
    ['website', 'http://example.com:80/a', 'https://example.com/a'],
    ['website', 'http://example.com:8080', null],
    ['website', 'https://example.com:8443', 'https://example.com:8443/'],
    ['website', 'example.com:8080/path', 'https://example.com:8080/path'],
    ['website', '//example.com/a', 'https://example.com/a'],
    ['website', 'HTTPS://EXAMPLE.COM/A', 'https://example.com/A'],
    ['website', 'bücher.example', 'https://xn--bcher-kva.example/'],
    ['website', '[::1]:8080', 'https://[::1]:8080/'],
    ['website', 'user:secret@example.com', null],
    ['website', 'https://user:secret@example.com', null],
    ['website', 'https://user@example.com', null],
    ['website', 'user@example.com', null],
    ['website', 'https://example.com@evil.example', null],
    ['website', 'call"us"', null],
    ['website', "example.com'", null],
    ['website', 'https://', null],
    ['website', 'ftp://example.com', null],
    ['website', '', null],
  ])('of %s %j is %j', (channel, text, href) => {
    expect(channels[channel].href(text)).toBe(href)
  })

  it.each([
    'javascript:alert(1)',
    'JAVASCRIPT:alert(1)',
    'JaVaScRiPt:alert(1)',
    ' javascript:alert(1)',
    '\tjavascript:alert(1)',
    '\u0001javascript:alert(1)',
    '\0javascript:alert(1)',
    '\u00a0javascript:alert(1)',
    '\ufeffjavascript:alert(1)',
    '\u200bjavascript:alert(1)',
    'java\tscript:alert(1)',
    'java\nscript:alert(1)',
    'java\r\nscript:alert(1)',
    'java\0script:alert(1)',
    'javascript\t:alert(1)',
    'javascript:\talert(1)',
    'javascript :alert(1)',
    'javascript&colon;alert(1)',
    'javascript&#58;alert(1)',
    'javascript%3aalert(1)',
    '%6aavascript:alert(1)',
    'javascript：alert(1)',
    'ｊａｖａｓｃｒｉｐｔ:alert(1)',
    'javaſcript:alert(1)',
    'javascrıpt:alert(1)',
    'JAVASCRİPT:alert(1)',
    'javascript:alert(1)@example.com',
    'javascript:1',
    'javascript:1/alert(1)',
    'javascript:1?alert(1)',
    'javascript:80#alert(1)',
    'javascript://example.com/%0aalert(1)',
    'javascript:https://example.com',
    'javascript:+12034134880',
    'data:text/html,<script>alert(1)</script>',
    'data:text/html;base64,PHNjcmlwdD4=',
    'DATA:text/html,x',
    'data:,x@example.com',
    'da\tta:text/html,x',
    'vbscript:msgbox(1)',
    'VBScript:msgbox(1)',
    'vb\nscript:msgbox(1)',
    'file:///etc/passwd',
    'ftp://example.com',
    'ws://example.com',
    'blob:https://example.com/x',
    'filesystem:https://example.com/x',
    'view-source:https://example.com',
    'about:blank',
    'chrome://settings',
    'intent://example.com#Intent;scheme=javascript;end',
    'jar:https://example.com!/',
    'https:javascript:alert(1)',
    'https:/javascript:alert(1)',
    'http:javascript:alert(1)',
    'https://javascript:alert(1)',
    'https://user:password@example.com',
    'https://example.com@evil.example',
    'https://example.com:443@evil.example',
    'https://example.com\\@evil.example',
    'user:password@example.com',
    'https://:password@example.com',
    'https://@example.com',
    '//evil.example',
    '///evil.example',
    '////evil.example',
    '\\\\evil.example',
    '/\\evil.example',
    '\\/evil.example',
    '//user:password@evil.example',
    '//javascript:alert(1)',
    'https:\\\\evil.example',
    'https:evil.example',
    'https:///evil.example',
    'http:/evil.example',
    'https://exa\u202emple.com',
    'https://еxample.com',
    'https://example.com\u2215evil.example',
    'https://example.com／evil.example',
    'https://example。com',
    'https://⑴.example',
    'https://℀.example',
    'https://example.com/"onmouseover="alert(1)',
    "https://example.com/'><script>alert(1)</script>",
    'https://example.com?"><script>alert(1)</script>',
    'https://example.com#"><script>alert(1)</script>',
    'https://"><script>.example',
    'https://example.com/\u2028alert(1)',
    'https://[::1',
    'https://256.256.256.256',
    'https://0x7f.1',
    'https://xn--',
    'https://example.com:99999',
    'https://%00.example',
    'https://a\0b.example',
    '"onmouseover="alert(1)"@example.com',
    '<script>alert(1)</script>@example.com',
    'a?bcc=victim@example.com',
    'a&bcc=victim@example.com',
    'a%0d%0abcc:victim@example.com',
    'a\r\nbcc:victim@example.com',
    'mailto:a@example.com',
    'javascript:x@example.com',
    'a@example.com?bcc=victim',
    'a@example.com#x',
    'a@javascript:alert(1)',
    'tel:+12034134880;phone-context=javascript:alert(1)',
    '+12034134880;ext=<script>',
    '+12034134880"onmouseover="alert(1)',
    '+1 203 413 4880 javascript:alert(1)',
    '*#06#',
    'tel:*%2306%23',
    'https://',
    'https:',
    ':',
    '://',
    '@',
    '',
    '.',
    '..',
    '?',
    '#',
    '/',
    '\\',
  ])('is null or safe to follow, whatever the channel: %j', (text) => {
    expect(unsafeHrefs(text)).toEqual([])
  })
})

describe('keys', () => {
  it.each<[Channel, string, string[]]>([
    ['email', 'info@best-it.com', ['INFO@BEST-IT.COM', '  info@best-it.com ', 'Info@Best-It.com']],
    [
      'email',
      'büro@bücher.example',
      ['BÜRO@BÜCHER.EXAMPLE', 'büro@xn--bcher-kva.example', 'bu\u0308ro@bu\u0308cher.example'],
    ],
    [
      'website',
      'www.best-it.com',
      [
        'best-it.com',
        'WWW.BEST-IT.COM',
        'https://www.best-it.com',
        'http://best-it.com/',
        'https://best-it.com:443/',
        '//best-it.com',
        ' www.best-it.com/ ',
        'best-it.com#top',
      ],
    ],
    ['website', 'https://example.com/Path/?q=1', ['example.com/Path?q=1', 'http://www.example.com/Path/?q=1#x']],
    ['website', 'bücher.example', ['https://xn--bcher-kva.example/', 'BÜCHER.example']],
    ['website', 'localhost:8080', ['http://localhost:8080/', 'LOCALHOST:8080']],
    ['telephone', '+1 (203) 413 4880', ['203 413 4880', '+12034134880', '001 203 413-4880']],
  ])('of %s find %j by every way to write it', (channel, stored, searched) => {
    const keys = channels[channel].lookupKeys(stored)

    const missed = searched.filter((text) => !keys.includes(channels[channel].searchKey(text)!))

    expect(missed).toEqual([])
  })

  it.each<[Channel, string, string]>([
    ['email', 'info@best-it.com', 'info@best-it.org'],
    ['email', 'info@best-it.com', 'sales@best-it.com'],
    ['website', 'example.com/a', 'example.com/b'],
    ['website', 'example.com/a', 'example.com/A'],
    ['website', 'example.com?a', 'example.com?b'],
    ['website', 'example.com:8080', 'example.com'],
    ['website', 'www.example.com', 'www2.example.com'],
  ])('of %s tell %j from %j', (channel, one, other) => {
    expect(channels[channel].lookupKeys(one)).not.toContain(channels[channel].searchKey(other))
  })

  it.each(channelNames)('of %s are undefined for a search for nothing', (channel) => {
    expect(['', ' ', '\t', '\u00a0'].map((text) => channels[channel].searchKey(text))).toEqual(Array(4).fill(undefined))
  })

  it.each<[Channel, string]>([
    ['website', 'www.'],
    ['website', 'www./'],
    ['website', '//www.'],
    ['telephone', '000'],
  ])('of %s are none where %j leaves nothing to compare', (channel, text) => {
    expect(channels[channel].lookupKeys(text)).toEqual([])
    expect(channels[channel].searchKey(text)).toBeUndefined()
  })

  it.each(
    channelNames.flatMap((channel) =>
      ['a\0b@example.com/1', 'a\ud800b@example.com/1', '\udc001', '1\0'].map((text) => [channel, text] as const),
    ),
  )('of a search by %s are a text that PostgreSQL takes: %j', (channel, text) => {
    const { search } = parse(contactSearchArguments, { filter: { [channel]: text } })

    expect(search.key).not.toContain('\0')
    expect(search.key.isWellFormed()).toBe(true)
  })
})

describe('random texts', () => {
  const seed = 20_261_124
  const count = 20_000
  const fragments = [
    ...[
      'javascript',
      'JaVaScRiPt',
      'data',
      'vbscript',
      'http',
      'https',
      'HTTPS',
      'mailto',
      'tel',
      'ftp',
      'file',
      'blob',
    ],
    ...[
      ':',
      '://',
      '//',
      '/',
      '\\',
      '\\\\',
      '@',
      '?',
      '#',
      '%',
      '%0a',
      '%3a',
      '&',
      ';',
      ',',
      '=',
      '"',
      "'",
      '<',
      '>',
      '(',
      ')',
    ],
    ...['\t', '\n', '\r', '\0', '\u0001', '\u007f', '\u0085', ' ', '\u00a0', '\u200b', '\u2028', '\u202e', '\ufeff'],
    ...[
      'www.',
      'example.com',
      'evil.example',
      'bücher.example',
      'localhost',
      '[::1]',
      '127.0.0.1',
      ':8080',
      ':80',
      ':443',
      'xn--',
    ],
    ...[
      'user',
      'user:password@',
      'info@',
      '.',
      '-',
      '+',
      '+1',
      '203',
      '(203)',
      '413 4880',
      '4-BEST-IT',
      '٣',
      '４',
      'x',
    ],
    ...['+12034134880', '+1 (800) 4-BEST-IT', '+44 (0)20 7946 0120', '＋８１ ３ ５２３４ ５６７８'],
    ...[
      '：',
      '／',
      '＠',
      '。',
      '℀',
      'ſ',
      'K',
      'ß',
      'İ',
      'é',
      'e\u0301',
      '例え',
      '👩‍👩‍👧',
      '\u{1d7d9}',
      '\ufdfa',
      '\u0338',
    ],
  ]

  function* randomTexts(): Generator<string> {
    const random = randomFrom(seed)
    for (let i = 0; i < count; i++) {
      const parts = Array.from({ length: 1 + Math.floor(random() * 9) }, () =>
        random() < 0.8 ? fragments[Math.floor(random() * fragments.length)]! : randomCharacter(random),
      )
      yield [...parts.join('')].slice(0, maxLength.contactValue).join('')
    }
  }

  it('make no link but a safe one', () => {
    const unsafe = [...randomTexts()].flatMap((text) => unsafeHrefs(text).map((found) => ({ text, ...found })))

    expect(unsafe).toEqual([])
  })

  it('make links of every channel, so that the test above judges some', () => {
    const texts = [...randomTexts()]

    const counts = channelNames.map((channel) => texts.filter((text) => channels[channel].href(text) !== null).length)

    expect(Math.min(...counts)).toBeGreaterThan(50)
  })

  it('make keys that fit an index, without empty ones and without repetition', () => {
    const bad = [...randomTexts()].flatMap((text) =>
      channelNames
        .map((channel) => ({ text, channel, keys: channels[channel].lookupKeys(text) }))
        .filter(
          ({ keys }) =>
            new Set(keys).size < keys.length || keys.some((key) => key === '' || Buffer.byteLength(key) > 1020),
        ),
    )

    expect(bad).toEqual([])
  })

  it('are found by a search for themselves', () => {
    const missed = [...randomTexts()].flatMap((raw) => {
      const text = raw.trim()
      return channelNames
        .map((channel) => ({ channel, text, key: channels[channel].searchKey(text) }))
        .filter(({ channel, key }) => key !== undefined && !channels[channel].lookupKeys(text).includes(key))
    })

    expect(missed).toEqual([])
  })
})

/** Any code point, most of them from the first planes' beginnings; never half of a surrogate pair. */
function randomCharacter(random: () => number): string {
  const planes = [0x80, 0x100, 0x800, 0x3000, 0x10000, 0x110000]
  const codePoint = Math.floor(random() * planes[Math.floor(random() * planes.length)]!)
  return codePoint >= 0xd800 && codePoint <= 0xdfff ? '\ufffd' : String.fromCodePoint(codePoint)
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('keys that are too long', () => {
  it('stay apart, though their beginnings are the same', () => {
    const keyOf = (length: number) => channels.website.searchKey(`https://x.example/${'漢'.repeat(length)}`)!
    const keys = [60, 240, 241].map(keyOf)

    expect(new Set(keys).size).toBe(3)
    for (const key of keys) expect([...key].length).toBeLessThanOrEqual(255)
    expect(channels.website.lookupKeys(`x.example/${'漢'.repeat(240)}`)).toEqual([keys[1]])
  })
})
