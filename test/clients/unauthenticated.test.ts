import { print } from 'graphql'
import { describe, expect, it } from 'vitest'
import { useGateways } from '../support/gateway.ts'
import { codeOf as apolloCodeOf, createClient as createApolloClient } from './snippets/apollo'
import { contactsQuery } from './snippets/contacts'
import { execute, codeOf as fetchCodeOf } from './snippets/fetch'
import { follow } from './snippets/live'
import { contactsChanged } from './snippets/live-changes'
import { loadMore } from './snippets/relay/contacts'
import { createEnvironment, codeOf as relayCodeOf } from './snippets/relay/environment'
import { createClient as createUrqlClient, codeOf as urqlCodeOf } from './snippets/urql'

const gateways = useGateways()
const variables = { id: '1' }

describe('a gateway that asks for a token', () => {
  it('tells each client so, and lets it in with one', async () => {
    const cwd = await gateways.folder()
    const env = { AUTH: 'token' }
    await gateways.run(['seed'], { cwd, env })
    const permissions = ['organizations:read', 'contacts:read']
    const created = await gateways.run(
      ['token', 'create', 'client', '--account', 'demo', '--permission', ...permissions],
      { cwd, env },
    )
    const { url } = await gateways.serve({ cwd, env })
    const headers = { authorization: `Bearer ${created.stdout.trim()}` }
    const failureOf = (promise: Promise<unknown>) =>
      promise.then(
        () => undefined,
        (error: unknown) => error,
      )

    const refused = {
      fetch: fetchCodeOf(await failureOf(execute(url, contactsQuery, variables))),
      apollo: apolloCodeOf(await failureOf(createApolloClient(url).query({ query: contactsQuery, variables }))),
      urql: urqlCodeOf((await createUrqlClient(url).query(contactsQuery, variables)).error),
      relay: relayCodeOf(await failureOf(loadMore(createEnvironment(url), variables))),
    }
    const query = print(contactsChanged)
    const refusedStream = await new Promise((resolve) => {
      follow({ url, query, variables: { organizationId: '1' } }, { next: resolve, error: resolve })
    })
    const client = createApolloClient(url, headers)
    const { data } = await client.query({ query: contactsQuery, variables })
    const organizationId = data!.organization!.id
    const admitted = {
      apollo: data,
      urql: (await createUrqlClient(url, headers).query(contactsQuery, variables)).data,
      relay: await loadMore(createEnvironment(url, headers), { id: organizationId }),
    }

    const code = 'UNAUTHENTICATED'
    expect(refused).toEqual({ fetch: code, apollo: code, urql: code, relay: code })
    expect(refusedStream).toMatchObject({ response: { status: 401 } })
    expect(admitted.apollo!.organization!.name).toBe('Best IT')
    expect(admitted.urql!.organization!.name).toBe('Best IT')
    expect(admitted.relay).toMatchObject({ node: { __id: organizationId } })
  })
})
