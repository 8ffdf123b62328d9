import { expect, test } from 'vitest'
import { quartiles } from './statistics.ts'

test('quartiles are interpolated, whatever the order of the values', () => {
  expect(quartiles([4, 1, 3, 2])).toEqual({ q1: 1.75, median: 2.5, q3: 3.25 })
  expect(quartiles([7])).toEqual({ q1: 7, median: 7, q3: 7 })
})
