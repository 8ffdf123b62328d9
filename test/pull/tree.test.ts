import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PulledOrganization } from '../../src/domain/pull.ts'
import { parentsFirst } from '../../src/pull/tree.ts'

/** Organizations as [id, parent]. */
type Pairs = [id: number, parent: number | null][]

const row = ([foreignId, parentForeignId]: Pairs[number]): PulledOrganization => ({
  ...{ foreignId, parentForeignId, name: `Organization ${foreignId}` },
  ...{ disabled: false, source: null, sourceID: null, updatedAt: null },
})

function order(pairs: Pairs, kept: number[] = []) {
  const told: string[] = []
  const rows = parentsFirst(
    pairs.map(row),
    (parent) => kept.includes(parent),
    (warning) => told.push(warning),
  )
  return { pairs: rows.map(({ foreignId, parentForeignId }): Pairs[number] => [foreignId, parentForeignId]), told }
}

describe('organizations in the order of their tree', () => {
  it('come after their parents', () => {
    const { pairs, told } = order([
      [1, 2],
      [2, 3],
      [3, null],
      [4, 3],
    ])

    expect(pairs.map(([id]) => id).toSorted()).toEqual([1, 2, 3, 4])
    expect(pairs[0]).toEqual([3, null])
    expect(pairs.indexOf(pairs.find(([id]) => id === 2)!)).toBeLessThan(pairs.findIndex(([id]) => id === 1))
    expect(told).toEqual([])
  })

  it('come to the root where their parent cannot be found', () => {
    expect(
      order([
        [1, 9],
        [2, 1],
      ]),
    ).toEqual({
      pairs: [
        [1, null],
        [2, 1],
      ],
      told: ['Organization 1 is beneath 9, which the source does not show: it comes to the root.'],
    })
  })

  it('stay beneath a parent that is here all the same', () => {
    expect(order([[1, 9]], [9])).toEqual({ pairs: [[1, 9]], told: [] })
  })

  it('come to the root where they are above each other, and what is beneath them stays there', () => {
    expect(
      order([
        [5, 2],
        [1, 3],
        [2, 1],
        [3, 2],
        [7, 7],
      ]),
    ).toEqual({
      pairs: [
        [2, null],
        [5, 2],
        [1, null],
        [3, null],
        [7, null],
      ],
      told: [
        'Organizations above each other in a circle come to the root: 2, 1, 3.',
        'Organizations above each other in a circle come to the root: 7.',
      ],
    })
  })

  it('are all there once, each after its parent, whatever they say', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 1, max: 20 }))
    const trees = ids.chain((all) =>
      fc.tuple(...all.map((id) => fc.tuple(fc.constant(id), fc.option(fc.integer({ min: 1, max: 20 }))))),
    )
    fc.assert(
      fc.property(trees, (given) => {
        const { pairs } = order(given as Pairs)

        expect(pairs.map(([id]) => id).toSorted()).toEqual((given as Pairs).map(([id]) => id).toSorted())
        pairs.forEach(([, parent], at) => {
          if (parent !== null) expect(pairs.slice(0, at).some(([id]) => id === parent)).toBe(true)
        })
      }),
    )
  })
})
