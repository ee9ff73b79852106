import type { Context } from 'hono'
import { randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client'
import { within } from '../within.ts'
import { fitTogether, mergeClaims } from './claims.ts'
import { refusedPage, unsatisfiedPage } from './failure-pages.ts'
import type { Challenger, PendingSignIn } from './oauth-state.ts'
import { describeSignInFailure } from './sign-in-failure.ts'
import { sessionOf } from './session-of.ts'
import type { SignInParts, SignInSource } from './sign-in-source.ts'

/** How long a sign-in waits to hear which claims to ask for before it goes on without. */
const claimsWithinMs = 1000

/** The browser on its way to Entra. */
export async function sendToEntra(
  parts: SignInParts,
  c: Context,
  { config: { slug }, entra }: SignInSource,
  wanted: Omit<PendingSignIn, 'slug' | 'state' | 'nonce' | 'codeVerifier'>,
): Promise<Response> {
  const pending = {
    ...wanted,
    slug,
    state: randomState(),
    nonce: randomNonce(),
    codeVerifier: randomPKCECodeVerifier(),
  }
  try {
    const url = await entra.authorizationUrl(pending, callbackUrl(parts, slug))
    await parts.pendingSignIns.remember(c, pending)
    return c.redirect(url.href, 302)
  } catch (error) {
    return await failed(parts, c, slug, error, pending)
  }
}

/** Where Entra sends the browser back to. */
export const callbackUrl = ({ publicUrl }: SignInParts, slug: string) =>
  `${publicUrl}/source/oauth/callback/${slug}/`

/** The same sign-in once more, with what was asked for before and is asked for now; the same challenger isn't followed again. */
export function challenged(pending: PendingSignIn, by: Challenger, claims: string) {
  const { returnTo, loginHint, otherAccount, claimsOf, again, claims: earlier } = pending
  const { challenged: before = [] } = pending
  return {
    returnTo,
    loginHint,
    // Once it is known who it is, there is nothing left to choose.
    otherAccount: loginHint === undefined ? otherAccount : undefined,
    // Whose claims were left out for want of room is still to be asked for them.
    claimsOf: fitTogether(earlier, claims) ? claimsOf : undefined,
    again,
    claims: mergeClaims(earlier, claims),
    challenged: [...before, by],
  }
}

/** What this person's next sign-in has to ask for, unless the database is slow to say. */
export async function findWantedClaims(
  { wantedClaims }: SignInParts,
  { config }: SignInSource,
  { tenantId, objectId }: { tenantId: string; objectId: string },
): Promise<string | undefined> {
  let claims: string | undefined
  const find = async () => {
    claims = await wantedClaims(config.slug, tenantId, objectId)
  }
  await within(claimsWithinMs, find())
  return claims
}

/** Entra, or the check of its answer, refused: the page that says so. */
export async function failed(
  parts: SignInParts,
  c: Context,
  slug: string,
  error: unknown,
  { again, returnTo }: Pick<PendingSignIn, 'again' | 'returnTo'>,
): Promise<Response> {
  const failure = await describeSignInFailure(error)
  const { advice: _, ...facts } = failure
  parts.log.warn({ source: slug, ...facts }, again ? 'claims not satisfied' : 'sign-in failed')
  // Signed in already, with the memberships as they were.
  if (again === 'sent') return c.redirect(returnTo, 303)
  if (failure.retryAfterSeconds !== undefined) c.header('Retry-After', String(failure.retryAfterSeconds))
  if (again === 'asked' && failure.leavesSession && (await sessionOf(parts, c)))
    return c.html(await unsatisfiedPage(failure, returnTo), failure.temporary ? 503 : 403)
  return c.html(await refusedPage(slug, failure), failure.temporary ? 503 : 400)
}
