import {
  defaultFieldResolver,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  NoSchemaIntrospectionCustomRule,
} from 'graphql'
import { _createLRUCache, createYoga, type Plugin } from 'graphql-yoga'
import type { Admission } from '../auth/gate.ts'
import type { Database } from '../db/client.ts'
import type { DeadlineExceeded } from '../db/errors.ts'
import { currentVisit, noteOutcome, type Outcome } from '../telemetry/visit.ts'
import type { GraphQLContext } from './builder.ts'
import { maskError, type TopLevelCode } from './errors.ts'
import { type DocumentLimits, useDocumentLimits } from './limits.ts'
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
      children(first: 10) {
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
  graphiql: boolean
  introspection: boolean
  limits: DocumentLimits
  /** Told what was thrown by accident; the caller sees none of it. */
  logUnexpected: (cause: unknown) => void
}

export interface GraphQLHandler {
  /** Whether the request is for the page of GraphiQL, which everybody may see. */
  isPage(request: Request): boolean
  /** Answers a request that was let in; any other gets only the page. */
  serve(request: Request, entered?: Entered): Promise<Response>
}

interface Entered {
  readonly admission: Admission
  readonly db: Database
}

/** Serves GraphQL over HTTP at `graphqlPath`: JSON by POST, queries by GET, and GraphiQL for browsers. */
export function createGraphQLHandler(options: GraphQLHandlerOptions): GraphQLHandler {
  const { graphiql, introspection, limits, logUnexpected } = options
  const mask = (error: unknown) => {
    const visit = currentVisit()
    const shown = withRequestId(maskError(error, logUnexpected, visit?.mayChange ?? false))
    if (visit) noteOutcome(visit, outcomes[shown.extensions.code as TopLevelCode])
    return introspection ? shown : withoutSuggestion(shown)
  }
  /** The page, which is the same for everybody. */
  let rendered: Promise<string> | undefined
  const yoga = createYoga<Partial<Entered>, GraphQLContext>({
    schema: watched(createSchema()),
    graphqlEndpoint: graphqlPath,
    context: (entered) => {
      const { admission, db } = entered as Entered
      const { account, permissions } = admission.caller
      const domain = { db, account, permissions }
      return { domain, loaders: createLoaders(domain) }
    },
    graphiql: graphiql && { title: 'Contacts gateway', defaultQuery: firstQuery },
    // The page is large and self-contained: it is loaded when first asked for, and asks no other machine for anything.
    renderGraphiQL: (page) => {
      rendered ??= import('@graphql-yoga/render-graphiql').then(({ renderGraphiQL }) => renderGraphiQL(page))
      return rendered
    },
    maskedErrors: { maskError: mask },
    plugins: [
      jsonOnly,
      naming,
      useDocumentLimits(limits),
      ...(introspection ? [] : [withoutIntrospection]),
      maskingAll(mask),
    ],
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    parserAndValidationCache: { documentCache: keepingShort(), errorCache: keepingShort() },
    // The server bounds the body before it comes here.
    maxRequestBodySize: false,
  })
  return {
    isPage: (request) => graphiql && request.method === 'GET' && !!request.headers.get('accept')?.includes('text/html'),
    serve: async (request, entered = {} as Entered) => yoga.fetch(request, entered),
  }
}

/** What a request has come to that was answered with an error of the code. */
const outcomes: Record<TopLevelCode, Outcome> = {
  BAD_USER_INPUT: 'refused',
  QUERY_TOO_COMPLEX: 'refused',
  UNAUTHENTICATED: 'unauthenticated',
  FORBIDDEN: 'forbidden',
  RATE_LIMITED: 'rate_limited',
  SERVICE_UNAVAILABLE: 'unavailable',
  TIMEOUT: 'timeout',
  INTERNAL_SERVER_ERROR: 'error',
}

/** Tells what a document is about, as soon as it is one. */
const naming: Plugin = {
  onValidate({ params: { documentAST }, context }) {
    const visit = currentVisit()
    if (!visit) return
    const { params } = context as { params?: { operationName?: string } }
    const operation = getOperationAST(documentAST, params?.operationName)
    visit.operation = operation?.name?.value
    visit.mayChange = operation?.operation === 'mutation'
  },
}

/** The schema, with the fields that an operation begins with telling what became of them. */
function watched(schema: GraphQLSchema): GraphQLSchema {
  const roots = [schema.getQueryType(), schema.getMutationType()]
  for (const field of roots.flatMap((type) => Object.values(type?.getFields() ?? {}))) {
    const { name, resolve = defaultFieldResolver } = field
    field.resolve = async (...given) => {
      const visit = currentVisit()
      const startedAt = performance.now()
      let isOk = false
      try {
        const result = await resolve(...given)
        isOk = true
        if (visit && isErrorResult(result)) noteOutcome(visit, 'refused')
        return result
      } finally {
        visit?.trace?.add('field', name, startedAt, performance.now() - startedAt, isOk)
      }
    }
  }
  return schema
}

/** Whether it is what a mutation answers instead of success: see results.ts. */
const isErrorResult = (result: unknown) =>
  !!(result as { __typename?: string } | null | undefined)?.__typename?.endsWith('Error')

/** Errors that callers may want to talk about with whoever can read the log. */
const traceable: ReadonlySet<unknown> = new Set<TopLevelCode>([
  'INTERNAL_SERVER_ERROR',
  'SERVICE_UNAVAILABLE',
  'TIMEOUT',
])

const requestIdFor = (code: unknown): { requestId?: string | undefined } =>
  traceable.has(code) ? { requestId: currentVisit()?.id } : {}

function withRequestId(error: GraphQLError): GraphQLError {
  const { message, nodes, source, positions, path, extensions } = error
  if (!traceable.has(extensions.code)) return error
  const all = { ...extensions, ...requestIdFor(extensions.code) }
  return new GraphQLError(message, { nodes, source, positions, path, extensions: all })
}

const keptDocuments = 200
const keptDocumentLength = 4096

/** Yoga remembers documents. A parsed one can take a megabyte, so that its default of 1,024 would fill the memory. */
function keepingShort<Value extends object>() {
  const kept = _createLRUCache<Value>({ max: keptDocuments })
  return {
    get: (document: string) => kept.get(document),
    set(document: string, value: Value) {
      if (document.length <= keptDocumentLength) kept.set(document, value)
    },
  }
}

const withoutIntrospection: Plugin = {
  onValidate({ addValidationRule }) {
    addValidationRule(NoSchemaIntrospectionCustomRule)
  },
}

/** Names that graphql suggests would tell the schema to those who may not ask for it. */
function withoutSuggestion(error: GraphQLError): GraphQLError {
  const message = error.message.replace(/\s*Did you mean .*$/s, '')
  if (message === error.message) return error
  const { nodes, source, positions, path, extensions } = error
  return new GraphQLError(message, { nodes, source, positions, path, extensions })
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
export function refuseGraphQL(
  status: number,
  message: string,
  code: TopLevelCode = 'BAD_USER_INPUT',
  headers: Record<string, string> = {},
): Response {
  return Response.json({ errors: [{ message, extensions: { code, ...requestIdFor(code) } }] }, { status, headers })
}

/** The answer to a request that took too long. */
export function refuseLate(error: DeadlineExceeded): Response {
  const { message } = maskError(error, () => {}, false)
  return refuseGraphQL(504, message, 'TIMEOUT', { 'retry-after': '1' })
}
