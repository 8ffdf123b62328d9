/** What has to be undone, the latest first, however the bench ends. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = []
  #isOver = false

  add(step: () => unknown): void {
    this.#steps.push(step)
  }

  /** To be asked before a process is started: whoever is interrupted goes on for a moment, and must leave nothing behind. */
  refuseWhenOver(): void {
    if (this.#isOver) throw new Error('The bench is over.')
  }

  /** Undoes everything once. A step that fails does not keep the others from being done. */
  async run(): Promise<void> {
    this.#isOver = true
    const faults: unknown[] = []
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step()
      } catch (fault) {
        faults.push(fault)
      }
    }
    if (faults.length > 0) throw new AggregateError(faults, 'not everything could be cleaned up')
  }
}
