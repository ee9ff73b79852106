/** Milliseconds in which a second signal is taken for an echo: npm passes Ctrl-C on to a child that has it already. */
const echoMs = 1000

/** Milliseconds from the signal after which the process ends whatever still hangs; longer than each part's own limit. */
const hardStopMs = 40_000

/**
 * Resolves at SIGINT or SIGTERM. A second one a moment later ends the process at once, as does a stop that takes too
 * long: a database that hangs must not keep a worker for ever. An embedded server goes with the process.
 */
export async function untilStopped(): Promise<void> {
  await new Promise<void>((resolve) => {
    let first: number | undefined
    const onSignal = () => {
      if (first === undefined) {
        first = performance.now()
        setTimeout(() => process.exit(1), hardStopMs).unref()
        resolve()
      } else if (performance.now() - first > echoMs) {
        process.exit(130)
      }
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
