import { diag, type HrTime, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Outcome, Visit } from './visit.ts'

/** The span of a request, and what happened for it. */
export interface RequestTrace {
  /** Something has ended; `startedAt` is by `performance.now()`. */
  add(kind: keyof typeof kinds, name: string, startedAt: number, ms: number, isOk: boolean): void
  end(visit: Visit, ms: number, outcome: Outcome): void
}

export interface Tracing {
  begin(visit: Visit): RequestTrace
  /** Sends what has not been sent yet, as far as there is time for it. */
  close(timeoutMs: number): Promise<void>
}

const kinds = {
  field: { kind: SpanKind.INTERNAL, attributesFor: (name: string) => ({ 'graphql.field.name': name }) },
  statement: {
    kind: SpanKind.CLIENT,
    attributesFor: (name: string) => ({ 'db.system.name': 'postgresql', 'db.query.summary': name }),
  },
}

/** Outcomes that are no fault of the caller. */
const failures: readonly Outcome[] = ['timeout', 'unavailable', 'error']

const maxNameLength = 64

/** Traces that are sent by OTLP over HTTP, as JSON. `onFailure` is told when they cannot be sent. */
export function createTracing(endpoint: URL, onFailure: () => void): Tracing {
  diag.setLogger({ error: onFailure, warn() {}, info() {}, debug() {}, verbose() {} })
  const provider = new TracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'contacts-gateway' }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url: `${endpoint.href.replace(/\/$/, '')}/v1/traces` }),
      }),
    ],
  })
  const tracer = provider.getTracer('contacts-gateway')
  const propagator = new W3CTraceContextPropagator()
  const getter = {
    get: (carrier: Record<string, string | undefined>, name: string) => carrier[name],
    keys: (carrier: object) => Object.keys(carrier),
  }

  return {
    begin({ method, startedAt, traceparent, tracestate }) {
      const parent = propagator.extract(ROOT_CONTEXT, { traceparent, tracestate }, getter)
      const span = tracer.startSpan(method, { kind: SpanKind.SERVER, startTime: timeAt(startedAt) }, parent)
      const within = trace.setSpan(ROOT_CONTEXT, span)
      const isRecording = span.isRecording()
      return {
        add(what, name, childStartedAt, ms, isOk) {
          if (!isRecording) return
          const { kind, attributesFor } = kinds[what]
          const startTime = timeAt(childStartedAt)
          const child = tracer.startSpan(name, { kind, startTime, attributes: attributesFor(name) }, within)
          if (!isOk) child.setStatus({ code: SpanStatusCode.ERROR })
          child.end(timeAt(childStartedAt + ms))
        },
        end({ id, door, operation, status, account, statements }, ms, outcome) {
          if (!isRecording) return
          const route = door === 'graphql' ? `${method} /graphql` : operation
          if (route) span.updateName(route)
          span.setAttributes({
            'http.request.method': method,
            'http.response.status_code': status,
            'graphql.operation.name': door === 'graphql' ? operation?.slice(0, maxNameLength) : undefined,
            'gateway.request_id': id,
            'gateway.account': account,
            'gateway.outcome': outcome,
            'gateway.statements': statements,
          })
          if (failures.includes(outcome)) span.setStatus({ code: SpanStatusCode.ERROR, message: outcome })
          span.end(timeAt(startedAt + ms))
        },
      }
    },
    async close(timeoutMs) {
      const timeout = Promise.withResolvers<void>()
      const timer = setTimeout(timeout.resolve, timeoutMs)
      await Promise.race([provider.shutdown(), timeout.promise]).catch(onFailure)
      clearTimeout(timer)
    },
  }
}

/** The SDK takes a number for an instant of its own choosing, so it gets seconds and nanoseconds. */
function timeAt(at: number): HrTime {
  const ms = performance.timeOrigin + at
  return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)]
}
