import { spawn, spawnSync } from 'node:child_process'
import { freePort } from '../../src/embedded/ports.ts'

export type RedisServer = {
  url: string
  /** Freezes the process: connections stay open and nothing answers. */
  freeze: () => void
  thaw: () => void
  stop: () => Promise<void>
}

/** A Redis (or Valkey) of its own, empty and forgetful; undefined where neither program is on PATH. */
export async function startRedisServer(flags: readonly string[] = []): Promise<RedisServer | undefined> {
  const program = ['redis-server', 'valkey-server'].find((name) => !spawnSync(name, ['--version']).error)
  if (!program) return undefined
  const port = await freePort()
  const own = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...flags]
  const child = spawn(program, own, { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => chunk.includes('Ready to accept connections') && resolve())
    child.once('exit', () => reject(new Error(`${program} ended before it was ready`)))
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    stop: async () => {
      child.kill()
      await ended
    },
  }
}
