import { describe, expect, it } from 'vitest'
import { createMetrics, createNames } from '../../src/telemetry/metrics.ts'
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

describe('the metrics', () => {
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
    for (let i = 0; i < 5_000; i += 1) metrics.onRequest(visit({ door: 'graphql', operation: `Name${i}` }), 1, 'ok')

    expect(linesOf(await metrics.render(), 'gateway_requests_total')).toHaveLength(101)
  })
})
