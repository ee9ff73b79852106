import { closeDatabase, openDatabase } from '../db/client.ts'
import { composeProducer } from './compose-producer.ts'
import { parseNamedKeys, type NamedKey } from './config.ts'
import type { LoginSucceeded } from './login/signed-in-user.ts'
import { createVault } from './login/vault.ts'
import { openQueueBackend } from './queue/backend.ts'

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
    onQueueFailure: options.onQueueFailure,
  })
  return {
    loginSucceeded: producer.loginSucceededAt({ slug: source, syncs: true }),
    close: async () => {
      await producer.close()
      await closeDatabase(db)
      await backend.close()
    },
  }
}
