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
  /** Instead of a body: what is sent as it comes, for as long as somebody reads. */
  readonly stream?: Streamed | undefined
}

/** Whoever has one is to go through it, or to `return` it: something is kept open for it. */
export interface Streamed extends AsyncIterableIterator<string | Uint8Array> {
  /** Ends it, also while something is awaited of it. */
  return(): Promise<IteratorReturnResult<undefined>>
  /** Sent every now and then, so that whatever is in between keeps the connection. */
  readonly heartbeat: string
}

export interface Parts {
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

/**
 * A class, as everything that is made for each request and has accessors: each literal with accessors gets a hidden class of
 * its own, which keeps all it refers to until the old space is tidied.
 */
class HttpRequest implements Incoming {
  readonly method: string
  readonly pathname: string
  readonly hasQuery: boolean
  readonly headers: RequestHeaders
  readonly body: string
  readonly address: string
  readonly #href: string
  #url: URL | undefined

  constructor({ method, origin, target, fields, body, address }: Parts) {
    const queryAt = target.indexOf('?')
    const path = queryAt < 0 ? target : target.slice(0, queryAt)
    this.#href = origin + target
    this.method = method
    this.pathname = plainPath.test(path) ? path : this.url.pathname
    this.hasQuery = queryAt >= 0
    this.headers = new Fields(fields)
    this.body = body
    this.address = address
  }

  get url(): URL {
    this.#url ??= new URL(this.#href)
    return this.#url
  }
}

class Fields implements RequestHeaders {
  readonly #fields: Parts['fields']

  constructor(fields: Parts['fields']) {
    this.#fields = fields
  }

  get(name: string): string | null {
    return joined(this.#fields[name]) ?? null
  }

  *entries(): Iterable<[string, string]> {
    for (const name in this.#fields) yield [name, joined(this.#fields[name])!]
  }
}

export const createIncoming = (parts: Parts): Incoming => new HttpRequest(parts)

/** The request as one that takes an answer of this type alone. */
export function accepting(
  { method, pathname, hasQuery, headers, body, address, url }: Incoming,
  type: string,
): Incoming {
  const others = {
    get: (name: string) => (name === 'accept' ? type : headers.get(name)),
    *entries(): Iterable<[string, string]> {
      for (const [name, value] of headers.entries()) if (name !== 'accept') yield [name, value]
      yield ['accept', type]
    },
  }
  return { method, pathname, hasQuery, headers: others, body, address, url }
}

const joined = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(', ') : value)

const jsonType = 'application/json; charset=utf-8'

export function jsonAnswer(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Outgoing {
  return { status, headers: { ...headers, 'content-type': jsonType }, body: JSON.stringify(value) }
}
