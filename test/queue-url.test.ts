import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { runCommand } from './support/process.ts'

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
