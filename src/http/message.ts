// Requests and answers as they pass through the gateway: plain objects, since those of the platform cost more than many a
// query.

export interface Incoming {
  readonly method: string
  /** Of the URL, normalized, without the query. */
  readonly pathname: string
  /** Whether there is a question mark after the path. */
  readonly hasQuery: boolean
  readonly headers: RequestHeaders
  /** Empty where there is none. */
  readonly body: string
  /** Where it comes from. */
  readonly address: string
  /** With the origin under which the caller knows us. */
  readonly url: URL
}

export interface RequestHeaders {
  /** The value of a field by its lower-case name. */
  get(name: string): string | null
  /** All fields, as pairs of name and value. */
  entries(): Iterable<[string, string]>
}

/** Names of headers are in lower case. */
export interface Outgoing {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** What GET would bring, also for HEAD: the server leaves it out. */
  readonly body?: string | Uint8Array | undefined
}

interface Parts {
  method: string
  /** E.g. `http://127.0.0.1:4000`. */
  origin: string
  /** Path and query; `URL.canParse` of origin and target holds. */
  target: string
  /** As `node:http` has read them. */
  fields: Readonly<Record<string, string | string[] | undefined>>
  body: string
  address: string
}

/** What `new URL` would leave as it is. */
const plainPath = /^(?:\/[\w-][\w.-]*)+$/

export function createIncoming({ method, origin, target, fields, body, address }: Parts): Incoming {
  const queryAt = target.indexOf('?')
  const path = queryAt < 0 ? target : target.slice(0, queryAt)
  let url: URL | undefined
  const urlOf = () => (url ??= new URL(origin + target))
  const isPlain = plainPath.test(path)
  return {
    method,
    pathname: isPlain ? path : urlOf().pathname,
    hasQuery: queryAt >= 0,
    headers: {
      get: (name) => joined(fields[name]) ?? null,
      *entries() {
        for (const name in fields) yield [name, joined(fields[name])!]
      },
    },
    body,
    address,
    get url() {
      return urlOf()
    },
  }
}

const joined = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(', ') : value)

const jsonType = 'application/json; charset=utf-8'

export function jsonAnswer(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Outgoing {
  return { status, headers: { ...headers, 'content-type': jsonType }, body: JSON.stringify(value) }
}
