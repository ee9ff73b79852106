import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/**
 * Makes the settings in a file those of the process, anew with each call: what has changed there changes, and what has gone
 * goes. What the process was started with comes first, always.
 * @throws {ConfigInvalid} for a file that can't be read; nothing has changed then.
 */
export function settingsFileReader(file: string): () => Promise<void> {
  const own = new Set(Object.keys(process.env))
  let ofFile: readonly string[] = []
  return async () => {
    const settings = await settingsIn(file)
    for (const name of ofFile) delete process.env[name]
    ofFile = Object.keys(settings).filter((name) => !own.has(name))
    for (const name of ofFile) process.env[name] = settings[name]
  }
}

async function settingsIn(file: string): Promise<Record<string, string | undefined>> {
  if (!existsSync(file)) return {}
  try {
    return parseEnv(readFileSync(file, 'utf8'))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    const { ConfigInvalid } = await import('./errors.ts')
    throw new ConfigInvalid([
      { setting: '.env', message: `can't be read (${code}): it must be a file of NAME=value lines` },
    ])
  }
}
