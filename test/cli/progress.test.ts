import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Progress } from '../../src/cli/progress.ts'

// The clock stands still, and is set by hand.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** What is written to a terminal of so many columns, or elsewhere. */
function output(columns?: number) {
  const stream = new PassThrough().setEncoding('utf8')
  const out = Object.assign(
    stream,
    columns === undefined ? {} : { isTTY: true, columns },
  ) as unknown as NodeJS.WriteStream
  return { out, written: () => (stream.read() as string | null) ?? '' }
}

describe('the progress of a long command', () => {
  it('is a line every two seconds where nobody looks at it, with the rate and the time left', () => {
    const { out, written } = output()
    const progress = new Progress(1000, 'rows', out)

    vi.advanceTimersByTime(1999)
    progress.update(100)
    expect(written()).toBe('')
    vi.advanceTimersByTime(1)
    progress.update(250)
    progress.update(300)
    vi.advanceTimersByTime(2000)
    progress.update(500)
    progress.update(1000)
    progress.end()

    expect(written()).toBe(
      '250 of 1000 rows (25 %), 125 a second, 6 s left\n500 of 1000 rows (50 %), 125 a second, 4 s left\n',
    )
  })

  it('is one line on a terminal, which is written over and left in the end', () => {
    const { out, written } = output(80)
    const progress = new Progress(undefined, 'rows', out)

    vi.advanceTimersByTime(100)
    progress.update(10, 0.1)
    progress.update(20, 0.2)
    vi.advanceTimersByTime(100)
    progress.update(40, 0.4)
    progress.update(100, 1)
    vi.advanceTimersByTime(1000)
    progress.update(100, 1)
    progress.end()

    expect(written()).toBe(
      [
        '\r\x1b[2K10 rows (10 %), 100 a second, 1 s left',
        '\r\x1b[2K40 rows (40 %), 200 a second, 1 s left',
        '\r\x1b[2K100 rows (100 %), 500 a second, 0 s left\n',
      ].join(''),
    )
  })

  it('is left on the terminal when the work ends early, once', () => {
    const { out, written } = output(80)
    const progress = new Progress(10, 'rows', out)

    vi.advanceTimersByTime(1000)
    progress.update(1)
    progress.end()
    progress.end()

    expect(written()).toMatch(/ left\n$/)
  })

  it('is no longer than the terminal is wide', () => {
    const { out, written } = output(30)
    const progress = new Progress(1000, `rows of ${'x'.repeat(100)}`, out)

    vi.advanceTimersByTime(1000)
    progress.update(500)

    expect(written()).toBe(`\r\x1b[2K500 of 1000 rows of ${'x'.repeat(9)}`)
  })

  it('is cut nowhere where the terminal does not tell how wide it is', () => {
    const { out, written } = output(0)
    const progress = new Progress(2, 'rows', out)

    vi.advanceTimersByTime(1000)
    progress.update(1)

    expect(written()).toMatch(/1 of 2 rows \(50 %\), 1 a second, 1 s left$/)
  })
})
