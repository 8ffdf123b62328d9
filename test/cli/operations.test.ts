import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net'
import { json as readJson } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { beginRequest, executeAt, linesOf, type StartOptions, useGateways, warningsOf } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()
const inMemory = { DATABASE_URL: 'pglite:memory' }
const serve = (env: Record<string, string> = {}, options: StartOptions = {}) =>
  gateways.serve({ ...options, env: { ...inMemory, ...env } })

/** Runs before the program, and prints the packages that it loads when it ends. */
const tellPackages = [
  '--import',
  `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module'
    const loaded = new Set()
    registerHooks({
      resolve(specifier, context, next) {
        const resolved = next(specifier, context)
        const [, name] = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(resolved.url) ?? []
        if (name) loaded.add(name)
        return resolved
      },
    })
    process.on('exit', () => console.log('packages: ' + [...loaded].join(' ')))
  `)}`,
]
const packagesOf = ({ stdout }: { stdout: string }) => /^packages: (.*)$/m.exec(stdout)![1]!.split(' ')

describe('probes', () => {
  it('tell that it serves, and that requests may come', async () => {
    const { url } = await serve()

    const answers = await Promise.all(
      ['/health/live', '/health/ready', '/health/nothing'].map(async (path) => {
        const response = await fetch(new URL(path, url))
        return [response.status, await response.json()]
      }),
    )
    const head = await fetch(new URL('/health/ready', url), { method: 'HEAD' })

    expect(answers).toEqual([
      [200, { status: 'live' }],
      [200, { status: 'ready', database: 'up' }],
      [404, { message: 'Not Found' }],
    ])
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('need no token, and no place within a limit', async () => {
    const { url } = await serve({ AUTH: 'token', RATE_LIMIT: 'on', RATE_LIMIT_REQUESTS: '1', MAX_REQUESTS: '1' })
    await beginRequest(url, '{ __typename }')

    const statuses: number[] = []
    for (let i = 0; i < 5; i += 1) statuses.push((await fetch(new URL('/health/ready', url))).status)

    expect(statuses).toEqual([200, 200, 200, 200, 200])
  })
})

describe('metrics', () => {
  it('are there for Prometheus at an address that the start tells, and not where callers are', async () => {
    const { gateway, url } = await serve({ METRICS_PORT: '0' })
    const [, at] = await gateway.printed(/Prometheus finds its metrics at (http:\/\/127\.0\.0\.1:\d+\/metrics)\.\n/)
    await executeAt(url)('query Mine { organizations { nodes { name } } }')
    await (await fetch(new URL('/v1/organizations/1/contacts', url))).text()

    // Requests are counted when their answers have been sent.
    const text = await vi.waitFor(async () => {
      const response = await fetch(at!)
      expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
      const metrics = await response.text()
      expect(metrics.match(/^gateway_requests_total/gm)).toHaveLength(2)
      return metrics
    })

    expect(text).toContain('gateway_requests_total{door="graphql",operation="Mine",outcome="ok"} 1\n')
    expect(text).toContain(
      'gateway_requests_total{door="rest",operation="GET /organizations/:organization_id/contacts",outcome="ok"} 1\n',
    )
    expect(text).toMatch(/^gateway_statements_total\{statement="contacts_page",outcome="ok"\} 1$/m)
    expect(text).toMatch(/^gateway_database_connections\{state="idle"\} 1$/m)
    expect(text).toMatch(/^gateway_breaker_open 0$/m)
    expect((await fetch(new URL('/metrics', url))).status).toBe(404)
    expect((await fetch(new URL('/', at!))).status).toBe(404)
    expect((await fetch(at!, { method: 'POST' })).status).toBe(405)
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  })

  it('and traces are not even loaded where nobody asked for them', async () => {
    const { gateway } = await serve({}, { nodeOptions: tellPackages })
    await gateway.stop()
    const { gateway: other } = await serve({ METRICS_PORT: '0' }, { nodeOptions: tellPackages })
    await other.stop()

    const quiet = packagesOf(gateway)
    expect(quiet).toContain('pino')
    expect(quiet.filter((name) => name === 'prom-client' || name.startsWith('@opentelemetry/'))).toEqual([])
    expect(packagesOf(other)).toContain('prom-client')
  })

  it('want a port of their own', async () => {
    const taken = createTcpServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo

    const ended = await gateways.run([], { env: { ...inMemory, METRICS_PORT: `${port}` } })

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `Port ${port} of 127.0.0.1 is taken: set METRICS_PORT to another one.\n`,
    })
  })
})

interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: { key: string; value: Record<string, unknown> }[]
}

/** A collector of traces, as OTLP over HTTP wants one. */
async function startCollector({ answers = true } = {}) {
  const spans: Span[] = []
  const paths: string[] = []
  const services: unknown[] = []
  const server = createServer(async (req: IncomingMessage, res) => {
    paths.push(req.url!)
    // biome-ignore lint/suspicious/noExplicitAny: it is what the protocol says
    const sent = (await readJson(req)) as any
    for (const { resource, scopeSpans } of sent.resourceSpans) {
      services.push(resource.attributes.find(({ key }: { key: string }) => key === 'service.name').value.stringValue)
      for (const scope of scopeSpans) spans.push(...scope.spans)
    }
    if (answers) res.setHeader('content-type', 'application/json').end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, paths, services }
}

describe('traces', () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const parentSpanId = 'b7ad6b7169203331'
  const attributesOf = ({ attributes }: Span) =>
    Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

  it('have a span for each request, root field and statement, and are sent before it ends', async () => {
    const collector = await startCollector()
    const { gateway, url } = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    const query =
      'query Two { a: organization(id: 1) { contacts { nodes { ... on ContactDetails { value } } } } organizations { totalCount } }'
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-${parentSpanId}-01` },
      body: JSON.stringify({ query }),
    })
    await response.text()
    await (await fetch(new URL('/v1/organizations/1/contacts/68', url))).text()

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    expect(new Set(collector.paths)).toEqual(new Set(['/v1/traces']))
    expect(new Set(collector.services)).toEqual(new Set(['contacts-gateway']))
    const ofTrace = collector.spans.filter((span) => span.traceId === traceId)
    const server = ofTrace.find(({ kind }) => kind === 2)!
    expect(server).toMatchObject({ name: 'POST /graphql', parentSpanId })
    expect(attributesOf(server)).toMatchObject({
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'graphql.operation.name': 'Two',
      'gateway.outcome': 'ok',
      'gateway.request_id': response.headers.get('x-request-id'),
    })
    const children = ofTrace.filter((span) => span !== server)
    expect(children.every((span) => span.parentSpanId === server.spanId)).toBe(true)
    expect(
      children
        .filter(({ kind }) => kind === 1)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(['organization', 'organizations'])
    const statements = children.filter(({ kind }) => kind === 3)
    expect(statements.map(({ name }) => name).toSorted()).toEqual([
      'contacts_page',
      'organizations_by_id',
      'organizations_count',
      'organizations_page',
    ])
    expect(statements.map((span) => attributesOf(span)['db.system.name'])).toEqual(Array(4).fill('postgresql'))
    for (const span of children) {
      expect(BigInt(span.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(server.startTimeUnixNano))
      expect(BigInt(span.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(server.endTimeUnixNano))
    }

    const rest = collector.spans.find(
      ({ name }) => name === 'GET /organizations/:organization_id/contacts/:contact_id',
    )!
    expect(rest.kind).toBe(2)
    expect(rest.parentSpanId).toBeUndefined()
    expect(rest.traceId).not.toBe(traceId)
    // No values: neither those of the caller nor those of the database.
    expect(JSON.stringify(collector.spans)).not.toMatch(/best-it|Best IT/i)
  })

  it('leave out what the caller chose not to trace', async () => {
    const collector = await startCollector()
    const { gateway, url } = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    await (
      await fetch(new URL('/v1/organizations', url), { headers: { traceparent: `00-${traceId}-${parentSpanId}-00` } })
    ).text()

    await gateway.stop()

    expect(collector.spans.filter((span) => span.traceId === traceId)).toEqual([])
  })

  it.each<[string, () => Promise<string>]>([
    ['is away', async () => 'http://127.0.0.1:1'],
    ['never answers', async () => (await startCollector({ answers: false })).url],
  ])('do not keep it from ending when their collector %s', async (_, collector) => {
    const { gateway, url } = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: await collector() })
    await executeAt(url)('{ organizations { totalCount } }')
    const begun = performance.now()

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    expect(performance.now() - begun).toBeLessThan(6_000)
  })
})

describe('the log', () => {
  it('has one line for each request, and loses none at the end', async () => {
    const { gateway, url } = await serve()
    const count = 300
    const ids = Array.from({ length: count }, (_, i) => `request-${i}`)
    await Promise.all(
      ids.map(async (id) => {
        const response = await fetch(new URL('/v1/nothing', url), { headers: { 'x-request-id': id } })
        await response.text()
      }),
    )

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    const lines = linesOf(gateway)
    expect(
      lines
        .filter(({ msg }) => msg === 'request')
        .map(({ requestId }) => requestId)
        .toSorted(),
    ).toEqual(ids.toSorted())
    expect(lines.at(-1)).toMatchObject({ msg: 'stopping: requests in progress may end' })
  })

  it('names statements that are slow', async () => {
    const { gateway, url } = await serve({ SLOW_STATEMENT: '0' })
    const response = await fetch(new URL('/v1/organizations/1', url))
    await response.text()

    await gateway.stop()

    const slow = linesOf(gateway).filter(({ requestId }) => requestId === response.headers.get('x-request-id'))
    expect(slow).toContainEqual(
      expect.objectContaining({
        level: 40,
        statement: 'organizations_by_id',
        ms: expect.any(Number),
        msg: 'slow statement',
      }),
    )
  })
})

describe('an exception that nobody caught', () => {
  /** Throws from a timer when a signal tells it to, as code at that place would. */
  const throwing = (frame: string) => [
    '--import',
    `data:text/javascript,${encodeURIComponent(`
      process.on('SIGUSR2', () => setTimeout(() => {
        const error = new TypeError('a secret')
        error.stack = 'TypeError: a secret\\n    at Socket.write (node:net:1:1)\\n${frame}'
        throw error
      }))
    `)}`,
  ]

  it('of the database driver is logged, and survived', async () => {
    const frame = '    at write (file:///app/node_modules/postgres/src/connection.js:254:20)'
    const { gateway, url } = await serve({}, { nodeOptions: throwing(frame) })

    gateway.signal('SIGUSR2')
    await gateway.printed(/the database driver has thrown/)

    expect(await executeAt(url)('{ __typename }')).toEqual({ data: { __typename: 'Query' } })
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    expect(warningsOf(gateway)).toMatchObject([{ level: 50, error: { type: 'TypeError' } }])
  })

  it.each([
    '    at work (file:///app/src/app.ts:1:1)\\n    at run (file:///app/node_modules/postgres/src/connection.js:1:1)',
    '    at work (file:///app/node_modules/postgres-array/index.js:1:1)',
  ])('from anywhere else is logged, and ends it: %s', async (frame) => {
    const { gateway } = await serve({}, { nodeOptions: throwing(frame) })

    gateway.signal('SIGUSR2')

    expect(await gateway.exited).toEqual({ code: 1, signal: null })
    expect(warningsOf(gateway)).toMatchObject([{ level: 60, error: { type: 'TypeError' }, msg: 'uncaught exception' }])
  })
})

describe('SIGTERM, whatever clients do,', () => {
  it('ends it within ten seconds', async () => {
    const { gateway, url } = await serve()
    const port = Number(new URL(url).port)
    const open = (text: string) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      socket.on('error', () => {})
      onTestFinished(() => void socket.destroy())
      return socket
    }
    const head = 'POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n'
    const page = 'GET /graphql HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n'
    open('')
    open('GET / HT')
    open(head)
    open(`${head}{"query"`)
    // Answers of megabytes, which nobody reads.
    open(page.repeat(3)).pause()
    open('GET /v1/organizations HTTP/1.1\r\nhost: a\r\n\r\n')
    await new Promise((resolve) => setTimeout(resolve, 500))
    const begun = performance.now()

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  it('ends a start that still waits for its database', async () => {
    // Takes connections, and says nothing.
    const silent = createTcpServer((socket) => void socket.on('error', () => {}))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const connected = new Promise((resolve) => silent.once('connection', resolve))
    const gateway = await gateways.start([], { env: { DATABASE_URL: `postgres://u:p@127.0.0.1:${port}/x` } })
    await connected
    const begun = performance.now()

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    expect(performance.now() - begun).toBeLessThan(4_000)
    expect(gateway.stdout).toBe('')
  })
})
