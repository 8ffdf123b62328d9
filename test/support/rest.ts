import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'vitest'
import type { AppOptions } from '../../src/app.ts'
import type { Context } from '../../src/domain/context.ts'
import { openApiDocument, type DocumentPart as Part, resolvePart } from '../../src/rest/openapi.ts'
import { appFor } from './app.ts'

export interface RestAnswer {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
  body: any
}

export type CallRest = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<RestAnswer>

/** Calls the REST API for the account. A body that is a text is sent as it is. Every answer is held to the OpenAPI document. */
export function restFor(ctx: Context, given: Partial<AppOptions> = {}): CallRest {
  const { handle } = appFor(ctx, given)
  return async (method, path, body, headers = {}) => {
    const request = new Request(`http://127.0.0.1:4000/v1${path}`, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    })
    const response = await handle(request)
    const text = await response.text()
    const answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: text ? JSON.parse(text) : undefined,
    }
    holdToDocument(method, path, answer)
    return answer
  }
}

const document: Part = openApiDocument()
const ajv = new Ajv2020({ strict: false, allErrors: true })
addFormats.default(ajv)
ajv.addSchema({ $id: 'document', ...document })

const resolve = (part: Part) => resolvePart(document, part)

/** Holds an answer to what the document says of its call: status, headers and body. */
function holdToDocument(method: string, path: string, { status, headers, body }: RestAnswer): void {
  const operation = operationOf(method, path)
  if (!operation) {
    expect([204, 400, 404, 405]).toContain(status)
    if (status !== 204) expect(body).toEqual({ message: expect.any(String) })
    return
  }
  const response = resolve(operation.responses[status])
  expect(response, `${method} ${path} answered ${status}, of which the document does not speak`).toBeDefined()
  for (const name of Object.keys(response.headers ?? {})) expect(headers.get(name), `header ${name}`).not.toBeNull()
  const schema = response.content?.['application/json'].schema
  if (!schema || method === 'HEAD') {
    expect(body).toBeUndefined()
    return
  }
  const validate = ajv.compile(absolute(schema))
  expect(validate(body) || validate.errors, `${method} ${path} ${status}`).toBe(true)
}

/** References within the document, from a schema that stands alone. */
const absolute = (schema: Part): Part => JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"document#/'))

function operationOf(method: string, path: string): Part {
  const { pathname } = new URL(`http://127.0.0.1${path}`)
  const parts = pathname
    .replace(/\/$/, '')
    .replace(/\.json$/, '')
    .split('/')
  const [, item] =
    Object.entries(document.paths).find(([template]) => {
      const expected = template.split('/')
      return expected.length === parts.length && expected.every((part, i) => part.startsWith('{') || part === parts[i])
    }) ?? []
  return (item as Part)?.[method === 'HEAD' ? 'get' : method.toLowerCase()]
}
