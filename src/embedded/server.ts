import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Account, Binaries } from './binaries.ts'
import { run } from './data-directory.ts'
import { freePort } from './ports.ts'

/** What it takes to run the server of one data directory. */
export type ServerPlace = { dataDirectory: string; account: Account; binaries: Binaries }

export const serverLog = ({ dataDirectory }: ServerPlace) => path.join(dataDirectory, 'server.log')

/** From `postmaster.pid`: line 1 is the process, line 4 the port. A process that is gone means no server. */
export function runningServer({ dataDirectory }: ServerPlace): { port: number } | undefined {
  const pidFile = path.join(dataDirectory, 'postmaster.pid')
  if (!existsSync(pidFile)) return undefined
  const [pid, , , port] = readFileSync(pidFile, 'utf8').split('\n')
  if (!pid || !port?.trim() || !isAlive(Number(pid))) return undefined
  return { port: Number(port) }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * The port, or undefined where another process started a server here in the same moment. The signal hastens the end of a
 * server that takes long to start, one that recovers its data for example.
 */
export async function startServer(
  place: ServerPlace,
  settings: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<number | undefined> {
  const port = await freePort()
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    ...settings,
  }
  const flags = Object.entries(all).map(([name, value]) => `-c ${name}='${value}'`)
  const options = [`-p ${port}`, ...flags].join(' ')
  const giveUp = () => void stopServer(place).catch(() => undefined)
  signal?.addEventListener('abort', giveUp)
  try {
    await run(
      place.binaries.pgCtl,
      ['start', '-D', place.dataDirectory, '-l', serverLog(place), '-w', '-t', '60', '-o', options],
      place.account,
    )
    return port
  } catch (error) {
    signal?.throwIfAborted()
    if (runningServer(place)) return undefined
    throw error
  } finally {
    signal?.removeEventListener('abort', giveUp)
  }
}

/** Fast shutdown: running statements end, data is flushed. No server is fine too. */
export async function stopServer(place: ServerPlace): Promise<void> {
  try {
    await run(place.binaries.pgCtl, stopArguments(place, 'fast', 60), place.account)
  } catch (error) {
    if (runningServer(place)) throw error
  }
}

/**
 * For a process that ends without stopping its server, after a second Ctrl-C for example: returns when the server is gone
 * too. The next start recovers its data. The function returned calls this off.
 */
export function stopServerAtExit(place: ServerPlace): () => void {
  const stop = () => {
    const { account, binaries } = place
    spawnSync(binaries.pgCtl, stopArguments(place, 'immediate', 10), {
      cwd: '/',
      stdio: 'ignore',
      ...account,
    })
  }
  process.once('exit', stop)
  return () => void process.off('exit', stop)
}

const stopArguments = ({ dataDirectory }: ServerPlace, mode: 'fast' | 'immediate', seconds: number) => [
  'stop',
  '-D',
  dataDirectory,
  '-m',
  mode,
  '-w',
  '-t',
  String(seconds),
]
