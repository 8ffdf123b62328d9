import { describe, expect, it } from 'vitest'
import { createClients, createMetrics, createNames, renderAll } from '../../src/telemetry/metrics.ts'
import { beginVisit, type Visit } from '../../src/telemetry/visit.ts'

const visit = (given: Partial<Visit>): Visit => ({ ...beginVisit({ method: 'POST', path: '/graphql' }), ...given })

/** The lines of a metric, without those of buckets. */
const linesOf = (text: string, name: string) =>
  text.split('\n').filter((line) => line.startsWith(name) && !line.includes('_bucket'))

describe('names of operations', () => {
  it('are told apart up to 100 of them', () => {
    const nameOf = createNames()
    const first = Array.from({ length: 100 }, (_, i) => `Operation${i}`)

    expect(first.map(nameOf)).toEqual(first)
    expect(nameOf('Another')).toBe('other')
    expect(nameOf('Operation99')).toBe('Operation99')
    expect(nameOf(undefined)).toBe('anonymous')
  })

  it.each(['', '1a', 'a-b', 'a b', 'a"} 1\n', 'ä', 'a'.repeat(65)])('do not count by %j', (name) => {
    const nameOf = createNames()

    expect(nameOf(name)).toBe('other')
    expect(nameOf('a'.repeat(64))).toBe('a'.repeat(64))
  })
})

describe('names of clients', () => {
  it('are told apart up to 50 of them', () => {
    const clientOf = createClients()
    const first = Array.from({ length: 50 }, (_, i) => `client ${i}`)

    expect(first.map((name) => clientOf(name, 'Read'))).toEqual(first)
    expect(clientOf('another', 'Read')).toBe('other')
    expect(clientOf('client 49', 'Read')).toBe('client 49')
    expect(clientOf(undefined, 'Read')).toBe('none')
  })

  it('are told apart for 1000 pairs of client and operation', () => {
    const clientOf = createClients()
    const pairs = Array.from(
      { length: 2500 },
      (_, i) => [`client ${i % 25}`, `Operation${Math.floor(i / 25)}`] as const,
    )

    const names = pairs.map(([client, operation]) => clientOf(client, operation))

    expect(names).toEqual(pairs.map(([client], i) => (i < 1000 ? client : 'other')))
    expect(clientOf('client 1', 'Operation0')).toBe('client 1')
  })

  it.each([
    ['web', 'web'],
    ['My App (iOS) 2', 'My App (iOS) 2'],
    [' padded ', 'padded'],
    ['a\nb\u0000\u007fc', 'abc'],
    ['Büro', 'Bro'],
    ['x'.repeat(65), 'x'.repeat(64)],
    [`${'x'.repeat(63)} y`, 'x'.repeat(63)],
    ['', 'none'],
    ['é\t ', 'none'],
  ])('are cleaned: %j', (given, name) => {
    expect(createClients()(given, 'Read')).toBe(name)
  })
})

describe('the metrics', () => {
  it('tell GraphQL requests by client, operation and outcome', async () => {
    const metrics = createMetrics()
    metrics.onRequest(visit({ door: 'graphql', operation: 'Read', client: 'web' }), 1, 'ok')
    metrics.onRequest(visit({ door: 'graphql', operation: 'Read', client: 'web' }), 1, 'ok')
    metrics.onRequest(visit({ door: 'graphql', operation: 'Read', client: 'web' }), 1, 'refused')
    metrics.onRequest(visit({ door: 'graphql', client: 'q"\\' }), 1, 'ok')
    metrics.onRequest(visit({ door: 'graphql' }), 1, 'ok')
    metrics.onRequest(visit({ door: 'rest', client: 'web' }), 1, 'ok')

    expect(linesOf(await metrics.render(), 'gateway_client_operations_total')).toEqual([
      'gateway_client_operations_total{client="web",operation="Read",outcome="ok"} 2',
      'gateway_client_operations_total{client="web",operation="Read",outcome="refused"} 1',
      'gateway_client_operations_total{client="q\\"\\\\",operation="anonymous",outcome="ok"} 1',
      'gateway_client_operations_total{client="none",operation="anonymous",outcome="ok"} 1',
    ])
  })

  it('tell requests by door, operation and outcome', async () => {
    const metrics = createMetrics()
    metrics.onRequest(visit({ door: 'graphql', operation: 'Read', statements: 2 }), 30, 'ok')
    metrics.onRequest(visit({ door: 'graphql', operation: 'Read' }), 5, 'rate_limited')
    metrics.onRequest(visit({ door: 'graphql' }), 1, 'refused')
    metrics.onRequest(visit({ door: 'rest', operation: 'GET /organizations/:organization_id' }), 10, 'ok')
    metrics.onRequest(visit({ door: 'rest' }), 1, 'refused')
    metrics.onRequest(visit({ door: 'rest', shed: 'requests' }), 0, 'shed')
    metrics.onRequest(visit({}), 1, 'refused')

    const text = await metrics.render()

    expect(linesOf(text, 'gateway_requests_total')).toEqual([
      'gateway_requests_total{door="graphql",operation="Read",outcome="ok"} 1',
      'gateway_requests_total{door="graphql",operation="Read",outcome="rate_limited"} 1',
      'gateway_requests_total{door="graphql",operation="anonymous",outcome="refused"} 1',
      'gateway_requests_total{door="rest",operation="GET /organizations/:organization_id",outcome="ok"} 1',
      'gateway_requests_total{door="rest",operation="other",outcome="refused"} 1',
      'gateway_requests_total{door="rest",operation="other",outcome="shed"} 1',
    ])
    expect(linesOf(text, 'gateway_request_duration_seconds_count')).toEqual([
      'gateway_request_duration_seconds_count{door="graphql",operation="Read"} 2',
      'gateway_request_duration_seconds_count{door="graphql",operation="anonymous"} 1',
      'gateway_request_duration_seconds_count{door="rest",operation="GET /organizations/:organization_id"} 1',
      'gateway_request_duration_seconds_count{door="rest",operation="other"} 1',
    ])
    expect(text).toContain('gateway_request_statements_bucket{le="2"} 5\n')
    expect(text).toContain('gateway_request_statements_bucket{le="1"} 4\n')
    expect(linesOf(text, 'gateway_shed_total')).toEqual([
      'gateway_shed_total{reason="requests"} 1',
      'gateway_shed_total{reason="event_loop"} 0',
    ])
    expect(linesOf(text, 'gateway_rate_limited_total')).toEqual(['gateway_rate_limited_total 1'])
  })

  it('tell what the database says of itself', async () => {
    const metrics = createMetrics()
    metrics.watch(() => ({ pool: { idle: 1, busy: 2, connecting: 3, waiting: 4 }, isBreakerOpen: true }))
    const { onStatement, onRetry, onConnectionLost } = metrics.observer
    onStatement?.('contacts_page', 20, 'ok')
    onStatement?.('contacts_page', 2000, 'timeout')
    onRetry?.('contacts_page', '40001')
    onConnectionLost?.()

    const text = await metrics.render()

    expect([
      ...linesOf(text, 'gateway_statement'),
      ...linesOf(text, 'gateway_database'),
      ...linesOf(text, 'gateway_breaker'),
    ]).toEqual([
      'gateway_statement_duration_seconds_sum{statement="contacts_page"} 2.02',
      'gateway_statement_duration_seconds_count{statement="contacts_page"} 2',
      'gateway_statements_total{statement="contacts_page",outcome="ok"} 1',
      'gateway_statements_total{statement="contacts_page",outcome="timeout"} 1',
      'gateway_database_retries_total{reason="40001"} 1',
      'gateway_database_connections_lost_total 1',
      'gateway_database_connections{state="idle"} 1',
      'gateway_database_connections{state="busy"} 2',
      'gateway_database_connections{state="connecting"} 3',
      'gateway_database_waiting 4',
      'gateway_breaker_open 1',
    ])
  })

  it('tell of the process, and how late the event loop is', async () => {
    const text = await createMetrics().render()

    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \S+$/m)
  })

  it('do not grow with the names that callers think of', async () => {
    const metrics = createMetrics()
    for (let i = 0; i < 5_000; i += 1) {
      metrics.onRequest(visit({ door: 'graphql', operation: `Name${i}`, client: `client ${i % 500}` }), 1, 'ok')
    }

    const text = await metrics.render()
    expect(linesOf(text, 'gateway_requests_total')).toHaveLength(101)
    expect(linesOf(text, 'gateway_client_operations_total').length).toBeLessThanOrEqual(1101)
  })

  it('put each duration into the first bucket that it is not above, and count it in all that follow', async () => {
    const metrics = createMetrics()
    for (const ms of [0.5, 1, 1.001, 10_000, 10_001]) metrics.observer.onStatement?.('ping', ms, 'ok')

    const text = await metrics.render()

    expect(text.match(/(?<=^gateway_statement_duration_seconds).*$/gm)).toEqual([
      '_bucket{le="0.001",statement="ping"} 2',
      '_bucket{le="0.0025",statement="ping"} 3',
      '_bucket{le="0.005",statement="ping"} 3',
      '_bucket{le="0.01",statement="ping"} 3',
      '_bucket{le="0.025",statement="ping"} 3',
      '_bucket{le="0.05",statement="ping"} 3',
      '_bucket{le="0.1",statement="ping"} 3',
      '_bucket{le="0.25",statement="ping"} 3',
      '_bucket{le="0.5",statement="ping"} 3',
      '_bucket{le="1",statement="ping"} 3',
      '_bucket{le="2.5",statement="ping"} 3',
      '_bucket{le="5",statement="ping"} 3',
      '_bucket{le="10",statement="ping"} 4',
      '_bucket{le="+Inf",statement="ping"} 5',
      '_sum{statement="ping"} 20.003501',
      '_count{statement="ping"} 5',
    ])
    expect(text).toContain(
      '# HELP gateway_statement_duration_seconds How long statements took, by their name.\n# TYPE gateway_statement_duration_seconds histogram\n',
    )
  })

  it('say nothing of how long requests took that were turned away', async () => {
    const metrics = createMetrics()
    metrics.onRequest(visit({ door: 'rest', shed: 'event_loop' }), 0, 'shed')

    expect(linesOf(await metrics.render(), 'gateway_request_duration_seconds')).toEqual([])
  })
})

describe('the metrics of several processes', () => {
  it('are added up, as those of one that has done it all', async () => {
    const [one, other, both] = [createMetrics(), createMetrics(), createMetrics()]
    const request = visit({ door: 'graphql', operation: 'Read', statements: 3 })
    for (const metrics of [one, both]) {
      metrics.onRequest(request, 500, 'ok')
      metrics.onRequest(visit({ door: 'rest', shed: 'requests' }), 0, 'shed')
      metrics.observer.onStatement?.('contacts_page', 2, 'ok')
    }
    for (const metrics of [other, both]) {
      metrics.onRequest(request, 250, 'ok')
      metrics.onRequest(request, 125, 'rate_limited')
      metrics.observer.onStatement?.('contacts_page', 4000, 'timeout')
    }

    // As they come from another process.
    const snapshots = JSON.parse(JSON.stringify([await one.snapshot(), await other.snapshot()]))
    const text = await renderAll(snapshots)

    const ownOf = (all: string) => all.split('\n').filter((line) => line.includes('gateway_'))
    expect(ownOf(text)).toEqual(ownOf(await both.render()))
    expect(text).toContain('gateway_requests_total{door="graphql",operation="Read",outcome="ok"} 2\n')
    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
  })

  it('stay as they were when they were taken', async () => {
    const metrics = createMetrics()
    const request = visit({ door: 'graphql', operation: 'Read' })
    metrics.onRequest(request, 1, 'ok')
    const before = await metrics.snapshot()
    metrics.onRequest(request, 1, 'ok')

    expect(await renderAll([before])).toContain(
      'gateway_requests_total{door="graphql",operation="Read",outcome="ok"} 1\n',
    )
  })

  it('tell that statements are refused as long as one of them refuses them', async () => {
    const [one, other] = [createMetrics(), createMetrics()]
    const pool = { idle: 1, busy: 0, connecting: 0, waiting: 0 }
    one.watch(() => ({ pool, isBreakerOpen: true }))
    other.watch(() => ({ pool, isBreakerOpen: true }))

    const text = await renderAll([await one.snapshot(), await other.snapshot()])

    expect(text).toContain('gateway_breaker_open 1\n')
    expect(text).toContain('gateway_database_connections{state="idle"} 2\n')
  })
})
