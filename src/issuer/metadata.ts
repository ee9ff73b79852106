import { Hono, type Context } from 'hono'
import type { Logger } from 'pino'
import { knownScopes } from './local-token.ts'
import { signingAlgorithm } from './private-keys.ts'
import type { SigningKeys } from './signing-keys.ts'
import { answerRefusal, grantTypes } from './token-endpoint.ts'

/** Seconds for which a copy of the metadata and of the keys is good. */
const maxAgeSeconds = 300

export type MetadataParts = {
  publicUrl: string
  issuer: string
  keys: Pick<SigningKeys, 'published'>
  isPassing: (error: unknown) => boolean
  log: Logger
}

/** What a client has to know: where everything is (OpenID Connect Discovery; RFC 8414) and the keys of tokens (RFC 7517). */
export function metadata({ publicUrl, issuer, keys, isPassing, log }: MetadataParts): Hono {
  const app = new Hono()
  const document = {
    issuer,
    token_endpoint: `${publicUrl}/application/o/token/`,
    jwks_uri: `${publicUrl}/application/o/jwks/`,
    introspection_endpoint: `${publicUrl}/application/o/introspect/`,
    grant_types_supported: Object.values(grantTypes),
    // The assertion is a JWT that Entra signs; an exchange needs no proof of the client beside it.
    token_endpoint_auth_methods_supported: ['private_key_jwt', 'none'],
    token_endpoint_auth_signing_alg_values_supported: ['RS256'],
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    scopes_supported: knownScopes,
    response_types_supported: [],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [signingAlgorithm],
    claims_supported: [
      'iss',
      'sub',
      'aud',
      'exp',
      'iat',
      'jti',
      'tid',
      'oid',
      'idtyp',
      'azp',
      'groups',
      'group_names',
    ],
  }
  const cached = { 'Cache-Control': `public, max-age=${maxAgeSeconds}` }
  const tell = (c: Context) => c.json(document, 200, cached)
  app.get('/application/o/.well-known/openid-configuration', tell)
  // RFC 8414, 3.1 puts the path of the issuer behind, without its slash at the end.
  app.get('/.well-known/oauth-authorization-server/application/o', tell)
  const tellKeys = async (c: Context) => {
    try {
      return c.json({ keys: await keys.published() }, 200, cached)
    } catch (error) {
      return answerRefusal(c, error, { isPassing, log })
    }
  }
  app.get('/application/o/jwks/', tellKeys)
  app.all('/application/o/jwks', tellKeys)
  return app
}
