import { readFile } from 'node:fs/promises'
import { buildClientSchema, lexicographicSortSchema, printSchema } from 'graphql'
import { describe, expect, it } from 'vitest'
import { executeAt } from '../support/gateway.ts'
import { dataOf, introspectionQuery } from '../support/graphql.ts'
import { url } from './support/organizations.ts'

describe("introspection by GraphiQL's query", () => {
  it('has all that schema.graphql says', async () => {
    const onDisk = await readFile(new URL('../../schema.graphql', import.meta.url), 'utf8')

    const introspection = await dataOf(executeAt(url)(introspectionQuery))

    const printed = printSchema(lexicographicSortSchema(buildClientSchema(introspection)))
    expect(printed.trim()).toBe(onDisk.trim())
  })
})
