import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { runCommand } from './support/process.ts'

test(
  'a start leaves what it brought along to other commands, for its owner only and while it goes on',
  { timeout: 120_000 },
  async () => {
    const home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-settings-'))
    const own = { ADMIN_PASSWORD: 'a password of my own', OF_NOBODY_ELSE: 'private' }
    const start = runCommand(['start', '--users', '3', '--data', home], own)
    await start.line(/^Settings: .*settings\.env/)
    const file = path.join(home, 'settings.env')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const settings = Object.entries(parseEnv(readFileSync(file, 'utf8')))
    expect(settings.map(([name]) => name).toSorted()).toEqual([
      'APPLICATIONS',
      'DATABASE_URL',
      'ENTRA_AUTHORITY_HOST',
      'ENTRA_CLIENT_ID',
      'ENTRA_CLIENT_SECRET',
      'ENTRA_TENANT_ID',
      'EXCHANGE',
      'EXCHANGE_CALLERS',
      'GRAPH_BASE_URL',
      'LOG_LEVEL',
      'SESSION_KEYS',
      'TENANT_SIZE',
      'TOKEN_ENCRYPTION_KEYS',
    ])
    const environment = Object.fromEntries(settings.map(([name, value]) => [name, value ?? '']))
    const resync = runCommand(['resync', '--wait'], environment)
    expect(await resync.ended, resync.printed()).toBe(0)
    expect(resync.printed()).toContain('begins: 3 people.')
    start.child.kill('SIGTERM')
    expect(await start.ended).toBe(0)
    expect(existsSync(file)).toBe(false)
    rmSync(home, { recursive: true })
  },
)
