import { createServer } from 'node:http'
import { postgraphile } from 'postgraphile'
import { makePgService } from 'postgraphile/adaptors/pg'
import { grafserv } from 'postgraphile/grafserv/node'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { jsonPgSmartTags } from 'postgraphile/utils'
import { postgraphileSchema } from '../workloads.ts'
import { closeOnSignal, host, settings } from './settings.ts'

// PostGraphile 5 over the same tables: the Amber preset in production mode (NODE_ENV and GRAPHILE_ENV), without GraphiQL,
// watching and explaining. node-postgres prepares its statements by name on its own.

/** Nobody orders by an enum unless told. */
const ordered = { tags: { behavior: '+attribute:orderBy' } }
/** What the gateway does not show either. */
const hidden = { tags: { behavior: '-*' } }

const smartTags = jsonPgSmartTags({
  version: 1,
  config: {
    class: {
      'public.contacts': { attribute: { channel: ordered, label: ordered } },
      'public.tokens': hidden,
      'public.token_accounts': hidden,
      'public.rate_limits': hidden,
      'public.idempotency_keys': hidden,
    },
  },
})

const pgl = postgraphile({
  extends: [PostGraphileAmberPreset],
  plugins: [smartTags],
  pgServices: [
    makePgService({
      connectionString: settings.databaseUrl,
      schemas: ['public', postgraphileSchema],
      poolConfig: { max: settings.poolSize },
    }),
  ],
  grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false, websockets: false },
  grafast: { explain: false },
})

const server = createServer()
const serv = pgl.createServ(grafserv)
await serv.addTo(server)
await serv.ready()
server.listen(settings.port, host)
closeOnSignal(async () => {
  server.close()
  await pgl.release()
})
