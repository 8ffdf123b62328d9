import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, Limiter, type Limits } from './limiter.ts'
import { readLinks } from './link.ts'

/** The other side cannot be read. The message is for who runs the command, and never holds the token. */
export class SourceError extends Error {}

/** It does not let us in: asking again does not help. */
export class SourceRefused extends SourceError {}

/** What the command is told cannot be: an address, a token. */
export class SourceSettingError extends Error {}

export interface ClientOptions {
  /** Where the API begins, e.g. `https://api.example.com/v1`. */
  url: string
  token?: string
  /** The account on the other side. */
  account?: string
  /** Whether the token may go over the net in the clear. */
  allowHttp?: boolean
  limits?: Limits
  /** How long one request may take, with its answer. */
  timeoutMs?: number
  clock?: Clock
  /** From 0 to 1. */
  random?: () => number
  /** Hears why there is a wait before a request is sent again. */
  onRetry?(reason: string, waitMs: number): void
}

export interface Answer {
  status: 200 | 304 | 400 | 404
  /** As JSON tells it; undefined where it is none and need not be. */
  body: unknown
  etag: string | null
  /** The next page. */
  next: URL | undefined
  /** How many entries all pages have. */
  total: number | undefined
  perPage: number | undefined
}

export interface Asked {
  signal: AbortSignal
  /** Of an answer that is known. */
  etag?: string | null
}

export const defaultLimits = { requestsPerHour: 3600, burst: 20, concurrency: 4 }

/** The limits of the vendor: so many in an hour, and so many within two seconds. */
export const limitsOf = ({ requestsPerHour, burst, concurrency }: typeof defaultLimits): Limits => ({
  windows: [
    { requests: burst, ms: 2_000 },
    { requests: requestsPerHour, ms: 3_600_000 },
  ],
  concurrency,
})

const maxRetries = 8
const defaultTimeoutMs = 30_000
const firstWaitMs = 500
const longestWaitMs = 60_000
/** The limits of the source are by the hour. */
const longestPauseMs = 3_600_000
const maxBodyBytes = 10 * 1024 * 1024

const realClock: Clock = {
  now: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await sleep(ms, undefined, { signal })
    } catch {
      signal.throwIfAborted()
    }
  },
}

/** What came of one attempt: an answer, or why to try again. */
type Outcome = { answer: Answer } | { reason: string; pauseMs: number | undefined }

/** Reads from a REST API, within the limits that it has, and again where that may help. */
export class Client {
  /** Where the API begins. */
  readonly base: URL
  /** How many requests were sent, and how many of them told that nothing has changed. */
  requests = 0
  notModified = 0
  readonly #limiter: Limiter
  readonly #clock: Clock
  readonly #token: string | undefined
  readonly #headers: Record<string, string>
  readonly #timeoutMs: number
  readonly #random: () => number
  readonly #onRetry: ClientOptions['onRetry']

  constructor(options: ClientOptions) {
    const { url, token, account, allowHttp = false, limits = limitsOf(defaultLimits), clock = realClock } = options
    this.base = readBase(url, allowHttp)
    this.#headers = {
      accept: 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${readToken(token)}` }),
      ...(account !== undefined && { 'x-xurrent-account': readAccount(account) }),
    }
    this.#token = token
    this.#limiter = new Limiter(limits, clock)
    this.#clock = clock
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs
    this.#random = options.random ?? Math.random
    this.#onRetry = options.onRetry
  }

  /** The address of a path beneath the base. */
  at(path: string): URL {
    return new URL(this.base.href + path)
  }

  /** Asks for one address. Throws a SourceError where no answer is to be had, or the reason of the signal. */
  async get(target: URL, { signal, etag }: Asked): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#limiter.run(() => this.#attempt(target, signal, etag), signal)
      if ('answer' in outcome) return outcome.answer
      const { reason, pauseMs } = outcome
      if (attempt > maxRetries) throw new SourceError(`${this.describe(target)} ${reason}, ${attempt} times in a row.`)
      const waitMs = pauseMs ?? this.#backOff(attempt)
      this.#onRetry?.(`${this.describe(target)} ${reason}`, waitMs)
      // A pause is held by the limiter, for all requests.
      if (pauseMs === undefined) await this.#clock.sleep(waitMs, signal)
    }
  }

  /** The pages of a list, from its first one. Only that one can be known by its tag. */
  async *pages(first: URL, { signal, etag }: Asked): AsyncGenerator<Answer, void> {
    const seen = new Set<string>()
    let asked: Asked = { signal, etag }
    for (let target: URL | undefined = first; target; asked = { signal }) {
      if (seen.has(target.href)) throw new SourceError(`${this.describe(target)} is a page that leads back to itself.`)
      seen.add(target.href)
      const answer: Answer = await this.get(target, asked)
      yield answer
      target = answer.next
    }
  }

  /** A text of the other side, fit to be printed. */
  quote(text: string): string {
    const open = this.#token ? text.replaceAll(this.#token, '…') : text
    return open.slice(0, longestQuote).replaceAll(/[\p{Cc}\p{Cs}]+/gu, ' ')
  }

  describe({ origin, pathname, search }: URL): string {
    return this.quote(`GET ${origin}${pathname}${search}`)
  }

  async #attempt(target: URL, signal: AbortSignal, etag: string | null | undefined): Promise<Outcome> {
    const timeout = AbortSignal.timeout(this.#timeoutMs)
    const headers = etag ? { ...this.#headers, 'if-none-match': etag } : this.#headers
    this.requests += 1
    try {
      // The token would go wherever a redirect leads.
      const response = await fetch(target, { headers, redirect: 'manual', signal: AbortSignal.any([signal, timeout]) })
      const bytes = await readBody(response, () => this.describe(target))
      return this.#judge(target, response, bytes, Boolean(etag))
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof SourceError) throw error
      if (timeout.aborted) return { reason: `took longer than ${this.#timeoutMs} ms`, pauseMs: undefined }
      return { reason: this.quote(`failed (${causeOf(error)})`), pauseMs: undefined }
    }
  }

  #judge(target: URL, response: Response, bytes: Buffer, hasTag: boolean): Outcome {
    const { status, headers } = response
    if (status === 401 || status === 403) throw new SourceRefused(refusals[status])
    if (status === 429 || status >= 500) {
      const pauseMs = readRetryAfter(headers)
      if (pauseMs !== undefined && (status === 429 || status === 503)) {
        this.#limiter.pause(pauseMs)
        return { reason: `answered ${status}`, pauseMs }
      }
      return { reason: `answered ${status}`, pauseMs: undefined }
    }
    if (status !== 200 && status !== 400 && status !== 404 && !(status === 304 && hasTag)) {
      const more = redirects.has(status) ? ': redirects are not followed, since the token would go along' : ''
      throw new SourceError(`${this.describe(target)} answered ${status}${more}.`)
    }
    if (status === 304) this.notModified += 1
    const body = parseJson(bytes)
    if (status === 200 && body === undefined)
      return { reason: 'answered what is not JSON, or not all of it', pauseMs: undefined }
    return {
      answer: {
        status,
        body,
        etag: headers.get('etag'),
        next: status === 200 ? this.#nextOf(target, headers.get('link')) : undefined,
        total: readCount(headers.get('x-pagination-total-entries')),
        perPage: readCount(headers.get('x-pagination-per-page')),
      },
    }
  }

  #nextOf(target: URL, link: string | null): URL | undefined {
    const next = readLinks(link ?? '').get('next')
    if (next === undefined) return undefined
    const url = URL.parse(next, target)
    if (url?.origin === this.base.origin && !url.username && !url.password) return url
    throw new SourceError(
      `${this.describe(target)} names a next page elsewhere (${url ? this.quote(url.origin) : 'not an address'}): it is not followed, since the token would go along.`,
    )
  }

  /** Twice as long each time, the second half of it by chance, so that not all come back at once. */
  #backOff(attempt: number): number {
    const ms = Math.min(firstWaitMs * 2 ** (attempt - 1), longestWaitMs)
    return ms * (0.5 + this.#random() / 2)
  }
}

const longestQuote = 200

const redirects = new Set([301, 302, 303, 307, 308])

const refusals = {
  401: 'The source did not accept the token (401): check PULL_TOKEN.',
  403: 'The source does not let the token read this (403): check what it may do, and the account there (--remote-account).',
}

const loopback = /^(?:localhost|(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])$/

/** The address itself is not repeated where it may hold a secret. */
function readBase(text: string, allowHttp: boolean): URL {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new SourceSettingError('The address to pull from must be as https://api.example.com/v1.')
  if (url.username || url.password)
    throw new SourceSettingError('The address must hold no user name or password: the token comes by PULL_TOKEN.')
  if (url.search || url.hash) throw new SourceSettingError('The address must end with its path: no "?" and no "#".')
  if (url.protocol === 'http:' && !allowHttp && !loopback.test(url.hostname))
    throw new SourceSettingError(
      `The token would go to ${url.host} in the clear: use https, or say --allow-http if you mean it.`,
    )
  url.pathname = url.pathname.replace(/\/+$/, '') || '/v1'
  return url
}

function readToken(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw new SourceSettingError('PULL_TOKEN is empty or holds what no token has, as a space or a line break.')
}

function readAccount(account: string): string {
  if (/^[\x20-\x7e]+$/.test(account) && account === account.trim()) return account
  throw new SourceSettingError('The account on the other side is empty or holds what no name of an account has.')
}

async function readBody(response: Response, describe: () => string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > maxBodyBytes) throw new SourceError(`${describe()} answered with more than ${maxBodyBytes} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Undefined where it is not JSON. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

/** Milliseconds; undefined where there is nothing to wait for, or no way to tell how long. */
function readRetryAfter(headers: Headers): number | undefined {
  const given = headers.get('retry-after')?.trim() ?? ''
  // By the clock of the other side: ours may be another.
  const now = Date.parse(headers.get('date') ?? '') || Date.now()
  const ms = /^\d+$/.test(given) ? Number(given) * 1000 : Date.parse(given) - now
  return ms > 0 ? Math.min(ms, longestPauseMs) : undefined
}

const readCount = (given: string | null) => (given !== null && /^\d{1,15}$/.test(given) ? Number(given) : undefined)

/** Codes tell most; what wraps them says "fetch failed". */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.cause instanceof Error ? causeOf(error.cause) : error.message
}
