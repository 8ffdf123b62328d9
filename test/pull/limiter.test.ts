import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Limiter, type Limits } from '../../src/pull/limiter.ts'
import { Simulation } from './simulation.ts'

const { signal } = new AbortController()
const unlimited = { requests: Number.POSITIVE_INFINITY, ms: 1 }

/** Lets so many requests run that take so long each, and tells when each of them began and ended. */
async function runAll(limits: Limits, count: number, latency: (i: number) => number = () => 0) {
  const clock = new Simulation()
  const limiter = new Limiter(limits, clock)
  const seen: { began: number; ended: number }[] = []
  const work = async (i: number) => {
    const began = clock.now()
    await clock.sleep(latency(i), signal)
    seen[i] = { began, ended: clock.now() }
  }
  await clock.run(Promise.all(Array.from({ length: count }, (_, i) => limiter.run(() => work(i), signal))))
  return seen
}

const beganIn = (seen: { began: number }[]) => seen.map(({ began }) => began)

describe('the limiter', () => {
  it('lets as many begin as its window allows, and the next ones when their places are free again', async () => {
    const seen = await runAll({ windows: [{ requests: 3, ms: 2000 }], concurrency: 10 }, 7)

    expect(beganIn(seen)).toEqual([0, 0, 0, 2000, 2000, 2000, 4000])
  })

  it('gives a place back a window after the answer, since the server counts the request before it', async () => {
    const seen = await runAll({ windows: [{ requests: 2, ms: 2000 }], concurrency: 10 }, 4, (i) => [100, 300, 0, 0][i]!)

    expect(beganIn(seen)).toEqual([0, 0, 2100, 2300])
  })

  it('holds two windows at once', async () => {
    const windows = [
      { requests: 2, ms: 1000 },
      { requests: 5, ms: 60_000 },
    ]
    const seen = await runAll({ windows, concurrency: 10 }, 8)

    expect(beganIn(seen)).toEqual([0, 0, 1000, 1000, 2000, 60_000, 60_000, 61_000])
  })

  it('lets no more be under way than it may, and the next one begin as soon as one ends', async () => {
    const seen = await runAll({ windows: [unlimited], concurrency: 2 }, 4, (i) => [300, 100, 100, 0][i]!)

    expect(beganIn(seen)).toEqual([0, 0, 100, 200])
  })

  it('holds every limit, whatever requests take', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 6 }),
        async (latencies, concurrency, requests) => {
          const seen = await runAll(
            { windows: [{ requests, ms: 2000 }], concurrency },
            latencies.length,
            (i) => latencies[i]!,
          )

          for (const { began } of seen) {
            expect(seen.filter((other) => other.began <= began && other.ended > began).length).toBeLessThanOrEqual(
              concurrency,
            )
            // Wherever between begin and end the server counts them.
            expect(
              seen.filter((other) => other.began <= began && other.ended > began - 2000).length,
            ).toBeLessThanOrEqual(requests)
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('lets nothing begin during a pause, not even what was waiting for another reason', async () => {
    const clock = new Simulation()
    const limiter = new Limiter({ windows: [{ requests: 1, ms: 1000 }], concurrency: 5 }, clock)
    const began: number[] = []
    const run = (work = () => {}) =>
      limiter.run(async () => {
        began.push(clock.now())
        work()
      }, signal)

    await clock.run(Promise.all([run(() => limiter.pause(5000)), run(), run()]))

    expect(began).toEqual([0, 5000, 6000])
  })

  it('keeps the longer of two pauses', async () => {
    const clock = new Simulation()
    const limiter = new Limiter({ windows: [unlimited], concurrency: 5 }, clock)
    limiter.pause(5000)
    limiter.pause(1000)

    await clock.run(limiter.run(async () => {}, signal))

    expect(clock.now()).toBe(5000)
  })

  it('goes on after work that failed', async () => {
    const clock = new Simulation()
    const limiter = new Limiter({ windows: [unlimited], concurrency: 1 }, clock)

    const failed = limiter.run(async () => Promise.reject(new Error('no')), signal)
    const next = limiter.run(async () => 'yes', signal)

    await expect(failed).rejects.toThrow('no')
    expect(await next).toBe('yes')
  })

  it('ends a wait when its signal says so, for whatever it was, and lets the others go on', async () => {
    const clock = new Simulation()
    const stop = new AbortController()
    const limiter = new Limiter({ windows: [unlimited], concurrency: 1 }, clock)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const first = limiter.run(() => held, signal)
    const waiting = limiter.run(async () => 'begun', stop.signal)
    const behind = limiter.run(async () => 'begun', signal)
    await setImmediate()

    stop.abort(new Error('stopped'))
    await expect(waiting).rejects.toThrow('stopped')
    release()
    await first

    expect(await behind).toBe('begun')
  })
})
