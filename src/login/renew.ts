import * as client from 'openid-client'
import { z } from 'zod'
import { GraphUnavailable, SyncError, Throttled, TokenRejected } from '../errors.ts'
import type { RenewedTokenSet } from './tokens.ts'

/** Errors after which only the person can go on (OpenID Connect Core 3.1.2.6; Entra: reference-error-codes). */
const needsLogin = new Set(['invalid_grant', 'interaction_required', 'login_required', 'consent_required'])

/** Errors of the app registration: every user gets them until somebody mends it. */
const needsOperator = new Set(['invalid_client', 'unauthorized_client', 'invalid_scope', 'invalid_request'])

const entraError = z.object({
  error_codes: z.array(z.number()).optional().catch(undefined),
  correlation_id: z.string().optional().catch(undefined),
})

/** Milliseconds, where Entra's 429 names none. */
const pauseMs = 30_000

/**
 * Redeems a refresh token. Decided on the status and the OAuth `error`, never on the description.
 * @throws {TokenRejected} only the person can go on · {Throttled} · {GraphUnavailable} no usable answer · {SyncError}
 * `config_invalid` where the app registration itself is refused.
 */
export async function renewTokens(
  configuration: client.Configuration,
  refreshToken: string,
): Promise<RenewedTokenSet> {
  try {
    const tokens = await client.refreshTokenGrant(configuration, refreshToken)
    return {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      lifetimeSeconds: tokens.expiresIn() ?? 0,
      scopes: (tokens.scope ?? '').split(' ').filter(Boolean),
    }
  } catch (error) {
    throw renewalError(error)
  }
}

function renewalError(error: unknown): SyncError {
  if (!(error instanceof client.ResponseBodyError)) {
    return new GraphUnavailable("Entra's token endpoint gave no usable answer", { cause: error })
  }
  const told = entraError.safeParse(error.cause)
  const codes = told.success ? (told.data.error_codes ?? []) : []
  const details = { requestId: told.success ? told.data.correlation_id : undefined }
  const said = `Entra answered ${error.status} ${error.error}${codes.map((code) => ` AADSTS${code}`).join('')}`
  if (error.status === 429) return new Throttled(pauseMs, said, details)
  if (needsLogin.has(error.error))
    return new TokenRejected(codes.length > 0 ? `AADSTS${codes[0]}` : error.error, said, details)
  if (needsOperator.has(error.error))
    return new SyncError('config_invalid', `${said}: check the app registration and its secret`, details)
  return new GraphUnavailable(said, details)
}
