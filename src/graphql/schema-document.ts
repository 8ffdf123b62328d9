import { isMatch, weakTagOf } from '../http/etag.ts'
import { type Incoming, jsonAnswer, type Outgoing } from '../http/message.ts'
import { createSchema, printSortedSchema } from './schema.ts'

export const schemaPath = '/schema.graphql'

interface SchemaDocumentOptions {
  introspection: boolean
  federation: boolean
}

/** Serves the schema as a text, where introspection is allowed. */
export function createSchemaDocument(options: SchemaDocumentOptions): (request: Incoming) => Outgoing {
  const { introspection, federation } = options
  let printed: { body: string; etag: string } | undefined
  const print = () => {
    const body = printSortedSchema(createSchema({ federation }))
    return { body, etag: weakTagOf(body) }
  }

  return ({ method, headers }) => {
    if (method !== 'GET' && method !== 'HEAD') {
      return jsonAnswer(405, { message: 'Method Not Allowed' }, { allow: 'GET, HEAD' })
    }
    if (!introspection) return jsonAnswer(403, { message: 'The schema is not shown: introspection is off.' })
    printed ??= print()
    const { body, etag } = printed
    if (isMatch(headers.get('if-none-match'), etag)) return { status: 304, headers: { etag } }
    // No media type is registered for schemas; as plain text, browsers show them.
    return { status: 200, headers: { etag, 'content-type': 'text/plain; charset=utf-8' }, body }
  }
}
