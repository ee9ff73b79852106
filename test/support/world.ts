import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import type { Database } from '../../db/client.ts'
import { loadConfig, type Config } from '../../src/config.ts'
import { openContext, type Context } from '../../src/context.ts'
import { freePort } from '../../src/embedded/ports.ts'
import type { TenantBudget } from '../../src/graph/throttle.ts'
import { createLog } from '../../src/log.ts'
import type { OpenSource } from '../../src/open-source.ts'
import { serveGateway } from '../../src/serve.ts'
import { startSimulator, type Simulator, type SimulatorSeed } from '../../src/simulator/index.ts'
import { simulatorSettings } from '../../src/start.ts'
import type { SyncParts } from '../../src/sync.ts'
import { startWorkers, type Workers, type WorkersOptions } from '../../workers/main.ts'
import { createTestDatabase } from './database.ts'
import { findLeaks } from './leaks.ts'

export type Backend = 'redis' | 'postgres'

/** Both queue backends; Redis only where there is one (its absence was told loudly, and fails under CI). */
export function availableBackends(): Backend[] {
  return inject('redisUrl') === undefined ? ['postgres'] : ['redis', 'postgres']
}

export type World = {
  simulator: Simulator
  config: Config
  context: Context
  /** The one source of the environment, opened, and what its tenant lets all workers ask. */
  source: OpenSource
  budget: TenantBudget
  db: Database
  /** Settings for a process of its own on the same tenant, database and queue, and where its jobs are in Redis. */
  environment: Record<string, string>
  queuePrefix: string
  /** Every log line written so far. */
  logged: string[]
  startWorkers: (options?: Partial<WorkersOptions>) => Promise<Workers>
  /** Serves the gateway; its URL. */
  startGateway: () => Promise<string>
  /** Stops it and serves another at the same address, which knows nothing but what is stored. */
  restartGateway: () => Promise<void>
  /** Where a token that the simulator issued was written, so far. */
  leaks: () => Promise<string[]>
  /** @throws if a token was written anywhere while the world was open. */
  close: () => Promise<void>
}

export type WorldOptions = {
  backend: Backend
  seed?: SimulatorSeed
  environment?: Record<string, string>
  queueUrl?: string
  /** Settings that follow from the simulator, such as that it is asked over https. */
  settings?: (simulator: Simulator) => Record<string, string>
}

/** A simulated tenant, a database, a queue and our context over them: everything real but the tenant. */
export async function openWorld(options: WorldOptions): Promise<World> {
  const database = await createTestDatabase()
  const simulator = await startSimulator({ users: 0, groups: 0, https: false, ...options.seed })
  const key = () => `test:${randomBytes(32).toString('base64')}`
  const environment = {
    ...simulatorSettings(simulator),
    DATABASE_URL: database.url,
    QUEUE_URL:
      options.queueUrl ?? (options.backend === 'redis' ? inject('redisUrl') : undefined) ?? database.url,
    TOKEN_ENCRYPTION_KEYS: key(),
    SESSION_KEYS: key(),
    PORT: String(await freePort()),
    LOG_LEVEL: 'debug',
    ...options.settings?.(simulator),
    ...options.environment,
  }
  const config = loadConfig(environment, { gateway: true })
  const logged: string[] = []
  const log = createLog(config.logLevel, { write: (line) => void logged.push(line) })
  const prefix = `{test-${randomBytes(6).toString('hex')}}`
  const context = await openContext(config, log, { queuePrefix: prefix })
  const [source] = context.sources.values()
  if (!source) throw new Error('the world has no source')
  const closers: (() => Promise<void>)[] = [database.close, () => simulator.close(), context.close]
  const redisUrl = options.backend === 'redis' ? inject('redisUrl') : undefined
  let gateway: { close: () => Promise<void> } | undefined
  const leaks = () =>
    findLeaks(simulator.issuedTokens(), {
      logged,
      db: database.db,
      ...(redisUrl === undefined ? {} : { redis: { url: redisUrl, prefix } }),
    })
  return {
    simulator,
    config,
    context,
    source,
    budget: source.budgetOf(simulator.tenant.id),
    db: database.db,
    environment,
    queuePrefix: prefix,
    logged,
    startWorkers: async (workers) => {
      const started = await startWorkers(context, {
        concurrency: 10,
        relay: { intervalMs: 50 },
        notifications: { publicUrl: config.publicUrl },
        ...workers,
      })
      closers.push(started.stop)
      return started
    },
    startGateway: async () => {
      gateway = await serveGateway(context)
      closers.push(async () => await gateway?.close())
      return config.publicUrl
    },
    restartGateway: async () => {
      await gateway?.close()
      gateway = await serveGateway(context)
    },
    leaks,
    close: async () => {
      const found = closers.length > 0 ? await leaks() : []
      for (const closer of closers.splice(0).toReversed()) await closer()
      if (found.length > 0) throw new Error(`a token was written to ${found.join(', ')}`)
    },
  }
}

/** What a run is given, with some of its source replaced. */
export function partsWith({ db, source }: World, changes: Partial<OpenSource>): SyncParts {
  return { db, sources: new Map([[source.slug, { ...source, ...changes }]]) }
}
