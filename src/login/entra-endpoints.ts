import * as client from 'openid-client'
import { SyncError } from '../errors.ts'
import { fetchFromEntra } from './entra-fetch.ts'
import { requestFailure } from './renew.ts'

/** Seconds for one request to Entra. */
const timeoutSeconds = 10

export type EntraEndpoints = {
  /** As the authority tells it; of `organizations` and `common` with `{tenantid}` in it. */
  issuer: string
  keys: URL
  /** Where the browser goes to sign out, where the authority has such a place. */
  endSession: URL | undefined
  /** For requests of the app; `fetch` stands in for the real one where an answer has to be looked at first. */
  configure: (credential: client.ClientAuth, fetch?: client.CustomFetch) => client.Configuration
}

/** The endpoints of a tenant, or of `organizations` or `common`, kept once read. */
export type FindEndpoints = (segment: string) => Promise<EntraEndpoints>

/** Tenants of which the endpoints are kept: a source for any tenant must not grow without bound. */
const maxKept = 500

/**
 * Reads the metadata of an authority at first use; a failure isn't kept, so that the next one tries again. The issuer is
 * the authority's to tell (a proxy has another address than Entra), but every endpoint must be where the authority is.
 * Version v1 is what tokens of version 1.0 are validated with, which an API gets that asks for no other (Entra docs:
 * access-tokens).
 * @throws {SyncError} `unexpected_response` for an endpoint elsewhere; see {@link requestFailure} where nothing can be read.
 */
export function createEndpoints(
  authorityHost: string,
  clientId: string,
  version: 'v1' | 'v2' = 'v2',
): FindEndpoints {
  const known = new Map<string, Promise<EntraEndpoints>>()
  return async (segment) => {
    const kept = known.get(segment)
    if (kept) return await kept
    const reading = discover(`${authorityHost}/${segment}${version === 'v2' ? '/v2.0' : ''}`, clientId)
    known.set(segment, reading)
    const [oldest] = known.keys()
    if (known.size > maxKept && oldest !== undefined) known.delete(oldest)
    try {
      return await reading
    } catch (error) {
      if (known.get(segment) === reading) known.delete(segment)
      throw error
    }
  }
}

async function discover(authority: string, clientId: string): Promise<EntraEndpoints> {
  const url = new URL(`${authority}/.well-known/openid-configuration`)
  const execute = url.protocol === 'http:' ? [client.allowInsecureRequests] : []
  const found = await client
    .discovery(url, clientId, undefined, client.None(), {
      timeout: timeoutSeconds,
      execute,
      [client.customFetch]: fetchFromEntra,
    })
    .catch(async (error: unknown) => {
      throw await requestFailure(error, "Entra's endpoints can't be read")
    })
  const server = found.serverMetadata()
  const { authorization_endpoint: authorization, token_endpoint: token, jwks_uri: keys } = server
  for (const endpoint of [authorization, token, keys]) {
    if (endpoint === undefined || new URL(endpoint).origin !== url.origin)
      throw new SyncError('unexpected_response', `Entra's endpoints are not all at ${url.origin}`)
  }
  const { end_session_endpoint: endSession } = server
  return {
    issuer: server.issuer,
    keys: new URL(keys ?? ''),
    endSession:
      endSession !== undefined && new URL(endSession).origin === url.origin ? new URL(endSession) : undefined,
    configure: (credential, fetch = fetchFromEntra) => {
      const metadata = { id_token_signed_response_alg: 'RS256', [client.clockTolerance]: 60 }
      const configuration = new client.Configuration(server, clientId, metadata, credential)
      configuration.timeout = timeoutSeconds
      configuration[client.customFetch] = fetch
      for (const extension of execute) extension(configuration)
      return configuration
    },
  }
}
