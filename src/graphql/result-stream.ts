import { createSourceEventStream, type ExecutionArgs, type ExecutionResult, execute, GraphQLError } from 'graphql'
import { type OpenStream, type Reader, readBy, StreamStopped } from '../auth/streams.ts'
import type { ContactEvent } from '../domain/events.ts'
import { comment, eventStream, eventStreamHeaders } from '../http/event-stream.ts'
import type { Outgoing } from '../http/message.ts'
import { StreamEnded } from '../live/feed.ts'
import type { GraphQLContext } from './builder.ts'

/** The results of a subscription, one for each change. It ends by throwing a GraphQLError that says why, with a code. */
export interface ResultStream extends AsyncGenerator<ExecutionResult, undefined, void> {
  return(): Promise<IteratorReturnResult<undefined>>
}

export interface Subscription {
  readonly args: ExecutionArgs
  readonly stream: OpenStream
  /** Counts what is asked for with each change; throws what ends the stream. */
  spend(): Promise<void>
  /** What a change is resolved with, anew for each. */
  contextFor(): GraphQLContext
  /** Runs the work for a change. */
  run<Result>(work: () => Result): Result
  /** The error as it may be seen. */
  mask(error: unknown): GraphQLError
}

/** Begins a subscription, by a context of its own; or tells why not, as a result with errors. */
export async function beginResults(
  subscription: Subscription,
  contextValue: GraphQLContext,
): Promise<ResultStream | ExecutionResult> {
  const { args, stream } = subscription
  try {
    const source = await createSourceEventStream({ ...args, contextValue })
    if (!(Symbol.asyncIterator in source)) {
      stream.close()
      return source
    }
    return new Results(subscription, source as AsyncIterable<ContactEvent>)
  } catch (error) {
    stream.close()
    throw error
  }
}

class Results implements ResultStream {
  readonly #subscription: Subscription
  readonly #events: Reader<ContactEvent>

  constructor(subscription: Subscription, source: AsyncIterable<ContactEvent>) {
    this.#subscription = subscription
    this.#events = readBy(subscription.stream, source)
  }

  async next(): Promise<IteratorResult<ExecutionResult, undefined>> {
    try {
      const event = await this.#events.next()
      if (event.done) return event
      await this.#subscription.spend()
      return { value: await this.#resultFor(event.value), done: false }
    } catch (error) {
      await this.return()
      throw this.#reasonFor(error)
    }
  }

  #reasonFor(error: unknown): GraphQLError {
    const { run, mask } = this.#subscription
    if (error instanceof StreamStopped || error instanceof StreamEnded) return endOf(error)
    return error instanceof GraphQLError ? error : run(() => mask(error))
  }

  async #resultFor(event: ContactEvent): Promise<ExecutionResult> {
    const { args, run, contextFor, mask } = this.#subscription
    return run(async () => {
      const result = await execute({ ...args, rootValue: event, contextValue: contextFor() })
      return result.errors ? { ...result, errors: result.errors.map(mask) } : result
    })
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    return this.#events.return()
  }

  async throw(): Promise<IteratorReturnResult<undefined>> {
    return this.return()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

/** The error that a stream ends with. */
const endOf = ({ code, message }: { code: string; message: string }) =>
  new GraphQLError(message, { extensions: { code } })

/** As server-sent events, in the mode of distinct connections: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md. */
export function answerByEvents(results: ResultStream): Outgoing {
  const stream = eventStream({ first: comment, items: results, show: showNext, end: showEnd })
  return { status: 200, headers: eventStreamHeaders, stream }
}

/** What is no stream, in the same way: the one result of an operation. */
export function answerByEvent({ status, headers, body }: Outgoing): Outgoing {
  if (!body || !headers['content-type']?.includes('json')) return { status, headers, body }
  const { etag: _, ...others } = headers
  return {
    status,
    headers: { ...others, ...eventStreamHeaders },
    body: `${comment}event: next\ndata: ${body}\n\n${completed}`,
  }
}

const showNext = (result: ExecutionResult) => `event: next\ndata: ${JSON.stringify(result)}\n\n`

const showEnd = (error: unknown) => `${error ? showNext({ errors: [error as GraphQLError] }) : ''}${completed}`

const completed = 'event: complete\ndata:\n\n'
