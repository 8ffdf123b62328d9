import { connect, type Socket } from 'node:net'
import type { Streamed } from '../../src/http/message.ts'

/** A server-sent event. */
export interface ServerEvent {
  id?: string
  event?: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into data of many shapes
  data?: any
}

export interface EventReader {
  readonly status: number
  readonly headers: Headers
  /** The next event, passing over comments; undefined at the end. */
  next(): Promise<ServerEvent | undefined>
  /** All that come before the end. */
  rest(): Promise<ServerEvent[]>
  /** Goes away. */
  close(): void
}

/** Opens a stream of server-sent events, read as browsers read them. */
export async function readEvents(url: string, init: RequestInit = {}): Promise<EventReader> {
  const going = new AbortController()
  const headers = { accept: 'text/event-stream', ...(init.headers as Record<string, string>) }
  const response = await fetch(url, { ...init, headers, signal: going.signal })
  const texts = response.body!.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]()
  let text = ''
  const next = async (): Promise<ServerEvent | undefined> => {
    for (;;) {
      const end = text.indexOf('\n\n')
      if (end >= 0) {
        const event = eventIn(text.slice(0, end))
        text = text.slice(end + 2)
        if (event) return event
        continue
      }
      const { value, done } = await texts.next()
      if (done) return undefined
      text += value
    }
  }
  return {
    status: response.status,
    headers: response.headers,
    next,
    async rest() {
      const events: ServerEvent[] = []
      for (let event = await next(); event; event = await next()) events.push(event)
      return events
    },
    close: () => going.abort(),
  }
}

function eventIn(lines: string): ServerEvent | undefined {
  const fields: ServerEvent = {}
  for (const line of lines.split('\n')) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
    if (name === 'data') fields.data = value ? JSON.parse(value) : null
    else if (name === 'id' || name === 'event') fields[name] = value!
  }
  return Object.keys(fields).length > 0 ? fields : undefined
}

/** A connection as it is, with all that came on it. */
export function openRaw(url: string) {
  const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1')
  const told = { text: '' }
  socket.on('data', (data) => {
    told.text += data.toString('latin1')
  })
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { socket, told, closed }
}

/** A stream that brings what it is given, and tells what becomes of it. */
export class TestStream implements Streamed {
  readonly heartbeat = ':\n\n'
  returned = 0
  pulled = 0
  #waiting: (string | undefined)[] = []
  #wake = () => {}

  push(...chunks: string[]): this {
    this.#waiting.push(...chunks)
    this.#wake()
    return this
  }

  /** Nothing comes after what was pushed. */
  end(): this {
    this.#waiting.push(undefined)
    this.#wake()
    return this
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    this.pulled += 1
    while (this.#waiting.length === 0 && this.returned === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const value = this.#waiting.shift()
    return value === undefined ? over : { value, done: false }
  }

  async return() {
    this.returned += 1
    this.#wake()
    return over
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

const over = { value: undefined, done: true } as const
