import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createHealth } from '../../src/http/health.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const ask = async (health: ReturnType<typeof createHealth>, path = '/health/ready', isStopping = false) => {
  const { status, body } = await health('GET', path, isStopping)
  return [status, JSON.parse(body as string)]
}

describe('whether requests should be sent here', () => {
  it.each([
    [true, false, 200, { status: 'ready', database: 'up' }],
    [false, false, 503, { status: 'not ready', database: 'down' }],
    [true, true, 503, { status: 'stopping', database: 'up' }],
    [false, true, 503, { status: 'stopping', database: 'down' }],
  ])('with the database up %s and a stop %s is %i %j', async (isUp, isStopping, status, body) => {
    const health = createHealth(async () => isUp)

    expect(await ask(health, '/health/ready', isStopping)).toEqual([status, body])
  })

  it('is not ready when the question itself fails', async () => {
    const health = createHealth(() => Promise.reject(new Error('never')))

    expect(await ask(health)).toEqual([503, { status: 'not ready', database: 'down' }])
  })

  it('asks the database once for all who ask at the same time, and once in a second', async () => {
    const isReachable = vi.fn(async () => true)
    const health = createHealth(isReachable)

    await Promise.all(Array.from({ length: 50 }, () => ask(health)))
    vi.advanceTimersByTime(999)
    await ask(health)
    const within = isReachable.mock.calls.length
    vi.advanceTimersByTime(2)
    await ask(health)

    expect([within, isReachable.mock.calls.length]).toEqual([1, 2])
  })

  it('notices a database that has gone, and that is back', async () => {
    let isUp = true
    const health = createHealth(async () => isUp)
    const answers = [await ask(health)]
    for (const now of [false, true]) {
      isUp = now
      vi.advanceTimersByTime(1_001)
      answers.push(await ask(health))
    }

    expect(answers.map(([status]) => status)).toEqual([200, 503, 200])
  })
})

describe('whether it is alive', () => {
  it('is answered without the database, also while it stops', async () => {
    const isReachable = vi.fn(async () => false)
    const health = createHealth(isReachable)

    expect(await ask(health, '/health/live')).toEqual([200, { status: 'live' }])
    expect(await ask(health, '/health/live', true)).toEqual([200, { status: 'live' }])
    expect(isReachable).not.toHaveBeenCalled()
  })

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('is no business of %s', async (method) => {
    const { status, headers } = await createHealth(async () => true)(method, '/health/live', false)

    expect([status, headers.allow]).toEqual([405, 'GET, HEAD'])
  })
})
