import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json as readJson } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect } from 'vitest'
import type { Answer, Execute } from './graphql.ts'

const program = fileURLToPath(new URL('../../bin/gateway.js', import.meta.url))

/** A start of the program, as a process of its own. */
export interface Gateway {
  readonly pid: number
  /** What it has printed so far. */
  readonly stdout: string
  readonly stderr: string
  /** How it ended, once all it printed has been read. */
  readonly exited: Promise<Exit>
  /** The address of GraphQL, once it serves. Rejects when it ends before. */
  ready(): Promise<string>
  /** Resolves when what it printed, on either stream, matches. Rejects when it ends before. */
  printed(pattern: RegExp): Promise<RegExpMatchArray>
  signal(signal: NodeJS.Signals): void
  /** Ends it by SIGTERM, and tells how it ended. */
  stop(): Promise<Exit>
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface StartOptions {
  /** All of its environment, besides a port that is free. */
  env?: Record<string, string>
  /** Where `.data` goes; a new folder without it. */
  cwd?: string
  /** Which Node runs it, and with which options. */
  node?: string
  nodeOptions?: string[]
}

export interface Gateways {
  start(args?: string[], options?: StartOptions): Promise<Gateway>
  /** Starts it and waits until it serves. */
  serve(options?: StartOptions): Promise<{ gateway: Gateway; url: string }>
  /** Starts a command and waits until it ends. */
  run(args: string[], options?: StartOptions): Promise<Exit & { stdout: string; stderr: string }>
  /** An empty folder that is removed after the test. */
  folder(): Promise<string>
}

/** Processes of the gateway for the tests of a file. Whatever a test has started and made is gone after it. */
export function useGateways(): Gateways {
  const started: Gateway[] = []
  const folders: string[] = []

  afterEach(async () => {
    for (const gateway of started) gateway.signal('SIGKILL')
    await Promise.all(started.splice(0).map(({ exited }) => exited))
    await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true })))
  })

  const folder = async () => {
    const made = await mkdtemp(join(tmpdir(), 'contacts-gateway-'))
    folders.push(made)
    return made
  }
  const start = async (args: string[] = [], options: StartOptions = {}) => {
    const gateway = spawnGateway(args, { ...options, cwd: options.cwd ?? (await folder()) })
    started.push(gateway)
    return gateway
  }
  return {
    folder,
    start,
    async serve(options) {
      const gateway = await start([], options)
      return { gateway, url: await gateway.ready() }
    },
    async run(args, options) {
      const gateway = await start(args, options)
      const exit = await gateway.exited
      return { ...exit, stdout: gateway.stdout, stderr: gateway.stderr }
    },
  }
}

function spawnGateway(args: string[], { env, cwd, node = process.execPath, nodeOptions = [] }: StartOptions): Gateway {
  const child = spawn(node, [...nodeOptions, program, ...args], {
    cwd,
    // Other tests keep the machine busy: that is no reason to refuse the requests of this one.
    env: { PATH: process.env.PATH, PORT: '0', MAX_EVENT_LOOP_DELAY: '60000', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  let exit: Exit | undefined
  const changed = () => {
    for (const watch of watchers) watch()
  }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      changed()
    })
  }
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    // Not 'exit': after that there may still be output to read.
    child.once('close', (code, signal) => {
      exit = { code, signal }
      resolve(exit)
      changed()
    })
  })

  const gateway: Gateway = {
    pid: child.pid!,
    get stdout() {
      return output.stdout
    },
    get stderr() {
      return output.stderr
    },
    exited,
    async ready() {
      return (await gateway.printed(/ready: (http:\/\/\S+)\n/))[1]!
    },
    printed(pattern) {
      return new Promise((resolve, reject) => {
        const watch = () => {
          const match = output.stdout.match(pattern) ?? output.stderr.match(pattern)
          if (!match && !exit) return
          watchers.delete(watch)
          if (match) resolve(match)
          else reject(new Error(`It ended (${exit!.code ?? exit!.signal}):\n${output.stdout}${output.stderr}`))
        }
        watchers.add(watch)
        watch()
      })
    },
    signal: (signal) => {
      child.kill(signal)
    },
    stop() {
      child.kill('SIGTERM')
      return exited
    },
  }
  return gateway
}

export interface LogLine {
  level: number
  msg: string
  [key: string]: unknown
}

/** What it has logged, line by line. */
export function linesOf({ stderr }: Pick<Gateway, 'stderr'>): LogLine[] {
  return stderr
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

/** What it has logged that is worth a look. */
export const warningsOf = (gateway: Pick<Gateway, 'stderr'>) => linesOf(gateway).filter(({ level }) => level > 30)

/** Executes documents by HTTP at the address. */
export function executeAt(url: string): Execute {
  return async (query, variables) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    })
    return (await response.json()) as Answer
  }
}

export interface RequestInProgress {
  /** Sends what is left of the request, and reads the answer. */
  finish(): Promise<{ status: number; headers: IncomingHttpHeaders; answer: Answer }>
}

/** A request that the gateway is working on for certain: it has read the head, and waits for the body. */
export function beginRequest(url: string, query: string, options: { agent?: Agent } = {}): Promise<RequestInProgress> {
  const body = JSON.stringify({ query })
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      ...options,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        // The gateway tells that it has read the head.
        expect: '100-continue',
      },
    })
    const answered = new Promise<IncomingMessage>((resolveAnswered, rejectAnswered) => {
      sent.once('response', resolveAnswered)
      sent.once('error', rejectAnswered)
    })
    answered.catch(reject)
    sent.once('continue', () =>
      resolve({
        async finish() {
          sent.end(body)
          const response = await answered
          return {
            status: response.statusCode!,
            headers: response.headers,
            answer: (await readJson(response)) as Answer,
          }
        },
      }),
    )
    sent.flushHeaders()
  })
}

/** A connection that was used and is kept for another request. */
export async function keptConnection(url: string): Promise<{ closed: Promise<void> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  // Cut or ended: it is closed either way.
  socket.on('error', () => {})
  socket.write('GET /nowhere HTTP/1.1\r\nhost: gateway\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  return { closed }
}

export type Part = string | Buffer

export interface RawAnswer {
  /** Undefined where the server has closed without a word. */
  status: number | undefined
  head: string
  /** The body, where it is JSON. */
  json: unknown
  text: string
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/**
 * Sends bytes as they are, all of them before it looks for the answer, and reads until the server closes. Holds that the
 * answer tells nothing of stacks and paths.
 */
export async function exchange({ url }: { url: string }, parts: Part[], { page = false } = {}): Promise<RawAnswer> {
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.once('error', reject)
    const chunks: Buffer[] = []
    const send = async () => {
      for (const part of parts) {
        if (!socket.write(part)) await new Promise((drained) => socket.once('drain', drained))
        // Lets each part leave by itself.
        await setImmediate()
      }
      socket.on('data', (chunk) => chunks.push(chunk))
      socket.once('end', () => resolve(Buffer.concat(chunks).toString()))
    }
    socket.once('connect', () => void send())
  })
  // A page brings programs along, which look like anything.
  if (!page) expect(text).not.toMatch(/\n\s+at |\\n\s+at |node_modules|file:\/\/|\.[jt]s:\d/)
  const end = text.indexOf('\r\n\r\n')
  const body = text.slice(end + 4)
  return {
    status: text ? Number(text.split(' ', 2)[1]) : undefined,
    head: text.slice(0, end),
    json: parse(body),
    text,
  }
}
