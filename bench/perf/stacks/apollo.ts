import { ApolloServer } from '@apollo/server'
import fastifyApollo, { fastifyApolloDrainPlugin } from '@as-integrations/fastify'
import DataLoader from 'dataloader'
import fastify from 'fastify'
import { createPeerSchema } from './peer-schema.ts'
import { type Asked, openRows } from './rows.ts'
import { closeOnSignal, host, settings } from './settings.ts'

// Apollo Server 5 behind Fastify, the fastest of its documented integrations, in production mode (NODE_ENV). It keeps parsed
// documents by default; nothing is reported, and there are no persisted queries to look for.

const rows = await openRows()

const bySize = { cacheKeyFn: ({ id, first }: Asked) => `${id} ${first}` }

/** For each request its own. */
const createLoaders = () => ({
  contacts: new DataLoader((asked: readonly Asked[]) => rows.contacts(asked), bySize),
  children: new DataLoader((asked: readonly Asked[]) => rows.children(asked), bySize),
})

type Loaders = ReturnType<typeof createLoaders>

const app = fastify()
const apollo = new ApolloServer<Loaders>({
  schema: createPeerSchema({
    Query: {
      organization: (_root, { id }) => rows.organization(id),
      organizations: (_root, { first, filter }) => rows.organizations(first, filter),
    },
    Mutation: { addContact: (_root, { input }) => rows.add(input) },
    Organization: {
      contacts: ({ id }, { first }, { contacts }: Loaders) => contacts.load({ id, first }),
      children: ({ id }, { first }, { children }: Loaders) => children.load({ id, first }),
    },
  }),
  introspection: false,
  persistedQueries: false,
  plugins: [fastifyApolloDrainPlugin(app)],
})
await apollo.start()
await app.register(fastifyApollo(apollo), { context: async () => createLoaders() })
await app.listen({ port: settings.port, host })
closeOnSignal(async () => {
  await apollo.stop()
  await app.close()
  await rows.close()
})
