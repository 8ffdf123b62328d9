import { getIntrospectionQuery } from 'graphql'
import { expect } from 'vitest'
import type { AppOptions } from '../../src/app.ts'
import type { Context } from '../../src/domain/context.ts'
import { appFor } from './app.ts'

export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
  data?: any
  errors?: { message: string; path?: string[]; extensions: { code: string; issues?: unknown[] } }[]
}

export type Execute = (query: string, variables?: Record<string, unknown>) => Promise<Answer>

/** Executes documents as the service does for the account, from an HTTP request to the JSON of its response. */
export function executeFor(ctx: Context, given: Partial<AppOptions> = {}): Execute {
  const { handle } = appFor(ctx, given)
  return async (query, variables) => {
    const response = await handle(
      new Request('http://gateway/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
        body: JSON.stringify({ query, variables }),
      }),
    )
    return (await response.json()) as Answer
  }
}

/** The data of an answer without errors. */
export async function dataOf(answer: Promise<Answer>): Promise<NonNullable<Answer['data']>> {
  const { data, errors } = await answer
  expect(errors).toBeUndefined()
  return data
}

/** The one field of an answer to a mutation. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export async function resultOf(answer: Promise<Answer>): Promise<any> {
  return Object.values(await dataOf(answer))[0]
}

/** The query by which GraphiQL reads the schema: all that there is to ask. */
export const introspectionQuery = getIntrospectionQuery({
  descriptions: true,
  specifiedByUrl: true,
  directiveIsRepeatable: true,
  schemaDescription: true,
  inputValueDeprecation: true,
  oneOf: true,
})
