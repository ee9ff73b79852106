import type { JWK } from 'jose'
import type { HttpAnswer } from '../http.ts'
import { jsonAnswer } from './aadsts.ts'
import { consumerTenant } from './signing-keys.ts'
import { firstVersionIssuer, issuerOf, type Authority } from './authority.ts'

/** The OpenID configuration of the tenant, on the host that was asked (Entra docs: v2-protocols-oidc). */
export function openIdConfiguration(authority: Authority, baseUrl: string, graphUrl: string): HttpAnswer {
  const tenant = `${baseUrl}/${authority.shared ?? authority.directory.tenantId}`
  return jsonAnswer(200, {
    token_endpoint: `${tenant}/oauth2/v2.0/token`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
    jwks_uri: `${tenant}/discovery/v2.0/keys`,
    response_modes_supported: ['query', 'fragment', 'form_post'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    response_types_supported: ['code'],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    issuer: issuerOf(authority, baseUrl),
    request_uri_parameter_supported: false,
    userinfo_endpoint: `${graphUrl}/oidc/userinfo`,
    authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
    http_logout_supported: true,
    frontchannel_logout_supported: true,
    end_session_endpoint: `${tenant}/oauth2/v2.0/logout`,
    claims_supported: 'sub iss aud exp iat nonce preferred_username name tid ver email oid sid'.split(' '),
    tenant_region_scope: 'EU',
    cloud_instance_name: new URL(baseUrl).host,
    cloud_graph_host_name: new URL(graphUrl).host,
    msgraph_host: new URL(graphUrl).host,
  })
}

/** The same for tokens of version 1.0, as far as a client needs it to validate them. */
export function firstVersionConfiguration(authority: Authority, baseUrl: string): HttpAnswer {
  const tenant = `${baseUrl}/${authority.shared ?? authority.directory.tenantId}`
  return jsonAnswer(200, {
    issuer: firstVersionIssuer(authority),
    authorization_endpoint: `${tenant}/oauth2/authorize`,
    token_endpoint: `${tenant}/oauth2/token`,
    jwks_uri: `${tenant}/discovery/keys`,
    response_types_supported: ['code'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
  })
}

/**
 * The keys, each with the issuer it may sign for: that of the tenant asked, or the template they share, beside which
 * `common` has the personal accounts' key with its fixed one (Entra docs: access-tokens, validate the issuer).
 */
export async function keySet(authority: Authority, baseUrl: string): Promise<HttpAnswer> {
  const issuer = issuerOf(authority, baseUrl)
  const keys: (JWK & { issuer: string })[] = authority.keys.published().map((key) => ({ issuer, ...key }))
  if (authority.shared === 'common')
    keys.push({ ...(await authority.keys.consumers()), issuer: `${baseUrl}/${consumerTenant}/v2.0` })
  const answer = jsonAnswer(200, { keys })
  return { ...answer, headers: { ...answer.headers, 'cache-control': 'max-age=86400, private' } }
}
