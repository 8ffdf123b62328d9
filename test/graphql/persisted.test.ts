import { describe, expect, it } from 'vitest'
import {
  createPersistedDocuments,
  maxRegistered,
  maxRegisteredBytes,
  maxRegisteredLength,
} from '../../src/graphql/persisted.ts'
import { sha256Of } from '../../src/graphql/trusted-documents.ts'

const start = () => {
  const documents = createPersistedDocuments({ trusted: new Map(), only: false, automatic: true })
  const named = (text: string) => ({ extensions: { persistedQuery: { version: 1, sha256Hash: sha256Of(text) } } })
  return {
    register: (text: string, account = 1) => documents.register({ query: text, ...named(text) }, account),
    isKnown(text: string, account = 1): boolean {
      try {
        return documents.textOf(named(text), account) === text
      } catch {
        return false
      }
    },
  }
}

const documentOf = (n: number, length = 0) => `query Q${n} { __typename }`.padEnd(length)

describe('the documents that callers have registered', () => {
  it('are so many at most; those that were asked for longest ago are forgotten first', () => {
    const { register, isKnown } = start()
    for (let n = 0; n < maxRegistered; n += 1) register(documentOf(n))
    expect(isKnown(documentOf(0))).toBe(true)

    register(documentOf(maxRegistered))

    expect([0, 1, 2, maxRegistered].map((n) => isKnown(documentOf(n)))).toEqual([true, false, true, true])
  })

  it('take so much memory at most, however long they are', () => {
    const { register, isKnown } = start()
    const fit = Math.floor(maxRegisteredBytes / (2 * maxRegisteredLength))
    const count = 2 * fit
    for (let n = 0; n < count; n += 1) register(documentOf(n, maxRegisteredLength))

    const known = Array.from({ length: count }, (_, n) => isKnown(documentOf(n, maxRegisteredLength)))

    expect(known.filter(Boolean).length).toBeGreaterThan(fit - 3)
    expect(known.filter(Boolean).length).toBeLessThanOrEqual(fit)
    expect(known.lastIndexOf(false)).toBeLessThan(known.indexOf(true))
  })

  it('are no longer than so many characters', () => {
    const { register, isKnown } = start()
    for (const more of [0, 1]) register(documentOf(more, maxRegisteredLength + more))

    expect([0, 1].map((more) => isKnown(documentOf(more, maxRegisteredLength + more)))).toEqual([true, false])
  })

  it('take room for each account that has sent them', () => {
    const { register, isKnown } = start()
    register(documentOf(0))
    const accounts = Math.ceil(maxRegisteredBytes / 50)
    for (let account = 0; account < accounts; account += 1) register(documentOf(1), account)

    expect(isKnown(documentOf(0))).toBe(false)
    register(documentOf(2))
    expect(isKnown(documentOf(2))).toBe(true)
  })
})
