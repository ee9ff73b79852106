import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { runCommand } from './support/process.ts'
import { startRedisServer } from './support/redis-server.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())

const settings = () => ({
  DATABASE_URL: database.url,
  ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
  ENTRA_CLIENT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22',
  ENTRA_CLIENT_SECRET: 'secret',
  TOKEN_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
})

describe('a queue in a Postgres of its own that refuses is told as QUEUE_URL', { timeout: 60_000 }, () => {
  test.for([
    ['worker', 'there is no such database', { pathname: '/no_such_database' }],
    ['gateway', 'the password is wrong', { password: 'wrong' }],
    ['migrate', 'there is no such database', { pathname: '/no_such_database' }],
    ['migrate', 'the database does not answer (ECONNREFUSED)', { port: '1' }],
  ] as const)('by %s: %s', async ([name, message, wrong]) => {
    const queue = Object.assign(new URL(database.url), wrong)
    const command = runCommand([name], { ...settings(), QUEUE_URL: queue.href })
    expect(await command.ended, command.printed()).toBe(1)
    expect(command.printed().split('\n')).toHaveLength(1)
    expect(command.printed()).toContain(`QUEUE_URL: ${message}`)
  })
})

test('TLS that a queue in Postgres does not offer is told as QUEUE_URL', { timeout: 60_000 }, async () => {
  const queueUrl = `${database.url}?sslmode=require`
  const command = runCommand(['migrate'], { ...settings(), QUEUE_URL: queueUrl })
  expect(await command.ended, command.printed()).toBe(1)
  expect(command.printed().split('\n').at(-1)).toMatch(/^QUEUE_URL: asks for TLS \(sslmode\)/)
  expect(command.printed()).not.toContain('    at ')
})

describe('a worker', { timeout: 60_000 }, () => {
  const refusedFor = async (queueUrl: string, more: Record<string, string> = {}) => {
    const worker = runCommand(['worker'], { ...settings(), QUEUE_URL: queueUrl, ...more })
    expect(await worker.ended, worker.printed()).toBe(1)
    expect(worker.printed()).not.toContain('hunter2')
    return worker.printed()
  }

  test('refuses a server that is no Redis', async () => {
    const other = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    }).listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const told = await refusedFor(`redis://:hunter2@127.0.0.1:${port}`)
    expect(told).toBe('QUEUE_URL: what answers there is no Redis: check host and port')
    other.close()
  })

  test('waits for what closes every connection, and tells the code', async () => {
    const url = new URL(database.url)
    const worker = runCommand(['worker'], { ...settings(), QUEUE_URL: `redis://${url.host}` })
    const line = await worker.line(/"code":"(ECONNRESET|CONNECTION_CLOSED)".*waiting for it/)
    expect(line).toBeDefined()
    worker.child.kill('SIGTERM')
    await worker.ended
  })

  test.skipIf(inject('redisUrl') === undefined)('refuses a Redis without the database it names', async () => {
    const told = await refusedFor(`${inject('redisUrl')}/4711`)
    expect(told).toMatch(/^QUEUE_URL: this Redis does not give us its database 4711 \(ERR\)/)
  })

  test('refuses a Redis that does not let it in, also where eviction is allowed', async () => {
    const redis = await startRedisServer(['--requirepass', 'another'])
    if (!redis) return
    const allowed = { REDIS_ALLOW_EVICTION: 'true' }
    const withPassword = new URL(redis.url)
    withPassword.password = 'hunter2'
    expect(await refusedFor(withPassword.href, allowed)).toMatch(/^QUEUE_URL: Redis refuses \(WRONGPASS\)/)
    expect(await refusedFor(redis.url, allowed)).toMatch(/^QUEUE_URL: Redis refuses \(NOAUTH\)/)
    await redis.stop()
  })
})
