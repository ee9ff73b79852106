import { AadstsError } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'
import { findApp, type Authority } from './authority.ts'

/**
 * Finds out which app asks, by client_secret_post or HTTP Basic (RFC 6749, section 2.3.1: both halves are
 * form-encoded). Client assertions would be read here too.
 */
export function authenticateClient(
  authority: Authority,
  parameters: URLSearchParams,
  authorization: string | undefined,
): SimulatedApp {
  const basic = readBasic(authorization)
  const app = findApp(authority, parameters.get('client_id') ?? basic?.clientId)
  const secret = basic?.secret ?? parameters.get('client_secret') ?? undefined
  if (app.clientSecret === undefined) return app
  if (secret === undefined) throw new AadstsError(7000218)
  if (secret !== app.clientSecret) throw new AadstsError(7000215, app.clientId)
  return app
}

function readBasic(authorization: string | undefined): { clientId: string; secret: string } | undefined {
  const encoded = /^basic ([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '')?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  return { clientId: formDecode(text.slice(0, colon)), secret: formDecode(text.slice(colon + 1)) }
}

function formDecode(text: string): string {
  return new URLSearchParams(`v=${text.replaceAll('&', '%26')}`).get('v') ?? ''
}
