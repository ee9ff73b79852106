/** Milliseconds in which a second signal is taken for an echo: npm passes Ctrl-C on to a child that has it already. */
const echoMs = 1000

/** Milliseconds from the signal after which the process ends whatever still hangs; longer than each part's own limit. */
const hardStopMs = 40_000

/** What a process that such a signal ends tells its parent: 128 and the signal's number (POSIX shells). */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

/** Reason that a command's signal aborts with: it was asked to stop. */
export class Stopped extends Error {
  readonly exitCode: number

  constructor(signal: keyof typeof exitCodes) {
    super(`stopped by ${signal}`)
    this.name = 'Stopped'
    this.exitCode = exitCodes[signal]
  }
}

/**
 * Aborts at SIGINT or SIGTERM, with {@link Stopped}. A second one a moment later ends the process at once, as does a
 * stop that takes too long: a database that hangs must not keep a worker for ever. An embedded server goes with the
 * process. To be called before anything else: as process 1 of a container, the kernel drops a signal nobody handles.
 */
export function hearSignals(): AbortSignal {
  const stopping = new AbortController()
  let first: number | undefined
  const onSignal = (name: keyof typeof exitCodes) => {
    if (first === undefined) {
      first = performance.now()
      setTimeout(() => process.exit(1), hardStopMs).unref()
      stopping.abort(new Stopped(name))
    } else if (performance.now() - first > echoMs) {
      process.exit(exitCodes[name])
    }
  }
  process.on('SIGINT', () => onSignal('SIGINT'))
  process.on('SIGTERM', () => onSignal('SIGTERM'))
  return stopping.signal
}

/** Resolves when the signal aborts. */
export async function untilStopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
