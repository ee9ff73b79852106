import { closeDatabase, cutDatabase, openDatabase, type Database } from '../db/client.ts'
import { isMigrated } from '../db/migrate.ts'
import { registerSource } from '../db/sources.ts'
import { composeProducer } from './compose-producer.ts'
import type { Config } from './config.ts'
import { databaseFailure, startUpFailure } from './database-failure.ts'
import { ConfigInvalid, InvalidLoginEvent } from './errors.ts'
import type { Log } from './log.ts'
import type { LoginReported } from './login/signed-in-user.ts'
import { createVault, type Vault } from './login/vault.ts'
import { openSource, type OpenSource } from './open-source.ts'
import { openQueueBackend, type QueueBackend } from './queue/backend.ts'
import { prepareQueue } from './queue-start-up.ts'
import { recordSourceCredentials } from './source-status.ts'
import { chooseSource, tenantSegment, type SourceConfig } from './source-config.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Everything a process of ours needs, opened once and handed down. */
export type Context = {
  config: Config
  log: Log
  db: Database
  /** By slug. */
  sources: ReadonlyMap<string, OpenSource>
  /** For taking jobs and for the board: waits for the queue as long as it takes. */
  backend: QueueBackend
  /** For enqueueing: fails fast. */
  producer: QueueBackend
  /** For people of any source; which one is told, or follows from the tenant. */
  loginSucceeded: LoginReported
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
  const { queueUrl } = config
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
    for (const source of config.sources) await unlessAborted(signal, registerSource(db, registered(source)))
    opened = true
    const vault = createVault(config.tokenKeys)
    const sources = new Map(
      config.sources.map((source) => [source.slug, openTold(source, { db, vault, log })]),
    )
    const logins = composeProducer({
      db,
      vault,
      backend: producer,
      queueUrl,
      queuePrefix: options.queuePrefix,
      onQueueFailure: (error) =>
        log.warn({ err: error }, 'the queue took no login event; the relay will hand it over'),
    })
    closers.push(logins.close)
    return {
      config,
      log,
      db,
      backend,
      producer,
      sources,
      loginSucceeded: async ({ source: told, ...user }, waiting) => {
        const chosen = chooseSource(config.sources, { slug: told, tenantId: user.tenantId })
        if ('problem' in chosen)
          throw new InvalidLoginEvent([{ field: chosen.field, message: chosen.problem }])
        const source = sources.get(chosen.source.slug)
        return await logins.loginSucceededAt({ slug: chosen.source.slug, syncs: source?.syncs ?? false })(
          user,
          waiting,
        )
      },
      close,
    }
  } catch (error) {
    await close()
    throw startUpFailure(error)
  }
}

const registered = (source: SourceConfig) => ({
  slug: source.slug,
  name: source.name,
  tenantId: tenantSegment(source),
  clientId: source.clientId,
})

/** A source whose credentials are told of: in the log, and where its status is read from. */
function openTold(
  config: SourceConfig,
  { log, ...parts }: { db: Database; vault: Vault; log: Log },
): OpenSource {
  const { slug } = config
  let writing = Promise.resolve()
  const source = openSource(config, {
    ...parts,
    onStaleKeys: (code) =>
      log.warn(
        { source: slug, code },
        'the signing keys of Entra could not be read anew; the known ones are used',
      ),
    onCredential: {
      onChange: ({ from, to, refusedWith }) => {
        if (to === undefined)
          log.error({ source: slug, from, refusedWith }, 'Entra takes no credential of the app any more')
        else log.warn({ source: slug, from, to, refusedWith }, 'another credential of the app is in use')
      },
      onLearnt: (status) => {
        // One after the other, so that what is known last is stored last.
        writing = writing
          .then(() => recordSourceCredentials(parts.db, config, status))
          .catch((error: unknown) =>
            log.warn(
              { source: slug, code: databaseFailure(error).code },
              'the status of a source was not written',
            ),
          )
      },
      onExpiry: ({ id, expiresAt }) =>
        log.warn({ source: slug, credential: id, expiresAt }, 'a credential of the app ends soon'),
    },
  })
  if (config.enabled && !source.syncs) log.warn({ source: slug }, 'group sync is off for this source')
  return source
}

/** @throws {ConfigInvalid} where `migrate` has to run first. */
export async function requireTables(db: Database): Promise<void> {
  if (await isMigrated(db)) return
  const message = 'the tables are missing or of an older version; run `entra-group-sync migrate` first'
  throw new ConfigInvalid([{ setting: 'DATABASE_URL', message }])
}
