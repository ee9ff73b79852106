import { Hono, type Context } from 'hono'
import type { Logger } from 'pino'
import type { TokenSubject } from '../../db/token-subjects.ts'
import { verifyEntraToken, type BadToken, type EntraToken, type ExchangeSource } from './entra-token.ts'
import { formOf, required } from './form.ts'
import { formRoute } from './form-route.ts'
import { knownScopes, type LocalScope, type LocalTokens } from './local-token.ts'
import { OAuthRefusal } from './refusal.ts'

export type TokenEndpointParts = {
  /** The sources whose tokens are exchanged. */
  sources: readonly ExchangeSource[]
  /** Ids of the applications that tokens are for. */
  applications: readonly string[]
  /**
   * Whom the token is about, as stored by now: a service is stored with its groups, a person has to be.
   * @throws {OAuthRefusal} for whom no token is given.
   */
  subjectOf: (token: EntraToken) => Promise<TokenSubject>
  tokens: LocalTokens
  /** Whether that is somebody else's trouble, which passes: Postgres or Entra out of reach. */
  isPassing: (error: unknown) => boolean
  log: Logger
}

const maxBodyBytes = 128 * 1024

export const grantTypes = {
  clientCredentials: 'client_credentials',
  tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
} as const

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

/** `POST /token/`: a JWT of Entra's for a local one, as a client's proof (RFC 7521) or in an exchange (RFC 8693). */
export function tokenEndpoint(parts: TokenEndpointParts): Hono {
  const app = new Hono()
  formRoute(app, '/token/', {
    maxBytes: maxBodyBytes,
    refused: (c, refusal) => answerRefusal(c, refusal, parts),
    answer: async (c) => {
      try {
        return c.json(await exchange(parts, await formOf(c)), 200, { Pragma: 'no-cache' })
      } catch (error) {
        return answerRefusal(c, error, parts)
      }
    },
  })
  return app
}

/** Why there is no answer: of whoever asked, or of somebody else for the moment. @throws what is neither. */
export function answerRefusal(
  c: Context,
  error: unknown,
  { isPassing, log }: Pick<TokenEndpointParts, 'isPassing' | 'log'>,
): Response {
  if (error instanceof OAuthRefusal) {
    log.info({ error: error.error, check: error.check }, 'no local token given')
    return refused(c, error)
  }
  if (!isPassing(error)) throw error
  log.warn({ code: codeOf(error) }, 'no local token given: something is out of reach')
  const why =
    codeOf(error) === 'access_denied' ? notGranted : 'something is out of reach; try again in a few seconds'
  return refused(c, new OAuthRefusal('temporarily_unavailable', 'unavailable', why))
}

/** It passes once an administrator has done something about it. */
const notGranted =
  'Microsoft Graph does not let this installation read the groups of services; an administrator of the tenant has to grant Application.Read.All and GroupMember.Read.All to its app'

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'

function refused(c: Context, refusal: OAuthRefusal): Response {
  const headers: Record<string, string> = { Pragma: 'no-cache' }
  if (refusal.status === 503) headers['Retry-After'] = '5'
  // RFC 9110, 11.6.1: a 401 says how to prove oneself; by the scheme that was tried (RFC 6749, 5.2).
  const tried = /^Basic /i.test(c.req.header('Authorization') ?? '') ? 'Basic' : 'Bearer'
  // Clients look no further than that, so it says what the body says.
  if (refusal.status === 401)
    headers['WWW-Authenticate'] =
      `${tried} realm="entra-group-sync", error="${refusal.error}", error_description="${refusal.body.error_description}"`
  return c.json(refusal.body, refusal.status, headers)
}

/** What was sent, by whichever grant. */
type Asked = {
  token: string
  application: string
  /** How an application that isn't known is refused, by the parameter that named it. */
  unknown: { error: 'invalid_client' | 'invalid_target'; parameter: 'client_id' | 'audience' }
  bad: BadToken
  issuedTokenType?: string
}

const byClientId: Asked['unknown'] = { error: 'invalid_client', parameter: 'client_id' }
/** RFC 8693, 2.2.2. */
const byAudience: Asked['unknown'] = { error: 'invalid_target', parameter: 'audience' }

async function exchange(parts: TokenEndpointParts, form: ReadonlyMap<string, string>) {
  const asked = askedBy(form)
  if (!parts.applications.includes(asked.application)) {
    const known = 'no application of this id; APPLICATIONS names those that tokens are for'
    const { error, parameter } = asked.unknown
    throw new OAuthRefusal(error, 'application', `${parameter}: ${known}`)
  }
  const wanted = scopesOf(form.get('scope'))
  const entra = await verifyEntraToken(asked.token, parts.sources, asked.bad)
  const scopes = wanted.map((scope) => granted(scope, entra))
  const subject = await parts.subjectOf(entra)
  const { application, issuedTokenType } = asked
  const { token, expiresIn, scope } = await parts.tokens.issue({
    subject,
    application,
    scopes,
    azp: entra.callerId,
  })
  parts.log.info(
    { source: entra.source, kind: entra.kind, userId: subject.userId, callerId: entra.callerId, application },
    'local token given',
  )
  return {
    access_token: token,
    token_type: 'Bearer',
    expires_in: expiresIn,
    scope,
    ...(issuedTokenType === undefined ? {} : { issued_token_type: issuedTokenType }),
  }
}

function askedBy(form: ReadonlyMap<string, string>): Asked {
  const grantType = required(form, 'grant_type')
  if (grantType === grantTypes.clientCredentials) {
    if (form.get('client_assertion_type') !== assertionType)
      throw new OAuthRefusal(
        'invalid_client',
        'assertion_type',
        `client_assertion_type must be ${assertionType}`,
      )
    const token = form.get('client_assertion')
    if (token === undefined)
      throw new OAuthRefusal(
        'invalid_client',
        'no_assertion',
        'client_assertion is missing: it is the token that Entra gave',
      )
    return { token, application: required(form, 'client_id'), unknown: byClientId, bad: 'invalid_client' }
  }
  if (grantType === grantTypes.tokenExchange) return exchangeAskedBy(form)
  const known = Object.values(grantTypes).join(' or ')
  throw new OAuthRefusal('unsupported_grant_type', 'grant_type', `grant_type must be ${known}`)
}

/** RFC 8693, 2.1. */
function exchangeAskedBy(form: ReadonlyMap<string, string>): Asked {
  const type = required(form, 'subject_token_type')
  if (type !== jwtType && type !== accessTokenType)
    throw new OAuthRefusal(
      'invalid_request',
      'subject_token_type',
      `subject_token_type must be ${jwtType} or ${accessTokenType}`,
    )
  for (const name of ['actor_token', 'actor_token_type'])
    if (form.has(name))
      throw new OAuthRefusal('invalid_request', 'actor_token', `${name} is not supported: leave it out`)
  const issuedTokenType = form.get('requested_token_type') ?? accessTokenType
  if (issuedTokenType !== jwtType && issuedTokenType !== accessTokenType)
    throw new OAuthRefusal(
      'invalid_request',
      'requested_token_type',
      `requested_token_type must be ${accessTokenType} or ${jwtType}`,
    )
  const [audience, client] = [form.get('audience'), form.get('client_id')]
  if (form.has('resource') || (audience !== undefined && client !== undefined && audience !== client))
    throw new OAuthRefusal(
      'invalid_target',
      'audience',
      'the token is for the application of client_id; leave resource out, and audience or the same',
    )
  const application = client ?? audience ?? required(form, 'client_id')
  const unknown = client === undefined && audience !== undefined ? byAudience : byClientId
  return {
    token: required(form, 'subject_token'),
    application,
    unknown,
    bad: 'invalid_request',
    issuedTokenType,
  }
}

/** What stock clients ask for as well, and what a local token has anyway. */
const inert = new Set(['openid', 'profile', 'email'])

function scopesOf(text = ''): LocalScope[] {
  const asked = text.split(' ').filter((scope) => scope !== '' && !inert.has(scope))
  const known = knownScopes.filter((scope) => scope === 'groups' || asked.includes(scope))
  if (asked.some((scope) => !knownScopes.some((each) => each === scope)))
    throw new OAuthRefusal('invalid_scope', 'scope', `scope may have ${knownScopes.join(' and ')}`)
  return known
}

/** To read what everybody is in is for services of which an administrator has said so in Entra. */
function granted(scope: LocalScope, { kind, roles }: EntraToken): LocalScope {
  if (scope !== 'groups.read.all' || (kind === 'app' && roles.includes(scope))) return scope
  const told = 'scope groups.read.all is for apps that have the app role groups.read.all of the API in Entra'
  throw new OAuthRefusal('invalid_scope', 'scope_not_granted', told)
}
