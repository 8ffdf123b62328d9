import { describe, expect, it } from 'vitest'
import { canonicalJson, faultOfKey, onceFor } from '../../src/domain/once.ts'

describe('a value as canonical JSON', () => {
  it.each<[string, unknown, string]>([
    ['a text', 'a"b\\', '"a\\"b\\\\"'],
    ['half of a surrogate pair', '\ud800', '"\\ud800"'],
    ['a number', 1.5, '1.5'],
    ['true', true, 'true'],
    ['null', null, 'null'],
    ['an empty object', {}, '{}'],
    ['an empty list', [], '[]'],
    ['a list, in its order', [2, 'a', null, [1], {}], '[2,"a",null,[1],{}]'],
    ['a list of more than ten, in its order', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], '[0,1,2,3,4,5,6,7,8,9,10,11]'],
    ['an object, by its keys', { b: 1, a: { d: [], c: 'x' }, 'a"': 2 }, '{"a":{"c":"x","d":[]},"a\\"":2,"b":1}'],
    ['an object without a prototype', Object.assign(Object.create(null), { b: 1, a: 2 }), '{"a":2,"b":1}'],
    ['keys that are numbers', JSON.parse('{"10":1,"9":2,"a":3}'), '{"10":1,"9":2,"a":3}'],
    ['__proto__ as a key', JSON.parse('{"__proto__":{"b":1},"a":1}'), '{"__proto__":{"b":1},"a":1}'],
  ])('is %s', (_, value, expected) => {
    expect(canonicalJson(value)).toBe(expected)
  })

  it('is the same for the same JSON in another order, and reads back as it was', () => {
    const [one, other] = ['{"a":[{"x":1,"y":2}],"b":"c"}', '{"b":"c","a":[{"y":2,"x":1}]}']

    expect(canonicalJson(JSON.parse(one))).toBe(canonicalJson(JSON.parse(other)))
    expect(JSON.parse(canonicalJson(JSON.parse(other)))).toEqual(JSON.parse(one))
  })

  it.each(['[', '{"a":'])('may be nested deeper than the stack goes: %s', (opening) => {
    const closing = opening === '[' ? ']' : '}'
    const text = `${opening.repeat(50_000)}1${closing.repeat(50_000)}`

    expect(canonicalJson(JSON.parse(text))).toBe(text)
  })
})

describe('what is asked for', () => {
  const fingerprint = (asked: unknown) => onceFor('key', asked).fingerprint

  it('has a SHA-256 as its fingerprint', () => {
    expect(onceFor('key', [])).toEqual({
      key: 'key',
      fingerprint: '4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945',
    })
  })

  it.each([
    [{ a: 1 }, { a: '1' }],
    [{ a: 1 }, { b: 1 }],
    [{ a: null }, {}],
    [['a', 'b'], ['ab']],
    [
      ['a', 'b'],
      ['b', 'a'],
    ],
    [[], {}],
    [['0'], { 0: '0' }],
  ])('has another one where it differs: %j and %j', (one, other) => {
    expect(fingerprint(one)).not.toBe(fingerprint(other))
  })
})

describe('a key', () => {
  it.each(['a', '8e03978e-40d5-43e8-bc93-6894a57f9324', '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', 'x'.repeat(255)])(
    'may be %s',
    (key) => {
      expect(faultOfKey('The key', key)).toBeUndefined()
    },
  )

  const rule = 'The key must be 1 to 255 visible ASCII characters without spaces'
  it.each([
    ['', { code: 'BLANK', message: `${rule}: it is empty.` }],
    ['x'.repeat(256), { code: 'TOO_LONG', message: `${rule}: it has 256.` }],
    ['a b', { code: 'INVALID_CHARACTER', message: `${rule}: it is "a b".` }],
    ['a\n', { code: 'INVALID_CHARACTER', message: `${rule}: it is "a\\n".` }],
    ['\u007f', { code: 'INVALID_CHARACTER', message: `${rule}: it is "\u007f".` }],
    ['clé', { code: 'INVALID_CHARACTER', message: `${rule}: it is "clé".` }],
  ])('may not be %j', (key, fault) => {
    expect(faultOfKey('The key', key)).toEqual(fault)
  })
})
