import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { loadConfig } from '../src/config.ts'
import { openContext, type Context } from '../src/context.ts'
import { createLog } from '../src/log.ts'
import type { SignedInUser } from '../src/login/signed-in-user.ts'

export type BenchTenant = {
  settings: Record<string, string>
  people: SignedInUser[]
  close: () => Promise<void>
}

/** A simulated tenant in a process of its own. */
export async function openTenant(people: number, groupsEach: number, groups: number): Promise<BenchTenant> {
  const script = fileURLToPath(new URL('./tenant-process.ts', import.meta.url))
  const child = spawn(process.execPath, [script, `${people}`, `${groupsEach}`, `${groups}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const told = JSON.parse(line) as Pick<BenchTenant, 'settings' | 'people'>
  return {
    ...told,
    close: async () => {
      child.stdin.end()
      await once(child, 'close')
    },
  }
}

export type BenchQueue = { name: 'Redis' | 'Postgres'; url: string }

/** The queue backends to be had: the Redis of REDIS_URL or on its standard port, and Postgres. */
export async function findQueues(databaseUrl: string): Promise<BenchQueue[]> {
  const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => undefined)
  const answers = await redis.connect().then(
    () => true,
    () => false,
  )
  redis.disconnect()
  const postgres: BenchQueue = { name: 'Postgres', url: databaseUrl }
  return answers ? [{ name: 'Redis', url }, postgres] : [postgres]
}

export const noRedis = 'no Redis at REDIS_URL or 127.0.0.1:6379, so that half was left out'

/** Our parts over a tenant and a queue, with keys of their own and a Redis prefix that is emptied by `close`. */
export async function openBenchContext(
  databaseUrl: string,
  queue: BenchQueue,
  settings: Record<string, string>,
  concurrency: number,
): Promise<{ context: Context; prefix: string; close: () => Promise<void> }> {
  const key = `bench:${randomBytes(32).toString('base64')}`
  const config = loadConfig({
    ...settings,
    DATABASE_URL: databaseUrl,
    QUEUE_URL: queue.url,
    TOKEN_ENCRYPTION_KEYS: key,
    SYNC_CONCURRENCY: `${concurrency}`,
    // The simulated tenant has no limit, and what is measured is not ours.
    GRAPH_UNITS_PER_10S: '1000000',
  })
  const prefix = `{bench-${randomUUID()}}`
  const context = await openContext(config, createLog('silent'), { queuePrefix: prefix })
  return {
    context,
    prefix,
    close: async () => {
      await context.backend.openQueue('sync').obliterate({ force: true })
      await context.close()
    },
  }
}
