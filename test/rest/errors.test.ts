import { readFileSync } from 'node:fs'
import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { DatabaseUnavailable, DeadlineExceeded } from '../../src/db/errors.ts'
import { ConflictError, DomainError, KeyReusedError, NotFoundError, ValidationError } from '../../src/domain/errors.ts'
import { maskError } from '../../src/graphql/errors.ts'
import { toErrorResult } from '../../src/graphql/results.ts'
import { statusOfError, toRestError } from '../../src/rest/errors.ts'

const examples: Record<string, Error> = {
  ValidationError: new ValidationError([{ path: ['label'], code: 'REQUIRED', message: "Label can't be blank." }]),
  NotFoundError: new NotFoundError('Contact', ['id']),
  ConflictError: new ConflictError(['ifVersion'], 1, 2),
  KeyReusedError: new KeyReusedError(),
  DatabaseUnavailable: new DatabaseUnavailable(new Error('the link is down')),
  DeadlineExceeded: new DeadlineExceeded('statement', 5000),
  'anything else': new TypeError('a bug'),
}

/** The rows of the table of `docs/rest.md`. */
const documented = [
  ...readFileSync(new URL('../../docs/rest.md', import.meta.url), 'utf8').matchAll(
    /^\| ([\w ]+) \| (\d+) \| (\w+) \|$/gm,
  ),
].map(([, error, status, graphql]) => ({ error: error!, status: Number(status), graphql: graphql! }))

const graphqlOf = (error: Error) =>
  error instanceof DomainError
    ? toErrorResult(error).__typename
    : maskError(new GraphQLError('wrapped', { originalError: error }), () => {}, false).extensions.code

describe('the table of errors in docs/rest.md', () => {
  it('has a row for every domain error that there is', () => {
    expect(documented.map(({ error }) => error)).toEqual(Object.keys(examples))
    expect(documented.slice(0, statusOfError.length).map(({ error }) => error)).toEqual(
      statusOfError.map(([kind]) => kind.name),
    )
  })

  it.each(documented)('is true of $error', ({ error, status, graphql }) => {
    expect(toRestError(examples[error]!)?.status ?? 500).toBe(status)
    expect(graphqlOf(examples[error]!)).toBe(graphql)
  })
})
