import { setTimeout as delay } from 'node:timers/promises'
import { isUnreachable } from '../db/reachable.ts'
import type { Config } from './config.ts'
import { codeOf, queueStartUpFailure } from './database-failure.ts'
import { ConfigInvalid } from './errors.ts'
import type { Log } from './log.ts'
import type { QueueBackend } from './queue/backend.ts'
import { unlessAborted } from './unless-aborted.ts'
import { within } from './within.ts'

export type QueueStartUp = {
  backend: QueueBackend
  config: Config
  log: Log
  /** As in `ContextOptions`. */
  withoutQueue: 'wait' | 'goOn' | 'refuse'
  /** Aborts when the backend is closed: from then on nothing is asked or told. */
  closing: AbortSignal
}

/** Milliseconds between two lines about a queue that doesn't answer, and after which a gateway goes on without it. */
const patienceMs = 5000

/** @throws {ConfigInvalid} for a queue that refuses us in a way that waiting doesn't mend. */
export async function prepareQueue(parts: QueueStartUp): Promise<void> {
  const { backend, config, log, withoutQueue, closing } = parts
  let refusal: string | undefined
  const queue = new URL(config.queueUrl).host
  const prepared = prepareWhenReachable(parts, (code) => (refusal = code)).catch((error: unknown) => {
    throw queueStartUpFailure(error, config)
  })
  const settled = prepared.catch(() => undefined)
  while (!(await within(patienceMs, settled))) {
    // Never its text: that may hold what the URL holds.
    const code = backend.lastFailure() ?? refusal
    if (withoutQueue === 'refuse') {
      const message = `the queue at ${queue} does not answer${code === undefined ? '' : ` (${code})`}`
      throw new ConfigInvalid([{ setting: 'QUEUE_URL', message }])
    }
    if (withoutQueue === 'goOn') {
      log.warn(
        { queue, code },
        'the queue does not answer; sign-ins go on, and their events are enqueued when it is back',
      )
      prepared.catch((error: unknown) => {
        if (!closing.aborted) log.error({ err: error }, 'the queue can not be used')
      })
      return
    }
    log.warn({ queue, code }, 'the queue does not answer; waiting for it')
  }
  await prepared
}

/** A Redis out of reach is waited for by its connection; a Postgres refuses at once and is asked again. */
async function prepareWhenReachable(
  { backend, config, closing }: QueueStartUp,
  onRefusal: (code: string) => void,
): Promise<void> {
  for (;;) {
    try {
      await unlessAborted(closing, backend.prepare({ allowEviction: config.allowEviction, signal: closing }))
      return
    } catch (error) {
      if (closing.aborted || !isUnreachable(error)) throw error
      onRefusal(codeOf(error))
      await delay(1000, undefined, { ref: false, signal: closing })
    }
  }
}
