import type { OpenStream } from '../auth/streams.ts'
import type { Context } from '../domain/context.ts'
import { isMatch, weakTagOf } from '../http/etag.ts'
import { eventStreamHeaders } from '../http/event-stream.ts'
import { type Incoming, jsonAnswer, type Outgoing, type RequestHeaders, type Streamed } from '../http/message.ts'
import type { Feed } from '../live/feed.ts'
import { parseObject } from './body.ts'
import { invalidJson, plainError, type RestError, toRestError } from './errors.ts'
import { readOnce } from './once.ts'

export const restPath = '/v1'

/** What a handler is told. */
export interface Call {
  readonly ctx: Context
  readonly url: URL
  readonly headers: RequestHeaders
  /** The named parts of the path, decoded. */
  readonly params: Readonly<Record<string, string>>
  /** The JSON object that was sent; empty for calls that take none. */
  readonly body: Readonly<Record<string, unknown>>
  readonly feed: Feed
  /** Counts a stream in. Throws what `toEntryRefusal` puts into words. */
  openStream(): OpenStream
  /** Told what was thrown by accident while a stream was read. */
  logUnexpected(cause: unknown): void
}

export interface Reply {
  readonly status: 200 | 201 | 204
  /** Sent as JSON; a text as it is where the route is of another type. */
  readonly body?: unknown
  /** Instead of a body, where the route brings events. */
  readonly stream?: Streamed
  readonly headers?: Record<string, string>
  /** The strong tag of the one object that is sent. Whatever else is read gets a weak tag of its content. */
  readonly etag?: string
}

type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'

export interface Route {
  readonly method: Method
  /** Beneath `restPath`; a part that begins with a colon is a parameter. */
  readonly path: string
  /** The media type of its answers, unless it is JSON. */
  readonly type?: 'text/html' | 'text/event-stream'
  /** Whether everybody may call it: it shows no data. */
  readonly isOpen?: boolean
  handle(call: Call): Promise<Reply> | Reply
}

const withBody: readonly string[] = ['POST', 'PATCH', 'PUT'] satisfies Method[]

export interface RouterOptions {
  routes: readonly Route[]
  /** Where streams have their changes from. */
  feed: Feed
  /** Told what was thrown by accident; the caller sees none of it. */
  logUnexpected: (cause: unknown) => void
}

export interface Router {
  /** Finds what a request is for. */
  find(request: Incoming): Found
}

/** What a request was found to be for; it may be nothing. */
export interface Found {
  /** The route, e.g. `GET /organizations/:organization_id`; undefined where there is none. */
  readonly name: string | undefined
  /** Whether everybody may see it. */
  readonly isOpen: boolean
  /** Answers on behalf of a caller; without one only what is open. */
  serve(caller: CallerOf | undefined): Promise<Outgoing>
}

/** On whose behalf a call is served. */
export interface CallerOf {
  readonly ctx: Context
  /** Throws what `toEntryRefusal` puts into words. */
  openStream(): OpenStream
}

/** Serves a table of routes: every answer is JSON, also every refusal. */
export function createRouter({ routes, feed, logUnexpected }: RouterOptions): Router {
  const table = routes.map((route) => ({ route, parts: route.path.split('/').slice(1) }))

  const matchesOf = (parts: readonly string[]): Match[] => {
    const matches: Match[] = []
    for (const { route, parts: pattern } of table) {
      const params = match(pattern, parts)
      if (params) matches.push({ route, params })
    }
    // What is named stands before what may be anything.
    const fewest = Math.min(...matches.map(({ params }) => Object.keys(params).length))
    return matches.filter(({ params }) => Object.keys(params).length === fewest)
  }

  return {
    find(request) {
      const parts = partsOf(request.pathname)
      const matches = parts && matchesOf(parts)
      const found = matches?.find(({ route }) => route.method === wantedBy(request.method))
      return {
        name: found && `${found.route.method} ${found.route.path}`,
        isOpen: request.method === 'OPTIONS' || !matches || matches.every(({ route }) => route.isOpen),
        async serve(caller) {
          try {
            return await answer(request, matches, found, caller, { feed, logUnexpected })
          } catch (error) {
            const known = toRestError(error)
            if (!known || known.status >= 503) logUnexpected(error)
            return errorAnswer(known ?? plainError(500))
          }
        },
      }
    },
  }
}

/** A route of the path, whatever its method. */
interface Match {
  readonly route: Route
  readonly params: Record<string, string>
}

async function answer(
  request: Incoming,
  matches: readonly Match[] | undefined,
  found: Match | undefined,
  caller: CallerOf | undefined,
  surroundings: Pick<Call, 'feed' | 'logUnexpected'>,
): Promise<Outgoing> {
  if (!matches) throw plainError(400)
  if (matches.length === 0) throw plainError(404)
  if (request.method === 'OPTIONS') return { status: 204, headers: { allow: allowedMethods(matches) } }
  if (!found) throw plainError(405, { allow: allowedMethods(matches) })
  const { route, params } = found
  const type = route.type ?? 'application/json'
  const { headers, url } = request
  if (!accepts(headers.get('accept'), type)) throw plainError(406)
  const body = withBody.includes(route.method) ? readBody(request) : {}
  const asked = [route.method, route.path, params, headers.get('if-match'), body]
  const once = route.method === 'GET' ? undefined : readOnce(headers, asked)
  // What is open looks at no caller.
  const { ctx, openStream } = caller ?? ({} as CallerOf)
  const call = { ctx: once ? { ...ctx, once } : ctx, url, headers, params, body, openStream, ...surroundings }
  return toAnswer(request, await route.handle(call), type)
}

/** HEAD is answered as GET is. */
const wantedBy = (method: string) => (method === 'HEAD' ? 'GET' : method)

export function errorAnswer({ status, body, headers }: RestError): Outgoing {
  return jsonAnswer(status, body, headers)
}

/** The parts of a path beneath `restPath`, without a slash at the end and without `.json`; undefined where it is none. */
function partsOf(pathname: string): string[] | undefined {
  const path = pathname
    .slice(restPath.length + 1)
    .replace(/\/$/, '')
    .replace(/\.json$/, '')
  try {
    return path.split('/').map(decodeURIComponent)
  } catch {
    return undefined
  }
}

function match(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) return undefined
  const params: Record<string, string> = {}
  for (const [i, expected] of pattern.entries()) {
    const part = parts[i]!
    if (expected.startsWith(':')) params[expected.slice(1)] = part
    else if (expected !== part) return undefined
  }
  return params
}

function allowedMethods(matches: readonly Match[]): string {
  const methods = matches.flatMap(({ route: { method } }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  return [...methods, 'OPTIONS'].join(', ')
}

/** Whether the caller takes the media type: no Accept header takes anything, and the most specific range decides. */
function accepts(accept: string | null, wanted: string): boolean {
  if (!accept?.trim()) return true
  const ranges = new Map(
    accept
      .toLowerCase()
      .split(',')
      .map((range) => {
        const [type = '', ...parameters] = range.split(';').map((part) => part.trim())
        return [type, !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))]
      }),
  )
  return ranges.get(wanted) ?? ranges.get(wanted.replace(/\/.*/, '/*')) ?? ranges.get('*/*') ?? false
}

function readBody(request: Incoming): Record<string, unknown> {
  const [type = '', ...parameters] = (request.headers.get('content-type') ?? '').toLowerCase().split(';')
  const charset = parameters.map((parameter) => parameter.trim()).find((parameter) => parameter.startsWith('charset='))
  if (type.trim() !== 'application/json' || (charset && !/^charset="?utf-8"?$/.test(charset))) throw plainError(415)
  const body = parseObject(request.body)
  if (!body) throw invalidJson()
  return body
}

function toAnswer(request: Incoming, { status, body, stream, headers, etag }: Reply, type: string): Outgoing {
  if (stream) return { status, headers: { ...headers, ...eventStreamHeaders }, stream }
  if (status === 204) return { status, headers: headers ?? {} }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  // A page whose links or total have changed is another one, although its rows are the same.
  const tag = etag ?? weakTagOf([text, ...Object.values(headers ?? {})].join('\n'))
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  if (isRead && isMatch(request.headers.get('if-none-match'), tag)) {
    return { status: 304, headers: { ...headers, etag: tag } }
  }
  return { status, headers: { ...headers, etag: tag, 'content-type': `${type}; charset=utf-8` }, body: text }
}
