import { z } from 'zod'
import { jsonAnswer, schemaOf, type ApiAnswer, type ApiPaths, type Operation } from '../openapi.ts'
import { knownScopes } from './local-token.ts'
import { grantTypes } from './token-endpoint.ts'

const refusal = z.object({
  error: z.string().describe('As RFC 6749, 5.2, RFC 8693 and RFC 6750 have it.'),
  error_description: z.string().describe('What to do. It may change.'),
})

const given = z.object({
  access_token: z.string(),
  token_type: z.literal('Bearer'),
  expires_in: z.int().describe('Seconds.'),
  scope: z.string(),
  issued_token_type: z.string().optional().describe('Of an exchange.'),
})

const groups = {
  groups: z.array(z.string()).optional().describe('Object ids; left out where there are more than 200.'),
  group_names: z.array(z.string().nullable()).optional().describe('In the order of the groups.'),
  _claim_names: z.record(z.string(), z.string()).optional(),
  _claim_sources: z.record(z.string(), z.object({ endpoint: z.url() })).optional(),
}

const introspected = z.union([
  z.object({ active: z.literal(false) }),
  z.object({
    active: z.literal(true),
    iss: z.url(),
    sub: z.guid(),
    aud: z.string(),
    iat: z.int(),
    exp: z.int(),
    jti: z.string(),
    scope: z.string(),
    client_id: z.string(),
    token_type: z.literal('Bearer'),
    username: z.string().optional(),
    tid: z.guid(),
    oid: z.guid(),
    idtyp: z.enum(['app', 'user']),
    azp: z.string().optional().describe('Client id of the Entra app that it was given to.'),
    sid: z.guid().optional(),
    ...groups,
  }),
])

const keySet = z.object({
  keys: z.array(
    z.object({
      kty: z.literal('EC'),
      crv: z.literal('P-256'),
      x: z.string(),
      y: z.string(),
      kid: z.string(),
      alg: z.literal('ES256'),
      use: z.literal('sig'),
    }),
  ),
})

const texts = z.array(z.string())

const metadataAnswer = z.object({
  issuer: z.url(),
  token_endpoint: z.url(),
  jwks_uri: z.url(),
  introspection_endpoint: z.url(),
  grant_types_supported: texts,
  token_endpoint_auth_methods_supported: texts,
  token_endpoint_auth_signing_alg_values_supported: texts,
  introspection_endpoint_auth_methods_supported: texts,
  scopes_supported: texts,
  response_types_supported: texts,
  subject_types_supported: texts,
  id_token_signing_alg_values_supported: texts,
  claims_supported: texts,
})

const tokenForm = z.object({
  grant_type: z.enum([grantTypes.clientCredentials, grantTypes.tokenExchange]),
  client_id: z.string().optional().describe('Id of the application that the token is for.'),
  client_assertion_type: z.string().optional(),
  client_assertion: z.string().optional().describe('The token that Entra gave.'),
  subject_token: z.string().optional().describe('The same, of an exchange.'),
  subject_token_type: z.string().optional(),
  requested_token_type: z.string().optional(),
  audience: z.string().optional().describe('Of an exchange: the application, in place of client_id.'),
  scope: z.string().optional().describe(knownScopes.join(' ')),
})

const introspectForm = z.object({
  token: z.string(),
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
})

const form = (shape: z.ZodType, example: Record<string, string>) => ({
  required: true,
  content: { 'application/x-www-form-urlencoded': { schema: schemaOf(shape), example } },
})

const refused = (description: string, error: string): ApiAnswer =>
  jsonAnswer(description, 'Refusal', { error, error_description: 'what to do' })

const unavailable = refused('Entra or the database is out of reach; ask again.', 'temporarily_unavailable')

const read = (operationId: string, summary: string, schema: string): Operation => ({
  operationId,
  summary,
  security: [],
  responses: { 200: jsonAnswer(summary, schema) },
})

const describes = 'Where everything is, and what it takes'

/** The routes of the issuer, for the OpenAPI document. */
export const issuerPaths: ApiPaths = {
  schemas: {
    Refusal: schemaOf(refusal),
    LocalToken: schemaOf(given),
    Introspection: schemaOf(introspected),
    KeySet: schemaOf(keySet),
    IssuerMetadata: schemaOf(metadataAnswer),
  },
  paths: {
    '/application/o/token/': {
      post: {
        operationId: 'exchangeToken',
        summary: 'A local token for one that Entra gave for this API',
        security: [],
        requestBody: form(tokenForm, {
          grant_type: grantTypes.clientCredentials,
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
          client_assertion: 'TOKEN_OF_ENTRA',
          client_id: 'orders',
        }),
        responses: {
          200: jsonAnswer('A local token.', 'LocalToken'),
          400: refused('The request, or the token of an exchange, is not acceptable.', 'invalid_request'),
          401: refused('The token is not acceptable as the proof of a client.', 'invalid_client'),
          503: unavailable,
        },
      },
    },
    '/application/o/introspect/': {
      post: {
        operationId: 'introspectToken',
        summary: 'Whether a local token still holds, and the groups of its subject by now',
        description:
          'An application asks about tokens that are for it, with its secret; an API key about all.',
        security: ['apiKey', 'applicationSecret'],
        requestBody: form(introspectForm, { token: 'LOCAL_TOKEN' }),
        responses: {
          200: jsonAnswer('What is known of the token (RFC 7662).', 'Introspection', { active: false }),
          400: refused('The request is not acceptable.', 'invalid_request'),
          401: refused('Whoever asks is not known.', 'invalid_client'),
          503: unavailable,
        },
      },
    },
    '/application/o/jwks/': {
      get: {
        ...read('getKeySet', 'The keys that local tokens are signed with', 'KeySet'),
        responses: { 200: jsonAnswer('The keys.', 'KeySet'), 503: unavailable },
      },
    },
    '/application/o/.well-known/openid-configuration': {
      get: read('getOpenIdConfiguration', describes, 'IssuerMetadata'),
    },
    '/.well-known/oauth-authorization-server/application/o': {
      get: read('getAuthorizationServerMetadata', describes, 'IssuerMetadata'),
    },
    '/session/token': {
      post: {
        operationId: 'getSessionToken',
        summary: 'A local token for whoever is signed in',
        description: 'Only from the pages of the gateway itself, by the Origin that browsers send.',
        security: ['session'],
        requestBody: form(z.object({ application: z.string() }), { application: 'orders' }),
        responses: {
          200: jsonAnswer('A local token, good for as long as the session.', 'LocalToken'),
          400: refused('The request is not acceptable.', 'invalid_request'),
          401: refused('Nobody is signed in.', 'unauthorized'),
          403: refused('The request comes from a page of another origin.', 'forbidden'),
          503: unavailable,
        },
      },
    },
  },
}
