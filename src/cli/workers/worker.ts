import type { Worker } from 'node:cluster'
import type { Socket } from 'node:net'
import { createBorrower } from '../../auth/leases.ts'
import type { Config } from '../../config.ts'
import { describeFailure } from '../failure.ts'
import { createLog, guardProcess } from '../log.ts'
import { openService, type Service } from '../service.ts'
import { graceMs, stopMs } from '../stop.ts'
import type { ToPrimary, ToWorker } from './messages.ts'
import { createSource } from './source.ts'

/** Serves the connections that the primary sends, until that says stop, or is gone. */
export async function serveAsWorker(config: Config, worker: Worker): Promise<void> {
  const { log: common, flush } = createLog(config.logLevel)
  const log = common.child({ worker: worker.id })
  guardProcess(log)
  // They come to the whole group from a terminal or a service manager; the primary says what they mean.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => {})
  const stopped = Promise.withResolvers<number>()
  worker.once('disconnect', () => {
    // Without this, the process would end at once.
    worker.exitedAfterDisconnect = true
    stopped.resolve(graceMs)
  })
  const borrower = createBorrower((message) => send({ kind: 'limits', message }))
  const source = createSource(config.limits.connections)
  let service: Service | undefined
  process.on('message', (message: ToWorker, socket?: Socket) => {
    if (message.kind === 'connection') {
      send({ kind: 'taken' })
      if (socket) source.take(socket)
    } else if (message.kind === 'limits') borrower.receive(message.message)
    else if (message.kind === 'stop') stopped.resolve(message.graceMs)
    else void service?.metrics?.snapshot().then((snapshot) => send({ kind: 'metrics', id: message.id, snapshot }))
  })
  try {
    service = await openService(config, log, borrower.counterOf)
    const server = await service.listen(source.open)
    send({ kind: 'ready' })
    const grace = await stopped.promise
    setTimeout(() => process.exit(), stopMs).unref()
    await server.close(grace)
  } catch (error) {
    process.exitCode = 1
    send({ kind: 'failed', reason: describeFailure(error) })
  } finally {
    await service?.close()
    await flush()
    if (process.connected) process.disconnect()
  }
}

/** Tells whether it can be told. */
function send(message: ToPrimary): boolean {
  // When the primary goes in this moment, 'disconnect' follows.
  if (process.connected) process.send!(message, undefined, undefined, () => {})
  return process.connected
}
