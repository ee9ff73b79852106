import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { tenAtOnce } from '../bench/ten-at-once.ts'
import { createTestDatabase } from './support/database.ts'

const main = fileURLToPath(new URL('../bench/main.ts', import.meta.url))
const bench = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })

test('the benchmark tells its parts, and a part it does not have is an error', () => {
  expect(bench('--help')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/reconcile[^]*throughput[^]*enqueue/),
  })
  expect(bench('speed')).toMatchObject({ status: 2, stderr: expect.stringContaining('speed') })
})

test('ten people who sign in at once to the same new groups in shuffled order all succeed', async () => {
  const database = await createTestDatabase()
  const check = await tenAtOnce({ databaseUrl: database.url, progress: () => undefined }, 3)
  expect(check).toMatchObject({
    passed: true,
    detail: '3 of 3 times without an error, a lost or a second group',
  })
  await database.close()
})
