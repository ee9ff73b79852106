import type { Database } from '../db/client.ts'
import { markEnqueued, type StoredLoginEvent } from '../db/login-events.ts'
import { createLoginSucceeded } from './login/login-succeeded.ts'
import type { LoginSucceeded } from './login/signed-in-user.ts'
import type { Vault } from './login/vault.ts'
import { openQueueBackend, type QueueBackend } from './queue/backend.ts'
import { createEnqueue } from './queue/enqueue.ts'
import { createRunEvents } from './queue/run-events.ts'

export type ProducerParts = {
  db: Database
  vault: Vault
  /** Open for `producer` use. */
  backend: QueueBackend
  queueUrl: string
  queuePrefix?: string | undefined
  onQueueFailure?: ((error: unknown) => void) | undefined
}

/** The producer over parts that somebody else opens and closes. `close` waits for what runs in the background. */
export function composeProducer(parts: ProducerParts): {
  /** For people who sign in through this source. */
  loginSucceededAt: (source: { slug: string; syncs: boolean }) => LoginSucceeded
  close: () => Promise<void>
} {
  const { db, vault, backend, queueUrl, queuePrefix, onQueueFailure } = parts
  const background = new Set<Promise<unknown>>()
  const inBackground = (work: Promise<unknown>) => {
    const ended = work.catch(() => undefined).finally(() => background.delete(ended))
    background.add(ended)
  }
  const enqueue = createEnqueue(backend, onQueueFailure ? { onFailure: onQueueFailure } : {})
  const events = createRunEvents(() =>
    openQueueBackend({
      url: queueUrl,
      use: 'worker',
      maxConnections: 3,
      ...(queuePrefix === undefined ? {} : { prefix: queuePrefix }),
    }),
  )
  const enqueueEvent = async ({ eventId, userId, tenantId, source: slug }: StoredLoginEvent) => {
    const taken = await enqueue([{ userId, tenantId, source: slug, cause: 'login', loginEventId: eventId }])
    // Unmarked events are only enqueued once more, so the sign-in needn't wait for the mark.
    if (taken) inBackground(markEnqueued(db, [eventId]))
    return taken
  }
  return {
    loginSucceededAt: ({ slug, syncs }) =>
      createLoginSucceeded({
        db,
        vault,
        source: slug,
        syncs,
        enqueue: enqueueEvent,
        listen: events.listen,
        inBackground,
      }),
    close: async () => {
      await events.close()
      while (background.size > 0) await Promise.all(background)
    },
  }
}
