import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

const keptSecrets = z.object({ tokenKeys: z.string(), sessionKeys: z.string(), adminPassword: z.string() })

export type KeptSecrets = z.output<typeof keptSecrets> & {
  /** True when they were made just now. */
  made: boolean
  file: string
}

const namedKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`

/** Keys and the admin password for a start that was given none, kept in a file only its owner can read. */
export function keepSecrets(home: string): KeptSecrets {
  const file = path.join(home, 'secrets.json')
  if (existsSync(file))
    return { ...keptSecrets.parse(JSON.parse(readFileSync(file, 'utf8'))), made: false, file }
  const secrets = {
    tokenKeys: namedKey('local-1'),
    sessionKeys: namedKey('local-1'),
    adminPassword: randomBytes(15).toString('base64url'),
  }
  mkdirSync(home, { recursive: true })
  const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`
  writeFileSync(draft, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 })
  // A link appears whole or not at all, so that two first starts agree.
  try {
    linkSync(draft, file)
    return { ...secrets, made: true, file }
  } catch (error) {
    if (!existsSync(file)) throw error
    return keepSecrets(home)
  } finally {
    rmSync(draft)
  }
}
