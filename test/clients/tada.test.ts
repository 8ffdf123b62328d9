import { print } from 'graphql'
import { describe, expect, it } from 'vitest'
import { execute } from './snippets/fetch'
import { contactsQuery, linesOf } from './snippets/tada/contacts'
import { runTool } from './support/generate.ts'
import { makeOrganization, oneOfEach, url } from './support/organizations.ts'

describe('gql.tada', () => {
  it('reads every member of the union', async () => {
    const id = await makeOrganization(oneOfEach)

    const answer = await execute(url, contactsQuery, { id })

    expect(linesOf(answer)).toEqual(['+1 (800) 423 7848 (+18004237848)', 'info@best-it.com', 'www.best-it.com'])
    expect(linesOf({ organization: null })).toBeUndefined()
  })

  it('sends the documents as they were written', () => {
    expect(print(contactsQuery)).toContain('... on ContactDetails {')
  })

  it('finds no fault in them', async () => {
    await expect(runTool('gql.tada', ['check', '--fail-on-warn'], 'tada')).resolves.not.toMatch(/error|warn/i)
  })
})
