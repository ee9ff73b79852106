import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

export type KeptSettings = { file: string; remove: () => Promise<void> }

/** Writes settings down for other commands, which `node --env-file` hands them; only the file's owner can read it. */
export function keepSettings(home: string, settings: Record<string, string | undefined>): KeptSettings {
  const file = path.join(home, 'settings.env')
  const lines = Object.entries(settings).map(([name, value]) => `${name}="${value ?? ''}"\n`)
  // One that a killed start has left keeps its own mode.
  rmSync(file, { force: true })
  writeFileSync(file, lines.join(''), { mode: 0o600 })
  return { file, remove: async () => rmSync(file, { force: true }) }
}
