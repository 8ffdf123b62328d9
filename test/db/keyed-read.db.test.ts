import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { defineKeyedRead, type ParameterValue, param } from '../../src/db/statement.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

const keys = sql`unnest(${param('keys', 'bigint[]')}) with ordinality as given(key, place)`

describe('a keyed read', () => {
  const upTo = defineKeyedRead<Record<never, never>, { key: number; n: number; isEven: boolean }>(
    'test_up_to',
    [sql`n`, sql`n % 2 = 0`],
    (columns) => sql`select key, ${columns} from ${keys} cross join lateral (
        select n from generate_series(1, key) n order by n desc
      ) numbers`,
    ([n, isEven], key) => ({ key, n, isEven }),
  )

  it('brings a list for each key, in the order of the keys, each in the order of the query', async () => {
    expect(await database.db.run(upTo, { keys: [2, 0, 3] })).toEqual([
      [
        { key: 2, n: 2, isEven: true },
        { key: 2, n: 1, isEven: false },
      ],
      [],
      [
        { key: 3, n: 3, isEven: false },
        { key: 3, n: 2, isEven: true },
        { key: 3, n: 1, isEven: false },
      ],
    ])
  })

  it('brings the same list for a key that is given again, and nothing for none', async () => {
    const [first, second] = await database.db.run(upTo, { keys: [1, 1] })

    expect(first).toEqual([{ key: 1, n: 1, isEven: false }])
    expect(second).toEqual(first)
    expect(await database.db.run(upTo, { keys: [] })).toEqual([])
  })

  it.each<[string, string, ParameterValue, unknown]>([
    ['the largest id', 'bigint', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ['an integer', 'integer', -5, -5],
    ['true', 'boolean', true, true],
    ['null', 'text', null, null],
    ['an empty text', 'text', '', ''],
    ['quotes and backslashes', 'text', `"'\\ \\" \\u0041 \\\\`, `"'\\ \\" \\u0041 \\\\`],
    ['control characters', 'text', '\u0001\b\t\n\f\r\u001f\u007f\u0085', '\u0001\b\t\n\f\r\u001f\u007f\u0085'],
    ['what ends lines in scripts', 'text', '\u2028\u2029\ufeff\ufffe', '\u2028\u2029\ufeff\ufffe'],
    ['characters of two units', 'text', '👩‍👩‍👧 𝒳 \u{10ffff}', '👩‍👩‍👧 𝒳 \u{10ffff}'],
    ['brackets and commas', 'text', '],[{"a":1}', '],[{"a":1}'],
    ['a member of an enum', 'contact_label', 'service_desk_fax', 'service_desk_fax'],
  ])('brings %s unchanged', async (_, type, value, expected) => {
    const echo = defineKeyedRead<{ value: ParameterValue }, unknown>(
      'test_echo',
      [sql`${param('value', type)}`],
      (columns) => sql`select key, ${columns} from ${keys}`,
      ([cell]) => cell,
    )

    expect(await database.db.run(echo, { value, keys: [1] })).toEqual([[expected]])
  })

  it('brings instants as texts that name the millisecond', async () => {
    const at = defineKeyedRead<{ at: Date }, Date>(
      'test_at',
      [sql`${param('at', 'timestamptz')}`],
      (columns) => sql`select key, ${columns} from ${keys}`,
      ([text]) => new Date(text),
    )
    const instants = ['2026-11-24T09:30:00.120Z', '2026-02-28T23:59:59.999Z', '1970-01-01T00:00:00.000Z']

    for (const instant of instants) {
      expect(await database.db.run(at, { at: new Date(instant), keys: [1] })).toEqual([[new Date(instant)]])
    }
  })

  it('brings thousands of rows in order', async () => {
    const [rows] = await database.db.run(upTo, { keys: [5_000] })

    expect(rows!.map(({ n }) => n)).toEqual(Array.from({ length: 5_000 }, (_, i) => 5_000 - i))
  })
})
