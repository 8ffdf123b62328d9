import fc from 'fast-check'
import { expect, it } from 'vitest'
import { decodeEventCursor, encodeEventCursor } from '../../src/domain/event-cursor.ts'

const snapshot = fc
  .tuple(
    fc.integer({ min: 3, max: 2 ** 48 }),
    fc.uniqueArray(fc.integer({ min: 0, max: 5000 }), { maxLength: 300 }),
    fc.nat(9),
  )
  .map(([xmin, steps, more]) => {
    const underWay = steps.sort((a, b) => a - b).map((step) => xmin + step)
    return `${xmin}:${(underWay.at(-1) ?? xmin) + 1 + more}:${underWay.join(',')}`
  })
const within = fc.record({ snapshot, id: fc.nat(), changes: fc.nat(1000) })
const at = fc.integer({ min: 0, max: 2 ** 45 })
const position = fc.oneof(fc.record({ snapshot, at }), fc.record({ snapshot, at, within }))

it('reads every cursor back that was written', () => {
  fc.assert(
    fc.property(position, (given) => {
      expect(decodeEventCursor(encodeEventCursor(given))).toEqual(given)
    }),
  )
})

it('writes what is usual in few characters', () => {
  const underWay = Array.from({ length: 200 }, (_, i) => 1_000_000 + 3 * i).join(',')

  expect(encodeEventCursor({ snapshot: '1000000:1000000:', at: Date.now() }).length).toBeLessThan(20)
  expect(encodeEventCursor({ snapshot: `1000000:1000700:${underWay}`, at: Date.now() }).length).toBeLessThan(300)
})

it('makes no cursor of anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64url')
      const read = decodeEventCursor(text)
      if (read === undefined) return
      const [xmin, xmax, list] = read.snapshot.split(':')
      const underWay = list ? list.split(',').map(Number) : []
      expect(Number(xmin)).toBeGreaterThan(0)
      expect(
        underWay.every((xid, i) => xid >= Number(xmin) && xid < Number(xmax) && xid > (underWay[i - 1] ?? 0)),
      ).toBe(true)
    }),
    { numRuns: 2000 },
  )
})
