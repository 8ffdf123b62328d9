import { securityHeaders } from './headers.ts'
import { jsonAnswer, type Outgoing } from './message.ts'

/** How long it is taken for granted what the database has answered: probes may come from many places. */
const cacheMs = 1_000

const paths = { live: '/health/live', ready: '/health/ready' }

export const isHealth = (pathname: string) => pathname === paths.live || pathname === paths.ready

/** Answers probes: whether the process serves, and whether requests should be sent to it. */
export function createHealth(isReachable: () => Promise<boolean>) {
  let last: { answer: Promise<boolean>; until: number } | undefined
  /** One question for all who ask at once, or soon after. */
  const isDatabaseUp = (): Promise<boolean> => {
    if (last && last.until > performance.now()) return last.answer
    const asked = { answer: isReachable().catch(() => false), until: Number.POSITIVE_INFINITY }
    last = asked
    void asked.answer.then(() => {
      asked.until = performance.now() + cacheMs
    })
    return asked.answer
  }

  return async (method: string, pathname: string, isStopping: boolean): Promise<Outgoing> => {
    const answer = (status: number, body: object, headers = {}) =>
      jsonAnswer(status, body, { ...securityHeaders, ...headers })
    if (method !== 'GET' && method !== 'HEAD')
      return answer(405, { message: 'Method Not Allowed' }, { allow: 'GET, HEAD' })
    if (pathname === paths.live) return answer(200, { status: 'live' })
    const isUp = await isDatabaseUp()
    const database = isUp ? 'up' : 'down'
    if (isStopping) return answer(503, { status: 'stopping', database })
    return isUp ? answer(200, { status: 'ready', database }) : answer(503, { status: 'not ready', database })
  }
}
