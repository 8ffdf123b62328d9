import { describe, expect, it } from 'vitest'
import { beginVisit, noteOutcome, outcomeOf } from '../../src/telemetry/visit.ts'

const begin = (requestId?: string) => beginVisit({ method: 'GET', path: '/', requestId })

describe('the id of a request', () => {
  it.each(['a', 'A-z_0.9:/+=', 'a'.repeat(128), '0af7651916cd43dd8448eb211c80319c'])(
    'is the one that the caller gave: %s',
    (id) => {
      expect(begin(id).id).toBe(id)
    },
  )

  it.each(['', ' ', 'a b', 'a\nb', 'a, b', 'ä', '"', '{}', 'a'.repeat(129), undefined])('is made for %j', (id) => {
    const made = [begin(id).id, begin(id).id]

    expect(made[0]).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/)
    expect(made[1]).not.toBe(made[0])
  })
})

describe('what comes of a request', () => {
  it.each([
    [200, 'ok'],
    [204, 'ok'],
    [304, 'ok'],
    [400, 'refused'],
    [401, 'unauthenticated'],
    [403, 'forbidden'],
    [404, 'refused'],
    [412, 'refused'],
    [422, 'refused'],
    [429, 'rate_limited'],
    [500, 'error'],
    [503, 'unavailable'],
    [504, 'timeout'],
    // Its caller has gone before there was an answer.
    [undefined, 'refused'],
  ])('is told by the status %s: %s', (status, outcome) => {
    expect(outcomeOf({ ...begin(), status })).toBe(outcome)
  })

  it('is the worst of what was noted, in any order', () => {
    const visit = { ...begin(), status: 200 }
    noteOutcome(visit, 'refused')
    noteOutcome(visit, 'timeout')
    noteOutcome(visit, 'forbidden')

    expect(outcomeOf(visit)).toBe('timeout')
  })

  it('tells a request that was turned away from one that found no database', () => {
    expect(outcomeOf({ ...begin(), status: 503, shed: 'requests' })).toBe('shed')
  })
})
