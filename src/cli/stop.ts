/** How long requests in progress may take after a signal. */
export const graceMs = 7_500
/** When a stop has not come to its end by then, something hangs that is not worth waiting for. */
export const stopMs = 9_500

/**
 * Resolves at the first SIGTERM or SIGINT; a second one ends the process at once, and so does what is left of a stop that
 * takes too long. `onEnd` is called before such an end.
 */
export function stopSignal(onEnd: () => void = () => {}): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false
    const end = (code: number) => {
      onEnd()
      process.exit(code)
    }
    const onSignal = (signal: NodeJS.Signals) => {
      if (stopping) end(signal === 'SIGINT' ? 130 : 143)
      stopping = true
      setTimeout(() => end(0), stopMs).unref()
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}

/** Aborted by the first SIGINT or SIGTERM: a command ends after what is under way. A second one ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  const stop = () => controller.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  return controller.signal
}
