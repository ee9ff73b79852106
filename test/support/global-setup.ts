import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Redis } from 'ioredis'
import type { TestProject } from 'vitest/node'
import { migrateDatabase } from '../../db/migrate.ts'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { startRedisServer } from './redis-server.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** A database on the test server; tests make their own from `migrated`. */
    postgresUrl: string
    /** Undefined where no Redis is to be had. */
    redisUrl: string | undefined
  }
}

/** One real PostgreSQL and one real Redis for the whole run; every test file gets a database from a template. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-test-'))
  const server = await startEmbeddedPostgres({
    home,
    database: 'migrated',
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
  })
  await migrateDatabase(server.url)
  project.provide('postgresUrl', server.urlOf('postgres'))
  const redis = await findRedis()
  project.provide('redisUrl', redis.url)
  return async () => {
    await redis.stop()
    await server.stop()
    // Run by root, the files may be elsewhere, behind a link.
    rmSync(realpathSync(path.join(home, 'postgres')), { recursive: true, force: true })
    rmSync(home, { recursive: true, force: true })
  }
}

async function findRedis(): Promise<{ url: string | undefined; stop: () => Promise<void> }> {
  const stop = async () => undefined
  const configured = process.env['REDIS_URL']
  for (const url of configured ? [configured] : ['redis://127.0.0.1:6379']) {
    if (await answers(url)) return { url, stop }
    if (configured) throw new Error(`REDIS_URL is set, but nothing answers at ${url}`)
  }
  const started = await startRedisServer()
  if (started) return started
  const message = 'No Redis: set REDIS_URL, or install redis-server or valkey-server.'
  if (process.env['CI'] === 'true') throw new Error(`${message} With CI=true its tests may not be skipped.`)
  process.stderr.write(`\n!!! THE REDIS HALF OF THE TESTS IS SKIPPED. ${message}\n\n`)
  return { url: undefined, stop }
}

async function answers(url: string): Promise<boolean> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 1000 })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return (await redis.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    redis.disconnect()
  }
}
