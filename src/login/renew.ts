import * as client from 'openid-client'
import { z } from 'zod'
import { GraphUnavailable, SyncError } from '../errors.ts'
import { failureKind } from '../failure-kind.ts'
import { claimsParameter } from './claims.ts'
import { entraFailure } from './entra-error.ts'
import type { RenewedTokenSet } from './tokens.ts'

/** The error body of the token endpoint (Entra docs: v2-oauth2-auth-code-flow, error response). */
export const tokenErrorBody = z.object({
  error: z.string().catch(''),
  suberror: z.string().catch(''),
  error_codes: z.array(z.number()).catch([]),
  claims: z.string().optional().catch(undefined),
  correlation_id: z.string().optional().catch(undefined),
})

/**
 * Redeems a refresh token, asking for the claims of a challenge where there was one.
 * @throws {TokenRejected} only the person can go on · {AccessDenied} not even the person · {Throttled} ·
 * {GraphUnavailable} no usable answer · {SyncError} `config_invalid`, `unexpected_response`: see {@link entraFailure}.
 */
export async function renewTokens(
  configuration: client.Configuration,
  refreshToken: string,
  claims?: string,
): Promise<RenewedTokenSet> {
  try {
    const tokens = await client.refreshTokenGrant(configuration, refreshToken, {
      claims: claimsParameter(claims),
    })
    return {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      lifetimeSeconds: tokens.expiresIn() ?? 0,
      scopes: (tokens.scope ?? '').split(' ').filter(Boolean),
    }
  } catch (error) {
    throw await requestFailure(error, "Entra's token endpoint gave no usable answer")
  }
}

/** What openid-client throws when a request to Entra fails, as one of our errors; `unanswered` is for who finds no answer in it. */
export async function requestFailure(error: unknown, unanswered: string): Promise<SyncError> {
  if (error instanceof SyncError) return error
  const response = responseOf(error)
  if (response === undefined || response.ok)
    return new GraphUnavailable(unanswered, { cause: failureKind(error) })
  const told = error instanceof client.ResponseBodyError ? error.cause : await bodyOf(response)
  // RFC 6749, 5.2: without a word more, a challenge at a token endpoint can be about nothing else.
  const isChallenge = error instanceof client.WWWAuthenticateChallengeError && response.status === 401
  const body = isChallenge && !isTold(told) ? { error: 'invalid_client' } : told
  return tokenFailure(response.status, response.headers.get('retry-after'), body)
}

/** JSON of an answer that others may read as well; undefined where it isn't any, or was read already. */
export async function bodyOf(response: Response): Promise<unknown> {
  try {
    return response.bodyUsed ? undefined : await response.clone().json()
  } catch {
    return undefined
  }
}

function isTold(answer: unknown): boolean {
  const body = tokenErrorBody.safeParse(answer).data
  return body !== undefined && (body.error !== '' || body.error_codes.length > 0)
}

/** An answer of the token endpoint other than tokens as one of our errors. */
export function tokenFailure(status: number, retryAfter: string | null, answer: unknown): SyncError {
  const told = tokenErrorBody.safeParse(answer).data
  return entraFailure(
    {
      status,
      error: told?.error ?? '',
      suberror: told?.suberror ?? '',
      codes: told?.error_codes ?? [],
    },
    { retryAfter, claims: told?.claims, requestId: told?.correlation_id },
  )
}

/** openid-client keeps the answer on the error where it was an error of OAuth or a challenge, else as the innermost cause. */
export function responseOf(error: unknown): Response | undefined {
  if (error instanceof client.ResponseBodyError) return error.response
  if (error instanceof client.WWWAuthenticateChallengeError) return error.response
  if (error instanceof Response) return error
  return error instanceof Error && error.cause !== error ? responseOf(error.cause) : undefined
}
