import { sql } from 'drizzle-orm'
import { bigint, pgTable, text } from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { defineStatement, Json, type ParameterValue, param } from '../../src/db/statement.ts'

const things = pgTable('things', { id: bigint('id', { mode: 'number' }), name: text('name') })

/** How a single parameter is sent. */
const sent = (value: ParameterValue) =>
  defineStatement<{ value: ParameterValue }>('one', sql`select ${param('value', 'text')}`).bind({ value })[0]

describe('the text of a statement', () => {
  it('is built once from tables, columns and parameters', () => {
    const statement = defineStatement(
      'things_by_id',
      sql`select ${things.name} from ${things} where id = ${param('id', 'bigint')}`,
    )

    expect(statement.name).toBe('things_by_id')
    expect(statement.text).toBe('select "things"."name" from "things" where id = $1::bigint')
  })

  it('holds each name as one parameter, however often it occurs', () => {
    const statement = defineStatement(
      'repeated',
      sql`select ${param('a', 'text')}, ${param('b', 'text')}, ${param('a', 'text')}, ${param('c', 'text')}, ${param('b', 'text')}`,
    )

    expect(statement.text).toBe('select $1::text, $2::text, $1::text, $3::text, $2::text')
  })

  it('numbers more than nine parameters', () => {
    const names = Array.from({ length: 12 }, (_, i) => `p${i + 1}`)
    const list = sql.join(
      [...names, ...names].map((name) => param(name, 'int')),
      sql`, `,
    )

    const statement = defineStatement('many', sql`select ${list}`)

    const numbered = names.map((_, i) => `$${i + 1}::int`).join(', ')
    expect(statement.text).toBe(`select ${numbered}, ${numbered}`)
  })

  it('gives one name with two types to the database as one parameter', () => {
    const statement = defineStatement('typed', sql`select ${param('a', 'text')}, ${param('a', 'bigint[]')}`)

    expect(statement.text).toBe('select $1::text, $1::bigint[]')
  })

  it('is the same for parts that are put together', () => {
    const part = sql`id = ${param('id', 'bigint')}`

    const statement = defineStatement('parts', sql`select 1 where ${part} and ${param('more', 'boolean')} or ${part}`)

    expect(statement.text).toBe('select 1 where id = $1::bigint and $2::boolean or id = $1::bigint')
    expect(statement.bind({ more: true, id: 5 })).toEqual(['5', true])
  })

  it.each([
    ['a number', 1],
    ['a text', 'x'],
    ['a boolean', true],
    ['null', null],
  ])('never holds values: a raw one is refused: %s', (_, value) => {
    expect(() => defineStatement('raw', sql`select ${value}`)).toThrow('raw: write values as placeholders or as SQL')
  })
})

describe('the parameters of a statement', () => {
  const statement = defineStatement<{ a: ParameterValue; b: ParameterValue; c: ParameterValue }>(
    'three',
    sql`select ${param('b', 'text')}, ${param('a', 'text')}, ${param('b', 'text')}, ${param('c', 'text')}`,
  )

  it('are sent in the order of their first place in the text', () => {
    expect(statement.bind({ a: 'A', b: 'B', c: 'C' })).toEqual(['B', 'A', 'C'])
  })

  it('are sent without others', () => {
    const more = { c: 'C', d: 'D', a: 'A', b: 'B' }

    expect(statement.bind(more)).toEqual(['B', 'A', 'C'])
  })

  it('are none for a text without placeholders', () => {
    expect(defineStatement('none', sql`select 1`).bind({})).toEqual([])
  })

  it.each([
    ['absent', {}],
    ['undefined', { b: 'B', a: undefined, c: 'C' }],
  ])('must be given: %s', (_, parameters) => {
    expect(() => statement.bind(parameters as never)).toThrow('was not given')
  })

  it.each<[string, ParameterValue, unknown]>([
    ['a text', 'x', 'x'],
    ['an empty text', '', ''],
    ['quotes and backslashes in a text', `'"\\`, `'"\\`],
    ['a placeholder in a text', '$1', '$1'],
    ['true', true, true],
    ['false', false, false],
    ['null', null, null],
    ['zero', 0, '0'],
    ['an integer', 65, '65'],
    ['2^53 - 1', Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['a negative number', -1, '-1'],
    ['a fraction', 1.5, '1.5'],
    ['an instant, to the millisecond in UTC', new Date('2026-11-24T10:30:00.120+01:00'), '2026-11-24T09:30:00.120Z'],
    ['an empty list', [], '{}'],
    ['a list of integers', [1, 2, 3], '{1,2,3}'],
    ['a list of one', [65], '{65}'],
    ['a list of texts', ['a', 'b'], '{"a","b"}'],
    ['a list of an empty text', [''], '{""}'],
    ['a list of blank texts', [' ', '\t'], '{" ","\t"}'],
    ['quotes in a list', ['a"b', '"'], '{"a\\"b","\\""}'],
    ['backslashes in a list', ['a\\b', '\\', '\\"'], '{"a\\\\b","\\\\","\\\\\\""}'],
    ['commas and braces in a list', ['a,b', '{c}', '}'], '{"a,b","{c}","}"}'],
    ['NULL as a text in a list', ['NULL', 'null'], '{"NULL","null"}'],
    ['line breaks and emoji in a list', ['a\nb', '👩‍👩‍👧'], '{"a\nb","👩‍👩‍👧"}'],
    ['integers as texts in a list', ['1', '02'], '{"1","02"}'],
    ['a document', new Json({ a: [1, 'b', null], c: undefined }), '{"a":[1,"b",null]}'],
    ['a list as a document', new Json([]), '[]'],
    ['null as a document', new Json(null), 'null'],
    ['a text as a document', new Json('a"b'), '"a\\"b"'],
    ['an instant in a document', new Json({ at: new Date(0) }), '{"at":"1970-01-01T00:00:00.000Z"}'],
  ])('are sent as both drivers take them: %s', (_, value, cell) => {
    expect(sent(value)).toBe(cell)
  })

  it('do not change what was given', () => {
    const list = Object.freeze(['a"b'])

    expect(sent(list)).toBe('{"a\\"b"}')
    expect(list).toEqual(['a"b'])
  })
})

describe('the rows of a statement', () => {
  it('become what its row makes of their cells', () => {
    const statement = defineStatement<{ id: number }, { name: string }>(
      'named',
      sql`select name from ${things} where id = ${param('id', 'bigint')}`,
      ([name]) => ({ name }),
    )

    expect(statement.row(['Best IT'])).toEqual({ name: 'Best IT' })
  })

  it('become nothing where it has none', () => {
    expect(defineStatement('nothing', sql`select 1`).row([1])).toBeUndefined()
  })
})
