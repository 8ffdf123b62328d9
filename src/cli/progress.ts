/** Tells how far a long command is: on a terminal by one line that is written over, elsewhere by a line every two seconds. */
export class Progress {
  readonly #total: number | undefined
  readonly #unit: string
  readonly #out: NodeJS.WriteStream
  readonly #startedAt = performance.now()
  #lastTold = this.#startedAt
  /** Whether a line on the terminal waits to be written over. */
  #isOpen = false
  #isDone = false

  /** The total is undefined where only the fraction will be known. */
  constructor(total: number | undefined, unit: string, out: NodeJS.WriteStream = process.stderr) {
    this.#total = total
    this.#unit = unit
    this.#out = out
  }

  update(done: number, fraction = this.#total ? done / this.#total : 1): void {
    if (this.#isDone) return
    const now = performance.now()
    const isLast = fraction >= 1
    if (now - this.#lastTold < (this.#out.isTTY ? terminalPauseMs : plainPauseMs) && !(isLast && this.#isOpen)) return
    this.#lastTold = now
    const secondsLeft = Math.ceil(((now - this.#startedAt) / 1000) * (1 / Math.max(fraction, 1e-9) - 1))
    const amount = this.#total === undefined ? done : `${done} of ${this.#total}`
    const percent = Math.floor(fraction * 100)
    const line = `${amount} ${this.#unit} (${percent} %), ${this.rate(done)} a second, ${secondsLeft} s left`
    // What is longer than the terminal is wide would stay there in part.
    this.#out.write(
      this.#out.isTTY ? `\r\x1b[2K${line.slice(0, (this.#out.columns || Number.POSITIVE_INFINITY) - 1)}` : `${line}\n`,
    )
    this.#isOpen = this.#out.isTTY
    this.#isDone = isLast
    if (isLast) this.end()
  }

  /** Leaves the line on the terminal, also where the work has ended early. */
  end(): void {
    if (this.#isOpen) this.#out.write('\n')
    this.#isOpen = false
  }

  /** Per second, since the start. */
  rate(done: number): number {
    return Math.round(done / ((performance.now() - this.#startedAt) / 1000))
  }
}

/** Tells something on standard error while a line of progress may stand there. */
export function say(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[2K' : ''}${text}\n`)
}

const terminalPauseMs = 100
const plainPauseMs = 2000
