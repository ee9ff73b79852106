import { createLocalJWKSet, errors, jwtVerify, type JWTPayload } from 'jose'
import { AadstsError } from './aadsts.ts'
import {
  assertTenantNamed,
  assertUnchallenged,
  issueDelegated,
  required,
  usableUser,
  type TokenRequest,
} from './issuing.ts'

/**
 * Exchanges a user's token for this app's own API for one for Graph (Entra docs: v2-oauth2-on-behalf-of-flow). The
 * assertion's issuer is not compared: this tenant has as many as it has addresses, and one set of keys.
 */
export async function onBehalfOf(asked: TokenRequest): Promise<object> {
  const { authority, app, parameters } = asked
  assertTenantNamed(authority)
  if (required(parameters, 'requested_token_use') !== 'on_behalf_of') throw new AadstsError(9002313)
  const scope = required(parameters, 'scope')
  const claims = await readAssertion(asked, required(parameters, 'assertion'))
  if (claims['scp'] === undefined) {
    // An ID token has no `azp` and no `scp`; an app's own token has no `scp`.
    throw claims['azp'] === undefined ? new AadstsError(50013) : new AadstsError(7000114, app.clientId)
  }
  const user = usableUser(authority, String(claims['oid']), app)
  assertUnchallenged(authority, user)
  const sessionId = crypto.randomUUID()
  const cp1 = asked.cp1
  return issueDelegated(authority, asked.request.baseUrl, {
    app,
    user,
    scope,
    nonce: undefined,
    sessionId,
    cp1,
  })
}

/** Graph's own tokens fail here too: this tenant's keys did not sign them. */
async function readAssertion({ authority, app }: TokenRequest, assertion: string): Promise<JWTPayload> {
  const keys = createLocalJWKSet({ keys: [...authority.keys.published()] })
  const audience = [app.clientId, `api://${app.clientId}`]
  try {
    const currentDate = new Date(authority.now())
    const { payload } = await jwtVerify(assertion, keys, { audience, currentDate })
    return payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new AadstsError(500133)
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud')
      throw new AadstsError(500131, app.clientId)
    if (error instanceof errors.JOSEError) throw new AadstsError(50013)
    throw error
  }
}
