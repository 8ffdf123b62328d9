import fc from 'fast-check'
import { expect, it } from 'vitest'
import { hashOf, NameSet } from '../../src/exchange/name-set.ts'

it('a set of names tells each name the second time, however many there are', () => {
  const names = new NameSet()
  const count = 200_000

  for (let i = 0; i < count; i++) expect(names.add(`Organization ${i}`)).toBe(false)
  for (let i = 0; i < count; i++) expect(names.add(`Organization ${i}`)).toBe(true)
})

it('a set of names tells names that look alike, and those alone', () => {
  const alike = fc.array(fc.string({ maxLength: 3 }), { maxLength: 3000 })
  fc.assert(
    fc.property(alike, (given) => {
      // Everything is one of a few hashes, which are near each other.
      const hash = (name: string) => 1 + name.length
      const names = new NameSet(hash)
      const seen = new Set<number>()
      for (const name of given) {
        expect(names.add(name)).toBe(seen.has(hash(name)))
        seen.add(hash(name))
      }
    }),
  )
})

it('hashes of names are integers from 1, which differ where names do', () => {
  const hashes = new Set<number>()
  for (const name of ['', 'a', 'b', 'ab', 'ba', 'é', 'e\u0301', '\u{1f600}', ' a', 'a '.repeat(50)]) {
    const hash = hashOf(name)
    expect(Number.isSafeInteger(hash) && hash > 0).toBe(true)
    hashes.add(hash)
  }
  expect(hashes.size).toBe(10)
})
