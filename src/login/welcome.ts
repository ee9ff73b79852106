import type { Context } from 'hono'
import { toSyncError } from '../errors.ts'
import { within } from '../within.ts'
import type { Refused } from './admission.ts'
import { mergeClaims } from './claims.ts'
import type { EntraSignIn } from './entra.ts'
import { notAdmittedPage, notRefreshedPage, notStoredPage } from './failure-pages.ts'
import type { PendingSignIn } from './oauth-state.ts'
import type { SignInParts, SignInSource } from './sign-in-source.ts'
import { sessionOf } from './session-of.ts'
import { challenged, findWantedClaims, sendToEntra } from './to-entra.ts'

/** How long a sign-in waits for its login event to be stored before it goes on without. */
const storeWithinMs = 5000

/** The person is proven: let in, stored, signed in; or sent to Entra once more for claims that are theirs. */
export async function welcome(
  parts: SignInParts,
  c: Context,
  source: SignInSource,
  pending: PendingSignIn,
  person: EntraSignIn,
): Promise<Response> {
  const { slug } = source.config
  const refused = await source.refusalOf(person)
  const mayGoBack = refused?.claims !== undefined && !pending.challenged?.includes('graph')
  if (refused && !mayGoBack)
    return await notAdmitted(parts, c, source, { person, returnTo: pending.returnTo }, refused)
  // Whoever came back may be another person than the one who was sent.
  const isAnswered = pending.again === 'sent' || pending.claimsOf === person.objectId
  const claims = isAnswered ? undefined : await findWantedClaims(parts, source, person)
  if (refused?.claims !== undefined) {
    const asked = { ...pending, loginHint: person.userPrincipalName }
    const stored = { claims: mergeClaims(pending.claims, claims), claimsOf: person.objectId }
    const all = claims === undefined ? asked : { ...asked, ...stored }
    return await sendToEntra(parts, c, source, challenged(all, 'graph', refused.claims))
  }
  await recordLogin(parts, source, person)
  await source.settle(person)
  if (!(await parts.sessions.start(c, { ...person, source: slug })))
    return await notLetIn(parts, c, slug, person)
  if (claims === undefined) return c.redirect(pending.returnTo, 303)
  return await sendToEntra(parts, c, source, {
    returnTo: pending.returnTo,
    loginHint: person.userPrincipalName,
    claims,
    claimsOf: person.objectId,
    again: 'sent',
  })
}

/** Entra lets the person in, and we don't. */
async function notAdmitted(
  parts: SignInParts,
  c: Context,
  source: SignInSource,
  { person, returnTo }: { person: EntraSignIn; returnTo: string },
  { reason, isUser, said }: Refused,
): Promise<Response> {
  const { slug } = source.config
  const { objectId } = person
  parts.log.warn({ source: slug, error: reason, objectId, ...said }, 'sign-in not admitted')
  if (reason === 'not_member') {
    // Proven to be in none of the groups by now: that counts for other browsers, and for what is stored.
    await parts.endSessionsOfPerson({ ...person, source: slug })
    if (isUser) await recordLogin(parts, source, person)
  }
  if (reason === 'membership_unknown') c.header('Retry-After', '30')
  // Nothing is proven where Graph didn't tell, so a session goes on.
  const isStillIn = said !== undefined && (await isSignedIn(parts, c, slug, person))
  const page = isStillIn ? notRefreshedPage(reason, returnTo) : notAdmittedPage(slug, reason)
  return c.html(await page, reason === 'membership_unknown' ? 503 : 403)
}

async function isSignedIn(
  parts: SignInParts,
  c: Context,
  slug: string,
  { tenantId, objectId }: EntraSignIn,
): Promise<boolean> {
  const session = await sessionOf(parts, c)
  return session?.source === slug && session.tenantId === tenantId && session.objectId === objectId
}

/** Entra has let the person in, and we have nowhere to keep that. */
export async function notLetIn(
  { log }: SignInParts,
  c: Context,
  slug: string,
  { objectId }: EntraSignIn,
  code?: string,
): Promise<Response> {
  log.error({ source: slug, code, objectId }, 'signed in at Entra, but not stored here')
  return c.html(await notStoredPage(slug), 503, { 'Retry-After': '30' })
}

/** Signing in survives whatever happens to the event: the next sign-in, or the resync, makes up for a lost one. */
async function recordLogin(
  { log }: SignInParts,
  { loginSucceeded }: SignInSource,
  person: EntraSignIn,
): Promise<void> {
  const { tenantId, objectId, userPrincipalName, displayName, mail, tokens } = person
  const lost = (error: unknown) => {
    const { code, name } = toSyncError(error)
    log.error({ code, error: name, objectId }, 'signed in, but the login event was not stored')
  }
  const event = { tenantId, objectId, userPrincipalName, displayName, mail, tokens }
  const stored = loginSucceeded(event).then(() => undefined, lost)
  if (!(await within(storeWithinMs, stored)))
    log.warn({ objectId }, 'signed in before the login event was stored')
}
