import { type Agent, type IncomingHttpHeaders, request } from 'node:http'

export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  headers?: Record<string, string>
  body?: unknown
}

/** How a request ended, as its caller saw it. */
export type Exchange = {
  /** From the first byte that was sent to the end. */
  ms: number
  /** Whether the gateway has said that it read the head, before which no body is sent; undefined where it was not asked. */
  hasBegun: boolean | undefined
} & (
  | { end: 'answered'; status: number; headers: IncomingHttpHeaders; text: string }
  /** The connection could not be made, or went away before the answer was whole. */
  | { end: 'cut'; code: string }
  | { end: 'unanswered' }
)

export interface SendOptions {
  agent: Agent
  /** When to give up. */
  limitMs: number
  /** Asks the gateway to tell that it has read the head, and sends the body so many milliseconds after that. */
  bodyDelayMs?: number | undefined
}

/** Sends a request, and never rejects. */
export function send(
  origin: string,
  { method, path, headers, body }: Call,
  { agent, limitMs, bodyDelayMs }: SendOptions,
): Promise<Exchange> {
  const text = body === undefined ? '' : JSON.stringify(body)
  const isAsking = bodyDelayMs !== undefined && text !== ''
  const startedAt = performance.now()
  let hasBegun = isAsking ? false : undefined
  return new Promise((resolve) => {
    const sent = request(origin + path, {
      method,
      agent,
      headers: {
        ...(text && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
        ...(isAsking && { expect: '100-continue' }),
        ...headers,
      },
    })
    const finish = (end: { end: 'unanswered' } | { end: 'cut'; code: string } | Omit<Answered, 'ms' | 'hasBegun'>) => {
      clearTimeout(timer)
      resolve({ ...end, ms: performance.now() - startedAt, hasBegun } as Exchange)
    }
    const timer = setTimeout(() => {
      finish({ end: 'unanswered' })
      sent.destroy()
    }, limitMs)
    const cut = (error: NodeJS.ErrnoException) => finish({ end: 'cut', code: error.code ?? error.message })
    sent.on('error', cut)
    sent.once('continue', () => {
      hasBegun = true
      setTimeout(() => sent.end(text), bodyDelayMs)
    })
    sent.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', cut)
      response.once('end', () => {
        const { statusCode = 0, headers: received } = response
        finish({ end: 'answered', status: statusCode, headers: received, text: Buffer.concat(chunks).toString() })
        // Refused by its head alone: the body is not wanted.
        if (!sent.writableEnded) sent.destroy()
      })
    })
    if (isAsking) sent.flushHeaders()
    else sent.end(text)
  })
}

type Answered = Extract<Exchange, { end: 'answered' }>
