import { connect, createServer, type Server, type Socket } from 'node:net'
import { readMessages } from './messages.ts'

/** What the link between gateway and database does. */
export type LinkMode =
  | { kind: 'pass' }
  /** Nothing comes through in either direction, and nobody is told. What was on its way arrives when the link heals. */
  | { kind: 'stall' }
  /** Nobody listens. */
  | { kind: 'refuse' }
  | { kind: 'accept-and-close' }
  | { kind: 'reset' }
  /** Each connection ends after so many bytes toward the gateway, in the middle of whatever they are. */
  | { kind: 'cut'; bytes: number }
  /** A statement that holds the text is run to its end, but the connection is cut before its answer goes back. */
  | { kind: 'swallow-answer'; containing: string; times: number }

export interface LinkProxy {
  readonly port: number
  /** How many answers were swallowed since the mode was set. */
  readonly swallowed: number
  set(mode: LinkMode): Promise<void>
  close(): Promise<void>
}

/** A link that can be broken in every way: listens on a free port of 127.0.0.1, and connects to `target` there. */
export async function startProxy(target: { port: number }): Promise<LinkProxy> {
  let mode: LinkMode = { kind: 'pass' }
  let swallowed = 0
  const links = new Set<Link>()

  const mayPass = (link: Link) => {
    if (mode.kind === 'accept-and-close') link.end()
    else if (mode.kind === 'reset') link.reset()
    else return true
    return false
  }
  const accept = (near: Socket) => {
    const link = new Link(near, target.port, {
      onClose: () => links.delete(link),
      containing: () => (mode.kind === 'swallow-answer' && swallowed < mode.times ? mode.containing : undefined),
      onSwallowed: () => {
        swallowed += 1
      },
    })
    links.add(link)
    if (mayPass(link)) link.apply(mode)
  }

  let server = await listen(0, accept)
  const { port } = server.address() as { port: number }
  return {
    port,
    get swallowed() {
      return swallowed
    },
    async set(next) {
      const wasRefusing = mode.kind === 'refuse'
      mode = next
      swallowed = 0
      if (next.kind === 'refuse' && !wasRefusing) {
        const closed = new Promise((resolve) => server.close(resolve))
        for (const link of links) link.end()
        await closed
        return
      }
      if (next.kind !== 'refuse' && wasRefusing) server = await listen(port, accept)
      for (const link of links) if (mayPass(link)) link.apply(next)
    },
    async close() {
      for (const link of links) link.reset()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function listen(port: number, accept: (near: Socket) => void): Promise<Server> {
  const server = createServer({ noDelay: true }, accept)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return server
}

interface LinkEvents {
  onClose(): void
  /** The text whose answer is to be swallowed; undefined when none is. */
  containing(): string | undefined
  onSwallowed(): void
}

/** One connection of the gateway (near) with the one of ours to PostgreSQL (far). */
class Link {
  readonly #near: Socket
  readonly #far: Socket
  readonly #events: LinkEvents
  /** Bytes that may still go toward the gateway. */
  #bytesLeft = Number.POSITIVE_INFINITY
  /** What has come of messages that are not whole yet. */
  #nearRest: Buffer = Buffer.alloc(0)
  #farRest: Buffer = Buffer.alloc(0)
  #isStarted = false
  /** ReadyForQuery answers that are expected so far: one for the start, and one for each Sync or Query. */
  #asked = 1
  #answered = 0
  /** Whether the statement that is being sent holds the text. */
  #isMarked = false
  /** From which answer on nothing goes back; undefined where everything does. */
  #swallowAt: number | undefined

  constructor(near: Socket, targetPort: number, events: LinkEvents) {
    this.#near = near
    this.#events = events
    this.#far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    near.on('data', (chunk: Buffer) => this.#fromNear(chunk))
    this.#far.on('data', (chunk: Buffer) => this.#fromFar(chunk))
    // 'close' follows every error. What is still on its way to the other side arrives there before the end does, as it
    // would without a proxy: a statement whose caller has gone is run all the same.
    near.on('error', () => {})
    near.on('close', () => this.#far.end().resume())
    this.#far.on('error', () => near.resetAndDestroy())
    this.#far.on('close', () => {
      near.end()
      events.onClose()
    })
  }

  apply(mode: LinkMode): void {
    this.#bytesLeft = mode.kind === 'cut' ? mode.bytes : Number.POSITIVE_INFINITY
    for (const socket of [this.#near, this.#far]) {
      if (mode.kind === 'stall') socket.pause()
      else socket.resume()
    }
  }

  end(): void {
    this.#near.destroy()
    this.#far.destroy()
  }

  reset(): void {
    this.#near.resetAndDestroy()
    this.#far.destroy()
  }

  #fromNear(chunk: Buffer): void {
    this.#watchQuestions(chunk)
    this.#far.write(chunk)
  }

  #fromFar(chunk: Buffer): void {
    const isOver = this.#watchAnswers(chunk)
    if (isOver) {
      this.#events.onSwallowed()
      this.end()
      return
    }
    if (this.#swallowAt !== undefined || this.#bytesLeft <= 0) return
    const passing = chunk.subarray(0, this.#bytesLeft)
    this.#bytesLeft -= chunk.length
    if (this.#bytesLeft > 0) this.#near.write(passing)
    else this.#near.write(passing, () => this.end())
  }

  /** Looks for the text in what the gateway asks, and notes which answer will be the one to it. */
  #watchQuestions(chunk: Buffer): void {
    const { messages, rest } = readMessages(Buffer.concat([this.#nearRest, chunk]), !this.#isStarted)
    this.#nearRest = rest
    this.#isStarted ||= messages.length > 0
    const text = this.#events.containing()
    for (const { type, body } of messages) {
      if (text !== undefined && body.includes(text)) this.#isMarked = true
      if (type !== 'Sync' && type !== 'Query') continue
      this.#asked += 1
      if (this.#isMarked) this.#swallowAt ??= this.#asked
      this.#isMarked = false
    }
  }

  /** Whether the answer that is to be swallowed has come whole: then the statement has been committed. */
  #watchAnswers(chunk: Buffer): boolean {
    const { messages, rest } = readMessages(Buffer.concat([this.#farRest, chunk]), false)
    this.#farRest = rest
    this.#answered += messages.filter(({ type }) => type === 'ReadyForQuery').length
    return this.#swallowAt !== undefined && this.#answered >= this.#swallowAt
  }
}
