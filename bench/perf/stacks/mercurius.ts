import fastify from 'fastify'
import mercurius from 'mercurius'
import { createPeerSchema } from './peer-schema.ts'
import { openRows } from './rows.ts'
import { closeOnSignal, host, settings } from './settings.ts'

// Mercurius with its own means: queries compiled after their first run (`jit: 1`), and lists by its loaders. These do not
// cache: its manual says that the key of a cache, which is the whole object as JSON, costs more than it saves.

const rows = await openRows()
const app = fastify()

interface Query {
  obj: { id: number }
  params: { first: number }
}

const askedBy = (queries: readonly Query[]) => queries.map(({ obj, params }) => ({ id: obj.id, first: params.first }))

await app.register(mercurius, {
  schema: createPeerSchema({
    Query: {
      organization: (_root, { id }) => rows.organization(id),
      organizations: (_root, { first, filter }) => rows.organizations(first, filter),
    },
    Mutation: { addContact: (_root, { input }) => rows.add(input) },
  }),
  loaders: {
    Organization: {
      contacts: { loader: async (queries: Query[]) => rows.contacts(askedBy(queries)), opts: { cache: false } },
      children: { loader: async (queries: Query[]) => rows.children(askedBy(queries)), opts: { cache: false } },
    },
  },
  jit: 1,
  graphiql: false,
})

await app.listen({ port: settings.port, host })
closeOnSignal(async () => {
  await app.close()
  await rows.close()
})
