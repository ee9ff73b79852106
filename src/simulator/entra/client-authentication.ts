import type { HttpRequest } from '../http.ts'
import { AadstsError } from './aadsts.ts'
import type { KnownApp } from './apps.ts'
import { findApp, type Authority } from './authority.ts'
import { assertionType, checkAssertion } from './client-assertion.ts'

/**
 * Finds out which app asks, by client_secret_post, HTTP Basic (RFC 6749, section 2.3.1: both halves are form-encoded) or
 * a client assertion (RFC 7523, section 2.2).
 */
export async function authenticateClient(
  authority: Authority,
  parameters: URLSearchParams,
  request: HttpRequest,
): Promise<KnownApp> {
  const basic = readBasic(request.headers['authorization'])
  const app = findApp(authority, parameters.get('client_id') ?? basic?.clientId)
  const credentials = authority.credentialsOf(app.clientId)
  const assertion = parameters.get('client_assertion')
  if (assertion !== null && !credentials.isPublic) {
    const type = parameters.get('client_assertion_type')
    if (type !== assertionType) throw new AadstsError(900144, 'client_assertion_type')
    await checkAssertion({ authority, request, clientId: app.clientId, credentials }, assertion)
    return { ...app, proof: 'assertion' }
  }
  if (credentials.isPublic) return { ...app, proof: 'none' }
  const given = basic?.secret ?? parameters.get('client_secret') ?? undefined
  if (given === undefined) throw new AadstsError(7000218)
  const secret = credentials.secret(given)
  if (!secret) throw new AadstsError(7000215, app.clientId)
  if (secret.expiresAt && secret.expiresAt.getTime() <= authority.now())
    throw new AadstsError(7000222, app.clientId)
  return { ...app, proof: 'secret' }
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
