import { expect, test } from 'vitest'
import { Histogram } from './histogram.ts'

test('quantiles are those of the sorted values to within one percent', () => {
  const histogram = new Histogram()
  const values = Array.from({ length: 20_000 }, (_, i) => Math.round(1.0007 ** i) + (i % 7))
  for (const value of values) histogram.record(value)
  values.sort((a, b) => a - b)

  for (const part of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = values[Math.ceil(part * values.length) - 1]!
    expect(Math.abs(histogram.quantile(part) - exact)).toBeLessThanOrEqual(exact * 0.01)
  }
})

test('small values are exact, and no value is too large', () => {
  const histogram = new Histogram()
  for (const value of [0, 1, 2, 255, 256]) histogram.record(value)
  expect([0.2, 0.4, 0.6, 0.8, 1].map((part) => histogram.quantile(part))).toEqual([0, 1, 2, 255, 256])

  histogram.record(1e12)
  expect(histogram.summary().max).toBe(0x7fffffff / 1000)
})

test('without values there are no quantiles', () => {
  expect(new Histogram().quantile(0.5)).toBeNaN()
})
