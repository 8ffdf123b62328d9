import { describe, expect, it } from 'vitest'
import { readLinks } from '../../src/pull/link.ts'

describe('a Link header', () => {
  it.each<[string, Record<string, string>]>([
    ['<https://a.example/?b=1>; rel="next"', { next: 'https://a.example/?b=1' }],
    ['<a>; rel=first, <b>; rel="prev", <c>;rel="next"', { first: 'a', prev: 'b', next: 'c' }],
    ['<a>; title="page 2"; rel="next"; type=json', { next: 'a' }],
    ['<a,b;c>; title="x, <y>; rel=first"; rel="next"', { next: 'a,b;c' }],
    ['<a>; title="a \\" quote; rel=first"; rel=next', { next: 'a' }],
    ['<a>; rel="last next"', { last: 'a', next: 'a' }],
    ['<a> ; REL = "NEXT"', { next: 'a' }],
    ['<a>; rel=next; rel=first', { next: 'a' }],
    ['<a>; rel=next, <b>; rel=next', { next: 'a' }],
    [', ,<a>; rel=next,', { next: 'a' }],
    ['<a>', {}],
    ['<a>; rel', {}],
    ['<a>; hreflang=next', {}],
    ['next, <b>; rel=next', { next: 'b' }],
    ['<a; rel=next', {}],
    ['', {}],
  ])('%s', (header, links) => {
    expect(Object.fromEntries(readLinks(header))).toEqual(links)
  })

  it('is read to its end, whatever it holds', () => {
    for (const part of ['<', ';', '"', '<a>;', 'rel="', ',', '\\', '=']) {
      expect(() => readLinks(part.repeat(5000))).not.toThrow()
    }
  })
})
