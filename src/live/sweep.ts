import type { Database } from '../db/client.ts'
import { removeOldEvents } from '../domain/events.ts'

/** How long events are kept, for streams that go on from a cursor. */
export const keptSeconds = 3600
const pauseMs = 60_000

/** Removes the events of the past now and then, until it is stopped. */
export function sweepEvents(db: Database, onTrouble: (cause: unknown) => void): { stop(): void } {
  const timer = setInterval(() => {
    removeOldEvents(db, keptSeconds).catch(onTrouble)
  }, pauseMs)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}
