import { Hono, type Context } from 'hono'
import { randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client'
import type { Logger } from 'pino'
import { databaseFailure } from '../database-failure.ts'
import { toSyncError } from '../errors.ts'
import type { SourceConfig } from '../source-config.ts'
import { within } from '../within.ts'
import type { Refused } from './admission.ts'
import { mergeClaims } from './claims.ts'
import type { EntraClient, EntraSignIn } from './entra.ts'
import { consentPage, notAdmittedPage, notStoredPage, unknownStatePage } from './failure-pages.ts'
import { refusedPage, unsatisfiedPage } from './failure-pages.ts'
import type { PendingSignIn, PendingSignIns } from './oauth-state.ts'
import { safeReturnTo } from './return-to.ts'
import type { Session, Sessions } from './session.ts'
import { claimsWantedBy, describeSignInFailure } from './sign-in-failure.ts'
import type { LoginSucceeded } from './signed-in-user.ts'

/** A source as far as signing in goes. */
export type SignInSource = {
  config: SourceConfig
  entra: EntraClient
  loginSucceeded: LoginSucceeded
  /** Why somebody whom Entra lets in doesn't get in here; undefined for those who do. */
  refusalOf: (person: EntraSignIn) => Promise<Refused | undefined>
  /** Once the person is stored, and before they are signed in. */
  settle: (person: EntraSignIn) => Promise<void>
}

export type OAuthSourceParts = {
  publicUrl: string
  /** By slug. */
  sources: ReadonlyMap<string, SignInSource>
  pendingSignIns: PendingSignIns
  sessions: Sessions
  /** The claims that this person's next sign-in has to ask for, where tokens were refused for the lack of them. */
  wantedClaims: (source: string, tenantId: string, objectId: string) => Promise<string | undefined>
  /** Ends the sessions that were started in a session at Entra. */
  endSessionsAt: (source: string, entraSession: string) => Promise<number>
  endSessionsOfPerson: (person: { source: string; tenantId: string; objectId: string }) => Promise<number>
  log: Logger
}

/** How long a sign-in waits for its login event to be stored before it goes on without. */
const storeWithinMs = 5000

/** How long a sign-in waits to hear which claims to ask for before it goes on without. */
const claimsWithinMs = 1000

/**
 * The routes of the sources: `login/<slug>/` sends the browser to Entra, `callback/<slug>/` is where it comes back to, and
 * `logout/<slug>/` is told by Entra that somebody has signed out there.
 */
export function oauthSource(parts: OAuthSourceParts): Hono {
  const app = new Hono()
  const publicHost = new URL(parts.publicUrl).host
  const sourceOf = (c: Context) => {
    const source = parts.sources.get(c.req.param('slug') ?? '')
    return source?.config.enabled ? source : undefined
  }

  for (const step of ['login', 'callback', 'logout']) {
    app.get(`/${step}/:slug`, (c) => {
      const { pathname, search } = new URL(c.req.url)
      return c.redirect(`${pathname}/${search}`, 301)
    })
  }

  app.get('/login/:slug/', async (c) => {
    const source = sourceOf(c)
    if (!source) return c.notFound()
    const { host, pathname, search } = new URL(c.req.url)
    // Entra sends the browser back to the public URL: a cookie set under another name of this host would be missed.
    if (host !== publicHost && isLoopback(host))
      return c.redirect(`${parts.publicUrl}${pathname}${search}`, 302)
    const returnTo = safeReturnTo(c.req.query('return_to'))
    const loginHint = c.req.query('login_hint')?.slice(0, 320) || undefined
    // Only of a person who is proven: what a hint would bring up stood in the address for whoever typed it.
    const session = await sessionOf(parts, c)
    const claims = session && (await findWantedClaims(parts, source, session))
    const wanted =
      claims === undefined ? {} : { claims, claimsOf: session?.objectId, again: 'asked' as const }
    const otherAccount = c.req.query('prompt') === 'select_account'
    return await sendToEntra(parts, c, source, { returnTo, loginHint, otherAccount, ...wanted })
  })

  app.get('/callback/:slug/', async (c) => {
    const source = sourceOf(c)
    if (!source) return c.notFound()
    const { slug } = source.config
    const { state = '', admin_consent: consent, error: refused } = c.req.query()
    // Entra says that consent was asked for also where it was declined.
    if (consent !== undefined)
      return c.html(await consentPage(slug, refused === undefined && /^true$/i.test(consent)))
    const pending = await parts.pendingSignIns.take(c, state)
    if (pending?.slug !== slug) {
      parts.log.warn({ source: slug, error: 'unknown_state' }, 'sign-in failed')
      return c.html(await unknownStatePage(slug), 400)
    }
    let person: EntraSignIn
    try {
      const answered = new URL(callbackUrl(parts, slug) + new URL(c.req.url).search)
      person = await source.entra.redeem(answered, pending)
    } catch (error) {
      // Entra may want more only now that it sees the code.
      const claims = claimsWantedBy(error)
      if (claims === undefined || pending.challenged) return await failed(parts, c, slug, error, pending)
      return await sendToEntra(parts, c, source, challenged(pending, claims))
    }
    try {
      return await welcome(parts, c, source, pending, person)
    } catch (error) {
      return await notLetIn(parts, c, slug, person, databaseFailure(error).code)
    }
  })

  // Entra calls this from a frame of its own page, without our cookies: the id it sends is what ends the session.
  app.get('/logout/:slug/', async (c) => {
    const source = sourceOf(c)
    if (!source) return c.notFound()
    const sid = c.req.query('sid') ?? ''
    const ended = /^[\w-]{1,256}$/.test(sid) ? await parts.endSessionsAt(source.config.slug, sid) : 0
    parts.log.info({ source: source.config.slug, sessions: ended }, 'signed out at Entra')
    return c.body(null, 200)
  })

  return app
}

/** The person is proven: let in, stored, signed in; or sent to Entra once more for claims that are theirs. */
async function welcome(
  parts: OAuthSourceParts,
  c: Context,
  source: SignInSource,
  pending: PendingSignIn,
  person: EntraSignIn,
): Promise<Response> {
  const { slug } = source.config
  const refused = await source.refusalOf(person)
  if (refused?.claims !== undefined && !pending.challenged) {
    const wanted = challenged({ ...pending, loginHint: person.userPrincipalName }, refused.claims)
    return await sendToEntra(parts, c, source, { ...wanted, claimsOf: person.objectId })
  }
  if (refused) return await notAdmitted(parts, c, source, person, refused)
  // Whoever came back may be another person than the one who was sent.
  const isAnswered = pending.again === 'sent' || pending.claimsOf === person.objectId
  const claims = isAnswered ? undefined : await findWantedClaims(parts, source, person)
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

/** The same sign-in once more, with all that was asked for before; what is wanted then is not asked for again. */
function challenged({ claims: earlier, ...pending }: PendingSignIn, claims: string) {
  const { returnTo, loginHint, claimsOf, again } = pending
  return { returnTo, loginHint, claimsOf, again, claims: mergeClaims(earlier, claims), challenged: true }
}

/** Entra lets the person in, and we don't. */
async function notAdmitted(
  parts: OAuthSourceParts,
  c: Context,
  source: SignInSource,
  person: EntraSignIn,
  { reason, isUser }: Refused,
): Promise<Response> {
  const { slug } = source.config
  parts.log.warn({ source: slug, error: reason, objectId: person.objectId }, 'sign-in not admitted')
  if (reason === 'not_member') {
    // Proven to be in none of the groups by now: that counts for other browsers, and for what is stored.
    await parts.endSessionsOfPerson({ ...person, source: slug })
    if (isUser) await recordLogin(parts, source, person)
  }
  if (reason === 'membership_unknown') c.header('Retry-After', '30')
  return c.html(await notAdmittedPage(slug, reason), reason === 'membership_unknown' ? 503 : 403)
}

/** Entra has let the person in, and we have nowhere to keep that. */
async function notLetIn(
  { log }: OAuthSourceParts,
  c: Context,
  slug: string,
  { objectId }: EntraSignIn,
  code?: string,
): Promise<Response> {
  log.error({ source: slug, code, objectId }, 'signed in at Entra, but not stored here')
  return c.html(await notStoredPage(slug), 503, { 'Retry-After': '30' })
}

/** The browser on its way to Entra. */
async function sendToEntra(
  parts: OAuthSourceParts,
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

const callbackUrl = ({ publicUrl }: OAuthSourceParts, slug: string) =>
  `${publicUrl}/source/oauth/callback/${slug}/`

/** A session that can't be read doesn't keep anybody from signing in anew. */
async function sessionOf({ sessions }: OAuthSourceParts, c: Context): Promise<Session | undefined> {
  return await sessions.read(c).catch(() => undefined)
}

async function findWantedClaims(
  { wantedClaims }: OAuthSourceParts,
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

/** Signing in survives whatever happens to the event: the next sign-in, or the resync, makes up for a lost one. */
async function recordLogin(
  { log }: OAuthSourceParts,
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

async function failed(
  { log }: OAuthSourceParts,
  c: Context,
  slug: string,
  error: unknown,
  { again, returnTo }: Pick<PendingSignIn, 'again' | 'returnTo'>,
): Promise<Response> {
  const failure = describeSignInFailure(error)
  const { advice: _, ...facts } = failure
  log.warn({ source: slug, ...facts }, again ? 'claims not satisfied' : 'sign-in failed')
  // Signed in already, with the memberships as they were.
  if (again === 'sent') return c.redirect(returnTo, 303)
  if (failure.temporary) c.header('Retry-After', '30')
  if (again === 'asked')
    return c.html(await unsatisfiedPage(failure, returnTo), failure.temporary ? 503 : 403)
  return c.html(await refusedPage(slug, failure), failure.temporary ? 503 : 400)
}

/** 127.0.0.1 typed for localhost. Any other host may be how a proxy calls us. */
function isLoopback(host: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host)
}
