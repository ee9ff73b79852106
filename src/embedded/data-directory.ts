import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { SyncError } from '../errors.ts'
import { canEnter, sharedHome, type Account, type Binaries } from './binaries.ts'
import { openHome } from './home.ts'

export type DataDirectory = { path: string; password: string }

/**
 * Where the server's files are, made if need be. `home/postgres` is the place, or a link to one below
 * {@link sharedHome} where the server's account can't enter `home`. Two processes may make it at once: each fills a
 * folder of its own and one rename wins.
 */
export async function openDataDirectory(
  home: string,
  account: Account,
  binaries: Binaries,
  signal?: AbortSignal,
): Promise<DataDirectory> {
  openHome(home)
  const place = path.join(home, 'postgres')
  const password = keptPassword(path.join(home, 'postgres-password'))
  if (!existsSync(place) && !canEnter(account, home)) linkElsewhere(place)
  const target = existsSync(place) ? realpathSync(place) : place
  if (!existsSync(path.join(target, 'PG_VERSION')))
    await initialise(target, password, account, binaries, signal)
  return { path: target, password }
}

/** A link appears whole or not at all, so that two first starts agree on one password. */
function keptPassword(file: string): string {
  if (!existsSync(file)) {
    const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`
    writeFileSync(draft, randomBytes(24).toString('base64url'), { mode: 0o600 })
    try {
      linkSync(draft, file)
    } catch (error) {
      if (!existsSync(file)) throw error
    } finally {
      rmSync(draft)
    }
  }
  return readFileSync(file, 'utf8').trim()
}

/** A new folder each time: one of an earlier home of the same path would have another password. */
function linkElsewhere(place: string): void {
  mkdirSync(sharedHome, { recursive: true, mode: 0o755 })
  const target = mkdtempSync(path.join(sharedHome, 'data-'))
  try {
    symlinkSync(target, place)
  } catch (error) {
    rmSync(target, { recursive: true })
    if (!existsSync(place)) throw error
  }
}

async function initialise(
  target: string,
  password: string,
  account: Account,
  binaries: Binaries,
  signal: AbortSignal | undefined,
): Promise<void> {
  const staging = `${target}.new-${process.pid}-${randomBytes(4).toString('hex')}`
  const secrets = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-'))
  const passwordFile = path.join(secrets, 'password')
  mkdirSync(staging, { mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (account)
    for (const owned of [staging, secrets, passwordFile]) chownSync(owned, account.uid, account.gid)
  try {
    await run(
      binaries.initdb,
      [
        '-D',
        staging,
        '-U',
        'postgres',
        '-A',
        'scram-sha-256',
        `--pwfile=${passwordFile}`,
        '-E',
        'UTF8',
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
      ],
      account,
      signal,
    )
    putInPlace(staging, target)
  } finally {
    rmSync(secrets, { recursive: true, force: true })
    rmSync(staging, { recursive: true, force: true })
  }
}

function putInPlace(staging: string, target: string): void {
  try {
    renameSync(staging, target)
  } catch (error) {
    if (!existsSync(path.join(target, 'PG_VERSION'))) throw error
  }
}

/** Runs one of PostgreSQL's programs to its end, which the signal hastens; what it printed is in the error. */
export async function run(
  program: string,
  args: string[],
  account: Account,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted()
  const child = spawn(program, args, {
    cwd: path.parse(program).root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Out of the terminal's reach: its Ctrl-C is for us, who then decide what becomes of these.
    detached: process.platform !== 'win32',
    ...account,
  })
  const end = () => void child.kill()
  signal?.addEventListener('abort', end)
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  }).finally(() => signal?.removeEventListener('abort', end))
  signal?.throwIfAborted()
  if (code !== 0)
    throw new SyncError('internal', `${path.basename(program)} ended with ${code}: ${printed.trim()}`)
}
