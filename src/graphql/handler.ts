import type { GraphQLError } from 'graphql'
import { createYoga, type Plugin } from 'graphql-yoga'
import type { Context } from '../domain/context.ts'
import type { GraphQLContext } from './builder.ts'
import { maskError, type TopLevelCode } from './errors.ts'
import { createLoaders } from './loaders.ts'
import { createSchema } from './schema.ts'

export const graphqlPath = '/graphql'

/** What GraphiQL opens with, and what the start prints: nested organizations with their contacts. */
export const firstQuery = `query FirstLook {
  organizations(first: 10, filter: { root: true }) {
    nodes {
      name
      contacts {
        totalCount
        nodes {
          __typename
          ... on ContactDetails { databaseId label value href }
          ... on TelephoneContact { numbers }
        }
      }
      children {
        nodes {
          name
          contacts { nodes { ... on ContactDetails { label value } } }
        }
      }
    }
  }
}
`

export interface GraphQLHandlerOptions {
  context: Context
  graphiql: boolean
  /** Told what was thrown by accident; the caller sees none of it. */
  logUnexpected: (cause: unknown) => void
}

export type FetchHandler = (request: Request) => Promise<Response>

/** Serves GraphQL over HTTP at `graphqlPath`: JSON by POST, queries by GET, and GraphiQL for browsers. */
export function createGraphQLHandler({ context, graphiql, logUnexpected }: GraphQLHandlerOptions): FetchHandler {
  const mask = (error: unknown) => maskError(error, logUnexpected)
  const yoga = createYoga<object, GraphQLContext>({
    schema: createSchema(),
    graphqlEndpoint: graphqlPath,
    context: () => ({ domain: context, loaders: createLoaders(context) }),
    graphiql: graphiql && { title: 'Contacts gateway', defaultQuery: firstQuery },
    // The page is large and self-contained: it is loaded when first asked for, and asks no other machine for anything.
    renderGraphiQL: async (options) => (await import('@graphql-yoga/render-graphiql')).renderGraphiQL(options),
    maskedErrors: { maskError: mask },
    plugins: [jsonOnly, maskingAll(mask)],
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    // The server bounds the body before it comes here.
    maxRequestBodySize: false,
  })
  return async (request) => yoga.fetch(request, {})
}

/** The errors of a document that does not fit the schema do not pass the masking otherwise. */
const maskingAll = (mask: (error: unknown) => GraphQLError): Plugin => ({
  onExecutionResult({ result, setResult }) {
    if (result && 'errors' in result && result.errors) setResult({ ...result, errors: result.errors.map(mask) })
  },
})

/** Browsers send forms to other sites without asking; JSON they do not. So only JSON executes. */
const jsonOnly: Plugin = {
  onRequest({ request, url, endResponse }) {
    if (request.method === 'POST') {
      const type = request.headers.get('content-type')
      if (type === 'application/json') return
      if (type?.split(';', 1)[0]?.trim().toLowerCase() !== 'application/json') {
        return endResponse(refuseGraphQL(415, 'The content type must be application/json.'))
      }
      // Yoga compares letter by letter.
      request.headers.set('content-type', 'application/json')
    } else if (url.search) {
      // Yoga parses these without expecting that they may be no JSON.
      for (const name of ['variables', 'extensions']) {
        if (!isJson(url.searchParams.get(name) || 'null')) {
          return endResponse(refuseGraphQL(400, `The parameter ${name} is not JSON.`))
        }
      }
    }
  },
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The answer to a request that is not even looked at. */
export function refuseGraphQL(status: number, message: string): Response {
  const code: TopLevelCode = 'BAD_USER_INPUT'
  return Response.json({ errors: [{ message, extensions: { code } }] }, { status })
}
