import { describe, expect, it } from 'vitest'
import { check, type Evidence, type Findings, type StoredContact } from './checker.ts'
import { combine, type Write } from './ledger.ts'

const add = (value: string, given: Partial<Write> = {}): Write => ({
  adds: [value],
  takes: [],
  outcome: 'acknowledged',
  version: 1,
  ...given,
})
const update = (from: string, to: string, given: Partial<Write> = {}): Write => ({
  adds: [to],
  takes: [from],
  outcome: 'acknowledged',
  version: 2,
  ...given,
})
const pair = (given: Partial<Write> = {}): Write => ({
  adds: ['left', 'right'],
  takes: [],
  outcome: 'acknowledged',
  version: 1,
  ...given,
})
const remove = (value: string, given: Partial<Write> = {}): Write => ({
  adds: [],
  takes: [value],
  outcome: 'acknowledged',
  ...given,
})
const stored = (value: string, given: Partial<StoredContact> = {}): StoredContact => ({
  value,
  version: 1,
  isFound: true,
  ...given,
})

/** How many cases of each kind are found; kinds without any are left out. */
function found(evidence: Partial<Evidence>): Partial<Record<keyof Findings, number>> {
  const findings = check({ writes: [], stored: [], requests: [], answerMs: 1000, ...evidence })
  return Object.fromEntries(
    Object.entries(findings).flatMap(([kind, cases]) => (cases.length > 0 ? [[kind, cases.length]] : [])),
  )
}

describe('what was acknowledged', () => {
  it('is as it should be', () => {
    const writes = [
      add('kept'),
      add('first'),
      update('first', 'second'),
      update('second', 'third', { version: 3 }),
      pair(),
      add('gone'),
      remove('gone'),
    ]
    const contacts = [stored('kept'), stored('third', { version: 3 }), stored('left'), stored('right')]

    expect(found({ writes, stored: contacts })).toEqual({})
  })

  it('is lost when it is not there', () => {
    expect(found({ writes: [add('a')] })).toEqual({ lost: 1 })
  })

  it('is lost when an update is not there, nor what was before', () => {
    const writes = [add('a'), update('a', 'b')]

    // The part that took the old value away shows.
    expect(found({ writes })).toEqual({ lost: 1, half: 1 })
  })

  it('is lost when an update was undone', () => {
    expect(found({ writes: [add('a'), update('a', 'b')], stored: [stored('a')] })).toEqual({ lost: 1 })
  })

  it('is lost when a contact that was removed is there', () => {
    expect(found({ writes: [add('a'), remove('a')], stored: [stored('a')] })).toEqual({ lost: 1 })
  })

  it('is lost when the version is an earlier one', () => {
    expect(found({ writes: [add('a', { version: 2 })], stored: [stored('a')] })).toEqual({ lost: 1 })
  })

  it('is doubled when it is there twice', () => {
    expect(found({ writes: [add('a')], stored: [stored('a'), stored('a')] })).toEqual({ doubled: 1 })
  })

  it('is doubled when the version has gone on by itself', () => {
    expect(found({ writes: [add('a')], stored: [stored('a', { version: 2 })] })).toEqual({ doubled: 1 })
  })

  it('is half, and lost, when one of two is there', () => {
    expect(found({ writes: [pair()], stored: [stored('left')] })).toEqual({ lost: 1, half: 1 })
  })

  it('is half when it is there but cannot be found', () => {
    expect(found({ writes: [add('a')], stored: [stored('a', { isFound: false })] })).toEqual({ half: 1 })
  })
})

describe('what is in doubt', () => {
  const outcome = 'unknown'

  it.each([
    ['nothing', []],
    ['both', ['left', 'right']],
  ])('may be there or not: %s', (_, values) => {
    expect(found({ writes: [pair({ outcome })], stored: values.map((value) => stored(value)) })).toEqual({})
  })

  it.each([['before', 'a'] as const, ['after', 'b'] as const])('may be as it was %s an update', (_, value) => {
    const writes = [add('a'), update('a', 'b', { outcome })]

    expect(found({ writes, stored: [stored(value)] })).toEqual({})
  })

  it('may be removed or not', () => {
    const writes = [add('a'), remove('a', { outcome })]

    expect(found({ writes })).toEqual({})
    expect(found({ writes, stored: [stored('a')] })).toEqual({})
  })

  it('is half when one of two is there', () => {
    expect(found({ writes: [pair({ outcome })], stored: [stored('right')] })).toEqual({ half: 1 })
  })

  it('is half when an update has left neither value', () => {
    expect(found({ writes: [add('a'), update('a', 'b', { outcome })] })).toEqual({ half: 1 })
  })

  it('is half when an update has left both values', () => {
    const writes = [add('a'), update('a', 'b', { outcome })]

    expect(found({ writes, stored: [stored('a'), stored('b')] })).toEqual({ half: 1 })
  })

  it('is doubled when it is there twice', () => {
    expect(found({ writes: [add('a', { outcome })], stored: [stored('a'), stored('a')] })).toEqual({ doubled: 1 })
  })
})

describe('what was refused', () => {
  const outcome = 'refused'

  it('is not there', () => {
    const writes = [add('a', { outcome }), add('b'), update('b', 'c', { outcome }), remove('b', { outcome })]

    expect(found({ writes, stored: [stored('b')] })).toEqual({})
  })

  it('is a ghost when it is there', () => {
    expect(found({ writes: [add('a', { outcome })], stored: [stored('a')] })).toEqual({ ghost: 1 })
  })

  it('is a ghost when an update was made, and what it took is lost', () => {
    const writes = [add('a'), update('a', 'b', { outcome })]

    expect(found({ writes, stored: [stored('b')] })).toEqual({ lost: 1, ghost: 1 })
  })

  it('is a ghost and half when one of two is there', () => {
    expect(found({ writes: [pair({ outcome })], stored: [stored('left')] })).toEqual({ half: 1, ghost: 1 })
  })

  it('leaves a removed contact lost', () => {
    expect(found({ writes: [add('a'), remove('a', { outcome })] })).toEqual({ lost: 1 })
  })
})

it('finds what nobody asked for', () => {
  expect(found({ writes: [add('a')], stored: [stored('a'), stored('b')] })).toEqual({ ghost: 1 })
})

describe('a request', () => {
  const requests = [{ ms: 999, isAnswered: true }]

  it('may take its time', () => {
    expect(found({ requests })).toEqual({})
  })

  it('is unanswered when nothing came, or came too late', () => {
    const late = [
      { ms: 1001, isAnswered: true },
      { ms: 3000, isAnswered: false },
    ]

    expect(found({ requests: [...requests, ...late] })).toEqual({ unanswered: 2 })
  })

  it('is unclear when its answer has no documented form', () => {
    expect(found({ requests: [{ ms: 1, isAnswered: true, unclear: 'status 500' }] })).toEqual({ unclear: 1 })
  })
})

describe('several attempts', () => {
  it.each([
    [['refused', 'acknowledged'], 'acknowledged'],
    [['unknown', 'acknowledged'], 'acknowledged'],
    [['unknown', 'refused'], 'unknown'],
    [['refused', 'unknown'], 'unknown'],
    [['refused', 'refused'], 'refused'],
  ] as const)('%s are %s together', (attempts, together) => {
    expect(combine(combine(undefined, attempts[0]), attempts[1])).toBe(together)
  })
})
