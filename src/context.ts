import { closeDatabase, cutDatabase, openDatabase, type Database } from '../db/client.ts'
import { isMigrated } from '../db/migrate.ts'
import { registerSource } from '../db/sources.ts'
import { composeProducer } from './compose-producer.ts'
import type { Config } from './config.ts'
import { startUpFailure } from './database-failure.ts'
import { ConfigInvalid } from './errors.ts'
import { createGraphClient } from './graph/client.ts'
import { createTenantBudget } from './graph/throttle.ts'
import type { Log } from './log.ts'
import { createEntraClient } from './login/entra.ts'
import type { LoginSucceeded } from './login/signed-in-user.ts'
import { createExchangedTokens } from './login/exchanged-tokens.ts'
import { createExchange } from './login/on-behalf-of.ts'
import { createUserTokens, type UserTokens } from './login/tokens.ts'
import { createVault } from './login/vault.ts'
import { openQueueBackend, type QueueBackend } from './queue/backend.ts'
import { prepareQueue } from './queue-start-up.ts'
import type { SyncParts } from './sync.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Everything a process of ours needs, opened once and handed down. */
export type Context = SyncParts & {
  config: Config
  log: Log
  db: Database
  tokens: UserTokens
  /** For taking jobs and for the board: waits for the queue as long as it takes. */
  backend: QueueBackend
  /** For enqueueing: fails fast. */
  producer: QueueBackend
  loginSucceeded: LoginSucceeded
  /** Closes what was opened, last first. */
  close: () => Promise<void>
}

export type ContextOptions = {
  /**
   * What to do while the queue doesn't answer. `wait`, as a worker does, and say so; `goOn`, as a gateway does, since
   * signing in must work while the queue is down; `refuse`, where somebody has just typed its address. Default `wait`.
   */
  withoutQueue?: 'wait' | 'goOn' | 'refuse'
  /** Start of every Redis key; see `QueueBackendOptions`. */
  queuePrefix?: string
  /** Gives up opening: what was opened is closed, then it rejects with the signal's reason. No use once it is open. */
  signal?: AbortSignal | undefined
}

/**
 * @throws {ConfigInvalid} for a database out of reach or not migrated, and for a Redis that may evict keys; whatever was
 * opened by then is closed again.
 */
export async function openContext(config: Config, log: Log, options: ContextOptions = {}): Promise<Context> {
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  const { source, queueUrl } = config
  const { signal, withoutQueue = 'wait' } = options
  const prefix = options.queuePrefix === undefined ? {} : { prefix: options.queuePrefix }
  try {
    // A renewal of tokens holds a connection while Entra thinks about it.
    const db = openDatabase(config.databaseUrl, {
      max: config.syncConcurrency + 10,
      prepare: config.databasePrepare,
    })
    let opened = false
    closers.push(() => (opened ? closeDatabase(db) : cutDatabase(db)))
    await unlessAborted(signal, requireTables(db))
    const backend = await openQueueBackend({ url: queueUrl, use: 'worker', maxConnections: 20, ...prefix })
    closers.push(backend.close)
    const closing = new AbortController()
    closers.push(async () => closing.abort())
    await unlessAborted(signal, prepareQueue({ backend, config, log, withoutQueue, closing: closing.signal }))
    const producer = await openQueueBackend({ url: queueUrl, use: 'producer', maxConnections: 5, ...prefix })
    closers.push(producer.close)
    await unlessAborted(signal, registerSource(db, source))
    opened = true
    const vault = createVault(config.tokenKeys)
    const logins = composeProducer({
      db,
      vault,
      backend: producer,
      queueUrl,
      queuePrefix: options.queuePrefix,
      source: source.slug,
      onQueueFailure: (error) =>
        log.warn({ err: error }, 'the queue took no login event; the relay will hand it over'),
    })
    closers.push(logins.close)
    const entra = createEntraClient(source)
    return {
      config,
      log,
      db,
      backend,
      producer,
      loginSucceeded: logins.loginSucceeded,
      tokens: createUserTokens({
        db,
        vault,
        renew: entra.renew,
        exchanged: createExchangedTokens(createExchange(source)),
      }),
      openGraph: (accessToken, priority, ended) =>
        createGraphClient({ baseUrl: source.graphBaseUrl, accessToken, priority, signal: ended }),
      tenantId: source.tenantId,
      groupRead: source.groupRead,
      budget: createTenantBudget({
        db,
        key: { clientId: source.clientId, tenantId: source.tenantId },
        unitsPer10s: source.unitsPer10s,
      }),
      rules: { guard: config.guard, resyncGuard: config.resyncGuard, filter: config.groupFilter },
      close,
    }
  } catch (error) {
    await close()
    throw startUpFailure(error)
  }
}

/** @throws {ConfigInvalid} where `migrate` has to run first. */
export async function requireTables(db: Database): Promise<void> {
  if (await isMigrated(db)) return
  const message = 'the tables are missing or of an older version; run `entra-group-sync migrate` first'
  throw new ConfigInvalid([{ setting: 'DATABASE_URL', message }])
}
