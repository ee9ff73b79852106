import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export type Command = {
  child: ChildProcess
  /** Everything printed so far, both streams. */
  printed: () => string
  /** Resolves with the first line of either stream that matches; rejects if the process ends before. */
  line: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Resolves with the exit code, or the signal's name. */
  ended: Promise<number | string>
}

/** Settings of the surrounding shell that a test must not inherit. */
const ours =
  /^(DATABASE_|QUEUE_|PORT$|HOST$|PUBLIC_|ENTRA_|GRAPH_|TOKEN_|SESSION_|API_|ADMIN_|SYNC_|GROUP_|LOG_|SOURCES?_|REDIS_|RESYNC_|ABSENT_|SIGN_|GUARD_|TENANT_)/

/** Runs the command of this checkout as a user would, with these settings and no others of ours. */
export function runCommand(
  args: readonly string[],
  environment: Record<string, string> = {},
  folder: string = root,
): Command {
  return runScript('src/cli.ts', args, environment, folder)
}

/** Runs a script of this checkout in a process of its own. */
export function runScript(
  script: string,
  args: readonly string[],
  environment: Record<string, string>,
  folder: string = root,
): Command {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))
  const child = spawn(process.execPath, [`${root}/${script}`, ...args], {
    cwd: folder,
    env: { ...inherited, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      for (const look of waiting) look()
    })
  }
  const ended = once(child, 'close').then(([code, signal]: unknown[]) =>
    typeof code === 'number' ? code : String(signal),
  )
  const line = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        for (const printed of lines) {
          const match = pattern.exec(printed)
          if (!match) continue
          waiting.delete(look)
          resolve(match)
        }
      }
      waiting.add(look)
      look()
      void ended.then((code) =>
        reject(new Error(`ended with ${code} before ${pattern} was printed:\n${lines.join('\n')}`)),
      )
    })
  return { child, printed: () => lines.join('\n'), line, ended }
}
