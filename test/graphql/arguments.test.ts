import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { parsedOnce } from '../../src/graphql/builder.ts'

describe('the arguments of a field', () => {
  const doubled = vi.fn((n: number) => 2 * n)
  const schema = parsedOnce(z.object({ n: z.number().transform(doubled) }))['~standard']

  it('are parsed once for each object of them, and come out as one object', () => {
    const args = { n: 1 }

    const first = schema.validate(args)
    const again = schema.validate(args)
    const other = schema.validate({ n: 1 })

    expect(first).toEqual({ value: { n: 2 } })
    expect(again).toBe(first)
    expect(other).toEqual(first)
    expect(other).not.toBe(first)
    expect(doubled).toHaveBeenCalledTimes(2)
  })

  it('are refused each time where they are wrong', () => {
    const args = { n: 'x' }

    for (const result of [schema.validate(args), schema.validate(args)]) {
      expect(result).toMatchObject({ issues: [{ path: ['n'] }] })
    }
  })
})
