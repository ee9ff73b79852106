import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fileIn } from './support/files.ts'
import { runCommand } from './support/process.ts'

let home: string
const data = () => path.join(home, 'postgres')

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-given-up-'))
})
afterEach(() => {
  // Run by root, the files may be elsewhere, behind a link.
  if (existsSync(data())) rmSync(realpathSync(data()), { recursive: true, force: true })
  rmSync(home, { recursive: true, force: true })
})

test('Ctrl-C while its data is being made ends a start with 130 and leaves no server behind', async () => {
  const begun = fileIn(home, 'postgres-password')
  const command = runCommand(['start', '--users', '3', '--data', home])
  await begun
  command.child.kill('SIGINT')
  expect(await command.ended, command.printed()).toBe(130)
  expect(command.printed()).toBe('')
  expect(existsSync(path.join(data(), 'postmaster.pid'))).toBe(false)
})

test('SIGTERM while it waits for a queue that is silent ends a start with 143 and stops its server', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const asked = once(silent, 'connection')
  const command = runCommand(['start', '--users', '3', '--data', home], {
    QUEUE_URL: `redis://127.0.0.1:${port}`,
  })
  await asked
  command.child.kill('SIGTERM')
  expect(await command.ended, command.printed()).toBe(143)
  expect(command.printed()).not.toContain('QUEUE_URL')
  expect(existsSync(path.join(data(), 'postmaster.pid'))).toBe(false)
  silent.close()
})
