import { describe, expect, it } from 'vitest'
import { readInstant } from '../../src/cli/instant.ts'

describe('an instant on the command line', () => {
  it.each([
    ['2026-01-31', '2026-01-31T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2026-01-31T12:30Z', '2026-01-31T12:30:00.000Z'],
    ['2026-01-31T12:30:15+02:00', '2026-01-31T10:30:15.000Z'],
    ['2026-01-31T23:30:15.25-05:00', '2026-02-01T04:30:15.250Z'],
  ])('%s is %s', (text, instant) => {
    expect(readInstant(text)?.toISOString()).toBe(instant)
  })

  it.each([
    ['a word', 'yesterday'],
    ['a year', '2026'],
    ['a day that there is not', '2026-02-30'],
    ['the same with a time', '2026-02-30T10:00Z'],
    ['a month that there is not', '2026-13-01'],
    ['an hour that there is not', '2026-01-01T25:00Z'],
    ['a time of nowhere', '2026-01-31T12:30'],
    ['a year that PostgreSQL does not know', '0000-01-01'],
    ['one that only its offset leads to', '0001-01-01T00:00+14:00'],
    ['one of five digits', '+100000-01-01'],
    ['one that only its offset leads to', '9999-12-31T23:59-14:00'],
    ['more around it', ' 2026-01-31'],
  ])('%s is none: %s', (_, text) => {
    expect(readInstant(text)).toBeUndefined()
  })
})
