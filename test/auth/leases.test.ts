import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBorrower, createLender, type ToBorrower, type ToLender } from '../../src/auth/leases.ts'
import { createRateLimiter, RateLimited } from '../../src/auth/rate-limit.ts'
import type { Counter } from '../../src/auth/windows.ts'
import { randomFrom } from '../support/random-document.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Processes that count together, and the messages between them, which wait until they are delivered, each way in order. */
function start(limit: number, count: number) {
  const channels = Array.from({ length: count }, () => ({
    up: [] as ToLender[],
    down: [] as ToBorrower[],
    isUp: true,
  }))
  const lender = createLender({ points: limit }, count, (borrower, message) => channels[borrower]!.down.push(message))
  const borrowers = channels.map((channel) =>
    createBorrower((message) => {
      if (channel.isUp) channel.up.push(message)
      return channel.isUp
    }),
  )
  const counters = borrowers.map((borrower) => borrower.counterOf('points', limit))
  const ways = channels.flatMap(({ up, down }, borrower) => [
    { queue: up as unknown[], deliver: () => lender.receive(borrower, up.shift()!) },
    { queue: down as unknown[], deliver: () => borrowers[borrower]!.receive(down.shift()!) },
  ])
  /** Delivers one message, whichever chance has it. Tells whether there was one. */
  const deliverOne = (random: () => number) => {
    const open = ways.filter(({ queue }) => queue.length > 0)
    open[Math.floor(random() * open.length)]?.deliver()
    return open.length > 0
  }
  const deliverAll = async (random: () => number = () => 0) => {
    while (deliverOne(random)) await undefined
  }
  return { lender, counters, channels, deliverOne, deliverAll }
}

const isAllowed = (counter: Counter, limit: number, points = 1) =>
  Promise.resolve(counter.consume('a key', points)).then(({ consumed }) => consumed <= limit)
const countOf = (answers: boolean[]) => answers.filter(Boolean).length

describe('processes that count together', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'let in as many as one would, whoever asks: chance %i',
    async (seed) => {
      const random = randomFrom(seed)
      const below = (bound: number) => Math.floor(random() * bound)
      const limit = 1 + below(300)
      const count = 1 + below(4)
      const { counters, deliverOne, deliverAll } = start(limit, count)

      const answers: Promise<boolean>[] = []
      for (let i = 0; i < limit + 50; i += 1) {
        answers.push(isAllowed(counters[below(count)]!, limit))
        for (let n = below(4); n > 0; n -= 1) deliverOne(random)
        await undefined
      }
      await deliverAll(random)

      expect(countOf(await Promise.all(answers))).toBe(limit)
    },
  )

  it.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'refuse nobody as long as there are points, however many are asked for: chance %i',
    async (seed) => {
      const random = randomFrom(seed)
      const below = (bound: number) => Math.floor(random() * bound)
      const wishes = Array.from({ length: 200 }, () => 1 + below(30))
      const limit = wishes.reduce((sum, points) => sum + points, 0)
      const { counters, deliverOne, deliverAll } = start(limit, 3)

      const answers: Promise<boolean>[] = []
      for (const points of wishes) {
        answers.push(isAllowed(counters[below(3)]!, limit, points))
        if (below(2)) deliverOne(random)
        await undefined
      }
      await deliverAll(random)
      const oneMore = isAllowed(counters[below(3)]!, limit)
      await deliverAll(random)

      expect(countOf(await Promise.all(answers))).toBe(wishes.length)
      expect(await oneMore).toBe(false)
    },
  )

  it('seldom ask as long as there is much', async () => {
    const { counters, channels, deliverAll } = start(1_000_000, 2)
    const first = isAllowed(counters[0]!, 1_000_000)
    await deliverAll()
    await first

    for (let i = 0; i < 1000; i += 1) await isAllowed(counters[0]!, 1_000_000)

    expect(channels[0]!.up).toEqual([])
  })

  it('begin anew when the minute is over, wherever points were lent', async () => {
    const { counters, deliverAll } = start(100, 2)
    const ask = async (counter: Counter) => {
      const answer = isAllowed(counter, 100)
      await deliverAll()
      return answer
    }
    const before: boolean[] = []
    for (let i = 0; i < 101; i += 1) before.push(await ask(counters[i % 2]!))

    vi.advanceTimersByTime(60_000)
    const after: boolean[] = []
    for (let i = 0; i < 101; i += 1) after.push(await ask(counters[i % 2]!))

    expect([countOf(before), before.at(-1)]).toEqual([100, false])
    expect([countOf(after), after.at(-1)]).toEqual([100, false])
  })

  it('do not wait for one that has gone', async () => {
    const { lender, counters, channels, deliverAll } = start(100, 2)
    const gone = isAllowed(counters[0]!, 100)
    await deliverAll()
    await gone
    // It has points left, and never gives them back.
    const all = Promise.all(Array.from({ length: 100 }, () => isAllowed(counters[1]!, 100)))
    channels[0]!.down.push = () => 0
    await deliverAll()

    lender.forget(0)
    await deliverAll()

    const allowed = countOf(await all)
    expect(allowed).toBeGreaterThan(90)
    expect(allowed).toBeLessThan(100)
  })

  it('do not wait for ever for one that hangs', async () => {
    const { counters, channels, deliverAll } = start(100, 2)
    const hung = isAllowed(counters[0]!, 100)
    await deliverAll()
    await hung
    const all = Promise.all(Array.from({ length: 100 }, () => isAllowed(counters[1]!, 100)))
    channels[0]!.down.push = () => 0
    await deliverAll()

    await vi.advanceTimersByTimeAsync(500)
    await deliverAll()

    expect(countOf(await all)).toBeGreaterThan(90)
  })

  it('count each for itself while nobody answers, or can be asked', async () => {
    const { counters, channels } = start(2, 2)
    const unanswered = Promise.all([0, 0, 0].map((own) => isAllowed(counters[own]!, 2)))
    await vi.advanceTimersByTimeAsync(1000)
    channels[1]!.isUp = false

    const unreachable = [0, 1, 2].map(() => isAllowed(counters[1]!, 2))

    expect(await unanswered).toEqual([true, true, false])
    expect(await Promise.all(unreachable)).toEqual([true, true, false])
  })
})

describe('a limiter that counts together with others', () => {
  it('tells what is left, as one that counts by itself', async () => {
    const { counters, deliverAll } = start(3, 2)
    const limiters = counters.map((counter) =>
      createRateLimiter({ requests: 3, nodes: 3, concurrent: 10, streams: 10 }, undefined, () => counter),
    )
    const answers: unknown[] = []
    for (const at of [0, 1, 0, 1, 1]) {
      const entered = limiters[at]!.enter('a key').then(
        ({ headers }) => headers['ratelimit-remaining'],
        (error) => error,
      )
      await deliverAll()
      answers.push(await entered)
    }

    expect(answers.slice(0, 3)).toEqual(['2', '1', '0'])
    expect(answers[3]).toBeInstanceOf(RateLimited)
    expect(answers.slice(3).map((error) => (error as Error).message)).toEqual([
      '4 requests within 60 seconds; at most 3 are allowed.',
      '5 requests within 60 seconds; at most 3 are allowed.',
    ])
  })
})
