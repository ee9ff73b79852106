import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { ConfigInvalid } from '../errors.ts'
import { openHome } from './home.ts'

const keptSecrets = z.object({ tokenKeys: z.string(), sessionKeys: z.string(), adminPassword: z.string() })

export type KeptSecrets = z.output<typeof keptSecrets> & {
  /** True when they were made just now. */
  made: boolean
  file: string
}

const namedKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`

/**
 * Keys and the admin password for a start that was given none, kept in a file only its owner can read.
 * @throws {ConfigInvalid} where the folder can't be used, or the file in it isn't what was written.
 */
export function keepSecrets(home: string): KeptSecrets {
  openHome(home)
  const file = path.join(home, 'secrets.json')
  if (existsSync(file)) return { ...readSecrets(file), made: false, file }
  const secrets = {
    tokenKeys: namedKey('local-1'),
    sessionKeys: namedKey('local-1'),
    adminPassword: randomBytes(15).toString('base64url'),
  }
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

function readSecrets(file: string): z.output<typeof keptSecrets> {
  try {
    return keptSecrets.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    const message = `${file} is damaged or can't be read: bring it back from a copy, or delete it to have new keys made, which the stored tokens don't open with`
    throw new ConfigInvalid([{ setting: '--data', message }])
  }
}
