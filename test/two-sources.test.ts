import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, expect, inject, test } from 'vitest'
import { loadConfig } from '../src/config.ts'
import { openContext } from '../src/context.ts'
import { freePort } from '../src/embedded/ports.ts'
import { createLog } from '../src/log.ts'
import { defaultApp, defaultClientId, startSimulator } from '../src/simulator/index.ts'
import { startWorkers } from '../workers/main.ts'
import { createTestDatabase } from './support/database.ts'
import { availableBackends, type Backend } from './support/world.ts'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const apps = { alpha: defaultClientId, beta: randomUUID() }

/** Two apps of one tenant, on one queue, and somebody in one group. */
async function openTwoSources(backend: Backend) {
  const database = await createTestDatabase()
  const simulator = await startSimulator({
    users: 0,
    groups: 0,
    https: false,
    apps: [defaultApp, { ...defaultApp, clientId: apps.beta }],
  })
  const { tenant } = simulator
  const folder = mkdtempSync(path.join(tmpdir(), 'two-sources-'))
  closers.push(
    database.close,
    () => simulator.close(),
    async () => rmSync(folder, { recursive: true }),
  )
  const file = path.join(folder, 'sources.json')
  const sources = Object.entries(apps).map(([slug, clientId]) => ({
    slug,
    name: slug,
    tenant: tenant.id,
    clientId,
    credentials: [{ secret: '${THE_SECRET}' }],
    authorityHost: simulator.entraUrl,
    graphBaseUrl: simulator.graphUrl,
  }))
  writeFileSync(file, JSON.stringify({ sources }))
  const environment = {
    DATABASE_URL: database.url,
    QUEUE_URL: backend === 'redis' ? inject('redisUrl')! : database.url,
    SOURCES_FILE: file,
    THE_SECRET: defaultApp.clientSecret,
    TOKEN_ENCRYPTION_KEYS: `t1:${randomBytes(32).toString('base64')}`,
    SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
    PORT: String(await freePort()),
  }
  const queuePrefix = `{test-${randomUUID()}}`
  const config = loadConfig(environment, { gateway: true })
  const context = await openContext(config, createLog('silent'), { queuePrefix })
  closers.push(context.close)
  const person = tenant.addUser({ displayName: 'Ada' }).id
  tenant.addMember(tenant.addGroup({ displayName: 'Group', kind: 'security' }).id, person)
  return { database, simulator, context, person }
}

test.for(availableBackends())(
  'who signs in through a second source while a job of the first waits is read with the tokens of the second (%s)',
  async (backend) => {
    const { database, simulator, context, person } = await openTwoSources(backend)
    const signIn = async (source: keyof typeof apps, expiresAt?: number, waitUpToMs = 0) => {
      const tokens = await simulator.signIn(person, { clientId: apps[source] })
      const { access_token: accessToken, expires_in: seconds } = tokens
      const spentAt = expiresAt ?? Math.floor(Date.now() / 1000) + seconds
      const user = {
        source,
        tenantId: simulator.tenant.id,
        objectId: person,
        tokens: { accessToken, expiresAt: spentAt, scopes: tokens.scope.split(' ') },
      }
      return await context.loginSucceeded(user, { waitUpToMs })
    }
    const { $client: sql } = database.db
    await signIn('alpha', 1)
    const answer = signIn('beta', undefined, 20_000)
    const enqueued = async () => (await sql`select from login_events where enqueued_at is not null`).length
    while ((await enqueued()) < 2);
    const workers = await startWorkers(context, { concurrency: 2 })
    closers.push(workers.stop)
    expect(await answer).toMatchObject({ outcome: 'applied' })
    expect(await sql`select source, outcome from sync_runs`).toEqual([{ source: 'beta', outcome: 'applied' }])
    expect(await sql`select from memberships`).toHaveLength(1)
  },
)
