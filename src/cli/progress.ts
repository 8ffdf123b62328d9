/** Tells how far a long command is: on a terminal by one line that is written over, elsewhere by a line now and then. */
export class Progress {
  readonly #total: number
  readonly #unit: string
  readonly #out: NodeJS.WriteStream
  readonly #startedAt = performance.now()
  #lastTold = 0

  constructor(total: number, unit: string, out: NodeJS.WriteStream = process.stderr) {
    this.#total = total
    this.#unit = unit
    this.#out = out
  }

  update(done: number): void {
    const now = performance.now()
    const isLast = done >= this.#total
    if (!isLast && now - this.#lastTold < (this.#out.isTTY ? terminalPauseMs : plainPauseMs)) return
    this.#lastTold = now
    const rate = this.rate(done)
    const secondsLeft = Math.ceil((this.#total - done) / Math.max(rate, 1))
    const percent = Math.floor((done / this.#total) * 100)
    const line = `${done} of ${this.#total} ${this.#unit} (${percent} %), ${rate} a second, ${secondsLeft} s left`
    this.#out.write(this.#out.isTTY ? `\r\x1b[2K${line}${isLast ? '\n' : ''}` : `${line}\n`)
  }

  /** Per second, since the start. */
  rate(done: number): number {
    return Math.round(done / ((performance.now() - this.#startedAt) / 1000))
  }
}

const terminalPauseMs = 100
const plainPauseMs = 2000
