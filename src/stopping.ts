/** Milliseconds in which a second signal is taken for an echo: npm passes Ctrl-C on to a child that has it already. */
const echoMs = 1000

/** Resolves at SIGINT or SIGTERM. A second one a moment later ends the process at once. */
export async function untilStopped(): Promise<void> {
  await new Promise<void>((resolve) => {
    let first: number | undefined
    const onSignal = () => {
      if (first === undefined) {
        first = performance.now()
        resolve()
      } else if (performance.now() - first > echoMs) {
        process.exit(130)
      }
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
