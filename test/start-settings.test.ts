import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { runCommand } from './support/process.ts'

test(
  'a start leaves what it brought along to other commands, for its owner only and while it goes on',
  { timeout: 120_000 },
  async () => {
    const home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-settings-'))
    const own = { ADMIN_PASSWORD: 'a password of my own', OF_NOBODY_ELSE: 'private' }
    const start = runCommand(['start', '--users', '3', '--data', home], own)
    await start.line(/^Settings: .*settings\.env/)
    const file = path.join(home, 'settings.env')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const settings = Object.entries(parseEnv(readFileSync(file, 'utf8')))
    expect(settings.map(([name]) => name).toSorted()).toEqual([
      'API_KEYS',
      'APPLICATIONS',
      'DATABASE_URL',
      'ENTRA_AUTHORITY_HOST',
      'ENTRA_CLIENT_ID',
      'ENTRA_CLIENT_SECRET',
      'ENTRA_TENANT_ID',
      'EXCHANGE',
      'EXCHANGE_CALLERS',
      'GRAPH_BASE_URL',
      'LOG_LEVEL',
      'PUBLIC_URL',
      'SESSION_KEYS',
      'TENANT_SIZE',
      'TOKEN_ENCRYPTION_KEYS',
    ])
    const environment = Object.fromEntries(settings.map(([name, value]) => [name, value ?? '']))
    expect(await demoToken(environment)).toMatchObject({
      active: true,
      group_names: expect.arrayContaining(['Demo.Read', 'groups.read.all']),
    })
    const resync = runCommand(['resync', '--wait'], environment)
    expect(await resync.ended, resync.printed()).toBe(0)
    expect(resync.printed()).toContain('begins: 3 people.')
    start.child.kill('SIGTERM')
    expect(await start.ended).toBe(0)
    expect(existsSync(file)).toBe(false)
    rmSync(home, { recursive: true })
  },
)

/** What the README does with them: a token of the simulated Entra, a local one for it, and what is known of that. */
async function demoToken(settings: Record<string, string>): Promise<unknown> {
  const post = async (address: string, form: Record<string, string>, headers = {}) =>
    JSON.parse(
      await (await fetch(address, { method: 'POST', body: new URLSearchParams(form), headers })).text(),
    )
  const { ENTRA_AUTHORITY_HOST: entra, ENTRA_TENANT_ID: tenant, ENTRA_CLIENT_ID: clientId = '' } = settings
  const { access_token: proof } = await post(`${entra}/${tenant}/oauth2/v2.0/token`, {
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: settings['ENTRA_CLIENT_SECRET'] ?? '',
    scope: `api://${clientId}/.default`,
  })
  const issuer = `${settings['PUBLIC_URL']}/application/o`
  const { access_token: token } = await post(`${issuer}/token/`, {
    grant_type: 'client_credentials',
    client_id: 'demo',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: proof,
  })
  const [application, secret] = (settings['APPLICATIONS'] ?? '').split('=')
  const authorization = `Basic ${Buffer.from(`${application}:${secret}`).toString('base64')}`
  return await post(`${issuer}/introspect/`, { token }, { authorization })
}
