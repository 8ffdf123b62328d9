import { createServer } from 'node:http'
import { composeServices as composeByApollo } from '@apollo/composition'
import { ApolloGateway, RemoteGraphQLDataSource } from '@apollo/gateway'
import { ApolloServer } from '@apollo/server'
import { startStandaloneServer } from '@apollo/server/standalone'
import { createGatewayRuntime } from '@graphql-hive/gateway-runtime'
import { composeServices as composeByTheGuild } from '@theguild/federation-composition'
import { parse } from 'graphql'
import { type Listening, listenTo } from './listening.ts'

export interface Subgraph {
  name: string
  url: string
  sdl: string
}

/** A way from subgraphs to one server over all of them. */
export interface Stack {
  /** The schema of the supergraph; throws what does not fit. */
  compose(subgraphs: readonly Subgraph[]): string
  /** A gateway, which sends on who calls. */
  serve(supergraphSdl: string): Promise<Listening>
  /** Whether the gateway finds the fields of an `@interfaceObject` behind a union. */
  addsToInterfaces: boolean
}

const documentsOf = (subgraphs: readonly Subgraph[]) =>
  subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }))

const sdlOf = ({ supergraphSdl, errors }: { supergraphSdl?: string; errors?: readonly Error[] }) => {
  if (supergraphSdl) return supergraphSdl
  throw new AggregateError(errors ?? [], errors?.map(({ message }) => message).join('\n'))
}

class SendingOn extends RemoteGraphQLDataSource {
  override willSendRequest({
    request,
    context,
  }: Parameters<NonNullable<RemoteGraphQLDataSource['willSendRequest']>>[0]) {
    const { authorization } = context as { authorization?: string }
    if (authorization) request.http?.headers.set('authorization', authorization)
  }
}

export const stacks: Record<string, Stack> = {
  "Apollo's": {
    addsToInterfaces: true,
    // biome-ignore lint/suspicious/noExplicitAny: documents of the other graphql, which are the same
    compose: (subgraphs) => sdlOf(composeByApollo(documentsOf(subgraphs) as any)),
    async serve(supergraphSdl) {
      const gateway = new ApolloGateway({ supergraphSdl, buildService: ({ url }) => new SendingOn({ url }) })
      const server = new ApolloServer({ gateway })
      const { url } = await startStandaloneServer(server, {
        listen: { host: '127.0.0.1', port: 0 },
        context: async ({ req }) => ({ authorization: req.headers.authorization }),
      })
      return { url, close: () => server.stop() }
    },
  },
  "The Guild's": {
    addsToInterfaces: false,
    // biome-ignore lint/suspicious/noExplicitAny: as above
    compose: (subgraphs) => sdlOf(composeByTheGuild(documentsOf(subgraphs) as any)),
    async serve(supergraphSdl) {
      const gateway = createGatewayRuntime({
        supergraph: supergraphSdl,
        logging: false,
        maskedErrors: false,
        propagateHeaders: {
          fromClientToSubgraphs: ({ request }) => ({
            authorization: request.headers.get('authorization') ?? undefined,
          }),
        },
      })
      const { url, close } = await listenTo(createServer(gateway))
      return {
        url,
        async close() {
          await close()
          await gateway[Symbol.asyncDispose]()
        },
      }
    },
  },
}
