import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { GraphQLContext } from '../../src/graphql/builder.ts'
import { createKnownOperations, maxKeptDocuments, maxKeptLength } from '../../src/graphql/known-operations.ts'
import { createSchema } from '../../src/graphql/schema.ts'

const schema = createSchema()
const { limits } = readConfig({})
/** What the documents here ask for needs nothing of it. */
const context = {} as GraphQLContext

const documentOf = (n: number) => `query Q${n} { a${n}: __typename }`

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heap(): number {
  collect()
  return process.memoryUsage().heapUsed
}

const start = () => {
  const known = createKnownOperations(schema, limits)
  const learn = (text: string, operationName = '') => known.learn(text, operationName, parse(text))
  return { ...known, learn }
}

describe('operations that are known', () => {
  it('are found by the text of their document and their name', async () => {
    const { learn, find } = start()
    const several = 'query One { __typename } query Two { two: __typename }'
    learn(several, 'Two')

    expect(await find(several, 'Two')!.run(context, {})).toBe('{"data":{"two":"Query"}}')
    expect([find(several, ''), find(several, 'One'), find(`${several} `, 'Two')]).toEqual(Array(3).fill(undefined))
  })

  it('are so many at most; those that were asked for longest ago are forgotten first', () => {
    const { learn, find } = start()
    learn(documentOf(0))
    for (let n = 1; n < maxKeptDocuments; n += 1) learn(documentOf(n))
    // It was asked for.
    find(documentOf(0), '')

    learn(documentOf(maxKeptDocuments))

    expect(find(documentOf(0), '')).toBeDefined()
    expect(find(documentOf(1), '')).toBeUndefined()
    expect(find(documentOf(2), '')).toBeDefined()
    expect(find(documentOf(maxKeptDocuments), '')).toBeDefined()
  })

  it('are no longer than so many characters', () => {
    const { learn, find } = start()
    const ofLength = (length: number) => `{ __typename }${' '.repeat(length - 14)}`

    for (const length of [maxKeptLength, maxKeptLength + 1]) learn(ofLength(length))

    expect(find(ofLength(maxKeptLength), '')).toBeDefined()
    expect(find(ofLength(maxKeptLength + 1), '')).toBeUndefined()
  })

  it('take no more memory in a flood of different documents, each of which is compiled', async () => {
    const { learn, find } = start()
    const flood = async (from: number, to: number) => {
      for (let n = from; n < to; n += 1) {
        learn(documentOf(n))
        await find(documentOf(n), '')!.run(context, {})
        // Others have their turn.
        await setImmediate()
      }
      return heap()
    }
    const early = await flood(0, 1000)

    const late = await flood(1000, 6000)

    expect(late - early).toBeLessThan(5_000_000)
  })
})

describe('operations that are kept', () => {
  const keep = (text: string) => {
    const known = start()
    known.keep(text, parse(text))
    return known
  }

  it('are found before they were executed, by their names, or without one where there is no other', async () => {
    const several = 'query One { __typename } mutation Two { __typename }'

    expect(await keep(documentOf(1)).find(documentOf(1), '')!.run(context, {})).toBe('{"data":{"a1":"Query"}}')
    expect(keep(documentOf(1)).find(documentOf(1), 'Q1')).toBeDefined()
    expect(['One', 'Two', '', 'Three'].map((name) => keep(several).find(several, name)?.name)).toEqual([
      'One',
      'Two',
      undefined,
      undefined,
    ])
    expect(keep(several).find(several, '')).toBeUndefined()
  })

  it('do not make room for others, however long they are', () => {
    const text = `{ __typename } # ${'long '.repeat(maxKeptLength)}`
    const { learn, find } = keep(text)

    for (let n = 0; n <= maxKeptDocuments; n += 1) learn(documentOf(n))

    expect(find(text, '')).toBeDefined()
  })

  it('are no subscriptions', () => {
    const text = 'query One { __typename } subscription Two { __typename }'

    expect(['', 'Two'].map((name) => keep(text).find(text, name))).toEqual([undefined, undefined])
    expect(keep(text).find(text, 'One')).toBeDefined()
  })
})

describe('the nodes that an operation asks for', () => {
  const nodesOf = (text: string, variables: Record<string, unknown>) => {
    const { learn, find } = start()
    learn(text)
    return find(text, '')!.nodesFor(variables)
  }
  const page =
    'query ($first: Int = 5, $id: ID) { organizations(first: $first) { nodes { name } } node(id: $id) { id } }'

  it.each([
    ['by the variables', page, { first: 7 }, 7],
    ['by their defaults', page, {}, 5],
    ['whatever other variables hold', '{ organizations(first: 3) { nodes { name } } }', { id: [1, 2, 3] }, 3],
    ['too many', page, { first: limits.nodes + 1 }, undefined],
    ['a list that is too long', page, { id: Array(limits.listItems + 1).fill(1) }, undefined],
  ])('%s', (_, text, variables, nodes) => {
    expect(nodesOf(text, variables)).toBe(nodes)
  })
})
