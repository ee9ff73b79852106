import { closeDatabase, openDatabase, type Database } from '../db/client.ts'
import { markEnqueued, type StoredLoginEvent } from '../db/login-events.ts'
import { parseNamedKeys, type NamedKey } from './config.ts'
import { createLoginSucceeded, type LoginSucceeded } from './login/login-succeeded.ts'
import { createVault, type Vault } from './login/vault.ts'
import { openQueueBackend, type QueueBackend } from './queue/backend.ts'
import { createEnqueue } from './queue/enqueue.ts'
import { createRunEvents } from './queue/run-events.ts'

export type LoginProducerOptions = {
  databaseUrl: string
  /** `redis:`, `rediss:` or `postgres:`; default: the queue in `databaseUrl`. */
  queueUrl?: string
  /** As in TOKEN_ENCRYPTION_KEYS: `kid:base64-of-32-bytes`, comma-separated, the first seals. */
  tokenKeys: string | readonly NamedKey[]
  /** Slug of the source people sign in through; default `entra-id`. The workers must know it. */
  source?: string
  /** Told when the queue didn't take an event; the relay of a worker will hand it over. */
  onQueueFailure?: (error: unknown) => void
  /** False for PgBouncer in transaction mode. */
  databasePrepare?: boolean
}

export type LoginProducer = {
  loginSucceeded: LoginSucceeded
  close: () => Promise<void>
}

/**
 * What a sign-in flow calls. Opens a pool of five connections to the database and one to the queue; a queue that is down
 * is no error, here or later.
 * @throws {ConfigInvalid} for keys that don't parse.
 */
export async function openLoginProducer(options: LoginProducerOptions): Promise<LoginProducer> {
  const { databaseUrl, queueUrl = databaseUrl, tokenKeys, source = 'entra-id' } = options
  const keys = typeof tokenKeys === 'string' ? parseNamedKeys('tokenKeys', tokenKeys) : tokenKeys
  const vault = createVault(keys)
  const backend = await openQueueBackend({ url: queueUrl, use: 'producer', maxConnections: 5 })
  const db = openDatabase(databaseUrl, {
    max: 5,
    prepare: options.databasePrepare ?? true,
    applicationName: 'entra-group-sync producer',
  })
  const producer = composeProducer({
    db,
    vault,
    backend,
    queueUrl,
    source,
    onQueueFailure: options.onQueueFailure,
  })
  return {
    loginSucceeded: producer.loginSucceeded,
    close: async () => {
      await producer.close()
      await closeDatabase(db)
      await backend.close()
    },
  }
}

export type ProducerParts = {
  db: Database
  vault: Vault
  /** Open for `producer` use. */
  backend: QueueBackend
  queueUrl: string
  queuePrefix?: string | undefined
  source: string
  onQueueFailure?: ((error: unknown) => void) | undefined
}

/** The producer over parts that somebody else opens and closes. `close` waits for what runs in the background. */
export function composeProducer(parts: ProducerParts): LoginProducer {
  const { db, vault, backend, queueUrl, queuePrefix, source, onQueueFailure } = parts
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
    loginSucceeded: createLoginSucceeded({
      db,
      vault,
      source,
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
