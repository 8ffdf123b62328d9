import type { ShedReason } from '../telemetry/visit.ts'

export interface OverloadLimits {
  /** Requests in progress at most. */
  requests: number
  /** By how many milliseconds the event loop may be late. */
  eventLoopDelayMs: number
}

/** Why a request is turned away before anything is done for it. */
export interface Shed {
  reason: ShedReason
  message: string
}

/** How often it is measured how late the event loop is. */
const tickMs = 20

export type Overload = ReturnType<typeof createOverload>

/** Counts requests in progress, and tells when there is too much to do for one more. */
export function createOverload({ requests, eventLoopDelayMs }: OverloadLimits) {
  let inProgress = 0
  let due = performance.now() + tickMs
  let lastDelay = 0
  const timer = setInterval(() => {
    const now = performance.now()
    lastDelay = now - due
    due = now + tickMs
  }, tickMs).unref()
  /** A tick that is overdue tells at once, also where what keeps it waiting has not come to an end. */
  const delayMs = () => Math.max(lastDelay, performance.now() - due)

  return {
    /** Counts a request in, for `leave` to count it out; or tells why not. */
    enter(): Shed | undefined {
      if (inProgress >= requests) {
        const message = `${inProgress + 1} requests are in progress; at most ${requests} are allowed.`
        return { reason: 'requests', message: `${message} ${advice}` }
      }
      const late = Math.round(delayMs())
      if (late > eventLoopDelayMs) {
        const message = `The gateway is ${late} ms late with its work; at most ${eventLoopDelayMs} are allowed.`
        return { reason: 'event_loop', message: `${message} ${advice}` }
      }
      inProgress += 1
      return undefined
    },
    leave() {
      inProgress -= 1
    },
    stop: () => clearInterval(timer),
  }
}

const advice = 'Nothing was done: try again later.'
