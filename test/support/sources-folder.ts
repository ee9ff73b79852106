import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect } from 'vitest'
import type { Environment } from '../../src/config.ts'
import { certificateFor } from '../../src/simulator/certificates.ts'
import { parseSourcesFile } from '../../src/sources-file.ts'

export const tenant = '11111111-1111-4111-8111-111111111111'
export const other = '22222222-2222-4222-8222-222222222222'
export const defaults = {
  guard: { minRemovals: 20, maxShare: 0.5 },
  resyncGuard: { minRemovals: 200, maxShare: 0.1 },
}

/** A folder with the files that a sources file may name; it goes when the tests of the file are done. */
export function sourcesFolder() {
  const folder = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-sources-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const file = (name: string) => path.join(folder, name)
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const certificate = certificateFor('an app', publicKey)
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const png = Buffer.from('89504e470d0a1a0a00000000', 'hex')
  writeFileSync(file('secret'), 'from a file\n')
  writeFileSync(file('empty'), '\n')
  writeFileSync(file('both.pem'), `${certificate.toString()}${keyPem}`)
  writeFileSync(file('certificate.pem'), certificate.toString())
  writeFileSync(file('key.pem'), keyPem)
  writeFileSync(file('icon.png'), png)
  writeFileSync(file('icon.svg'), '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')
  writeFileSync(file('text.svg'), 'no image')
  writeFileSync(file('big.png'), Buffer.concat([png, Buffer.alloc(64 * 1024)]))

  /** Problems without the path of the file, which each begins with. */
  const parse = (text: string, environment: Environment = { A_SECRET: 'from the environment' }) => {
    const parts = {
      environment,
      readText: (name: string) => readFileSync(name, 'utf8'),
      readBytes: (name: string) => readFileSync(name),
      defaults,
    }
    const { sources, problems } = parseSourcesFile({ path: file('s.yaml'), text }, parts)
    expect(problems.filter(({ setting }) => setting !== 'SOURCES_FILE')).toEqual([])
    const messages = problems.map(({ message }) => message)
    expect(messages.filter((message) => !message.startsWith(`${file('s.yaml')}:`))).toEqual([])
    return { sources, problems: messages.map((message) => message.slice(file('s.yaml').length + 1)) }
  }
  return { file, parse, certificate, keyPem, png }
}

/** A file of one source, as JSON; `changes` stand in it, undefined leaves a key out. */
export const one = (changes: Record<string, unknown> = {}) =>
  JSON.stringify({
    sources: [
      {
        slug: 'staff',
        name: 'Staff',
        tenant,
        clientId: other,
        credentials: [{ secret: 'in clear' }],
        ...changes,
      },
    ],
  })
