import { Hono, type Context } from 'hono'
import { randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client'
import type { Logger } from 'pino'
import type { SourceConfig } from '../config.ts'
import { toSyncError } from '../errors.ts'
import { within } from '../within.ts'
import { createEntraClient, type EntraClient, type EntraSignIn } from './entra.ts'
import type { LoginSucceeded } from './signed-in-user.ts'
import type { PendingSignIn, PendingSignIns } from './oauth-state.ts'
import { problemPage, type Html } from './page.ts'
import { safeReturnTo } from './return-to.ts'
import type { Sessions } from './session.ts'
import { adviceFor, describeSignInFailure, type SignInFailure } from './sign-in-failure.ts'

export type OAuthSourceParts = {
  publicUrl: string
  source: SourceConfig
  pendingSignIns: PendingSignIns
  sessions: Sessions
  loginSucceeded: LoginSucceeded
  /** The claims that this person's next sign-in has to ask for, where tokens were refused for the lack of them. */
  wantedClaims: (tenantId: string, objectId: string) => Promise<string | undefined>
  log: Logger
}

/** How long a sign-in waits for its login event to be stored before it goes on without. */
const storeWithinMs = 5000

/** How long a sign-in waits to hear which claims to ask for before it goes on without. */
const claimsWithinMs = 1000

/** The routes of a source: `login/<slug>/` sends the browser to Entra, `callback/<slug>/` is where it comes back to. */
export function oauthSource(parts: OAuthSourceParts): Hono {
  const { source, pendingSignIns } = parts
  const entra = createEntraClient(source)
  const publicHost = new URL(parts.publicUrl).host
  const app = new Hono()

  for (const step of ['login', 'callback']) {
    app.get(`/${step}/:slug`, (c) => {
      const { pathname, search } = new URL(c.req.url)
      return c.redirect(`${pathname}/${search}`, 301)
    })
  }

  app.get('/login/:slug/', async (c) => {
    if (c.req.param('slug') !== source.slug) return c.notFound()
    const { host, pathname, search } = new URL(c.req.url)
    // Entra sends the browser back to the public URL: a cookie set under another name of this host would be missed.
    if (host !== publicHost && isLoopback(host))
      return c.redirect(`${parts.publicUrl}${pathname}${search}`, 302)
    const returnTo = safeReturnTo(c.req.query('return_to'))
    const loginHint = c.req.query('login_hint')?.slice(0, 320) || undefined
    // Only of a person who is proven: what a hint would bring up stood in the address for whoever typed it.
    const session = await parts.sessions.read(c)
    const claims = session && (await findWantedClaims(parts, session))
    const wanted =
      claims === undefined ? {} : { claims, claimsOf: session?.objectId, again: 'asked' as const }
    return await sendToEntra(parts, c, entra, { returnTo, loginHint, ...wanted })
  })

  app.get('/callback/:slug/', async (c) => {
    if (c.req.param('slug') !== source.slug) return c.notFound()
    const pending = await pendingSignIns.take(c, c.req.query('state') ?? '')
    if (pending?.slug !== source.slug) return await unknownState(parts, c)
    let person: EntraSignIn
    try {
      person = await entra.redeem(new URL(callbackUrl(parts) + new URL(c.req.url).search), pending)
    } catch (error) {
      return await failed(parts, c, error, pending)
    }
    const { returnTo } = pending
    // Whoever came back may be another person than the one who was sent.
    const isAnswered = pending.again === 'sent' || pending.claimsOf === person.objectId
    const claims = isAnswered ? undefined : await findWantedClaims(parts, person)
    await recordLogin(parts, person)
    await parts.sessions.start(c, person)
    if (claims === undefined) return c.redirect(returnTo, 303)
    const loginHint = person.userPrincipalName
    const claimsOf = person.objectId
    return await sendToEntra(parts, c, entra, { returnTo, loginHint, claims, claimsOf, again: 'sent' })
  })

  return app
}

/** The browser on its way to Entra. */
async function sendToEntra(
  parts: OAuthSourceParts,
  c: Context,
  entra: EntraClient,
  wanted: Pick<PendingSignIn, 'returnTo' | 'claims' | 'claimsOf' | 'again'> & {
    loginHint: string | undefined
  },
): Promise<Response> {
  const { loginHint, ...rest } = wanted
  const { slug } = parts.source
  const pending = {
    ...rest,
    slug,
    state: randomState(),
    nonce: randomNonce(),
    codeVerifier: randomPKCECodeVerifier(),
  }
  try {
    const url = await entra.authorizationUrl(pending, callbackUrl(parts), loginHint)
    await parts.pendingSignIns.remember(c, pending)
    return c.redirect(url.href, 302)
  } catch (error) {
    return await failed(parts, c, error, pending)
  }
}

const callbackUrl = ({ publicUrl, source }: OAuthSourceParts) =>
  `${publicUrl}/source/oauth/callback/${source.slug}/`

async function findWantedClaims(
  { wantedClaims }: OAuthSourceParts,
  { tenantId, objectId }: { tenantId: string; objectId: string },
): Promise<string | undefined> {
  let claims: string | undefined
  const find = async () => {
    claims = await wantedClaims(tenantId, objectId)
  }
  await within(claimsWithinMs, find())
  return claims
}

/** Signing in survives whatever happens to the event: the next sign-in, or the resync, makes up for a lost one. */
async function recordLogin({ loginSucceeded, log }: OAuthSourceParts, person: EntraSignIn): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const lost = (error: unknown) => {
    const { code, name } = toSyncError(error)
    log.error(
      { code, error: name, objectId: person.objectId },
      'signed in, but the login event was not stored',
    )
  }
  const stored = loginSucceeded(person).then(() => undefined, lost)
  const tooLate = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      log.warn({ objectId: person.objectId }, 'signed in before the login event was stored')
      resolve()
    }, storeWithinMs)
  })
  await Promise.race([stored, tooLate])
  clearTimeout(timer)
}

async function unknownState({ source, log }: OAuthSourceParts, c: Context): Promise<Response> {
  log.warn({ source: source.slug, error: 'unknown_state' }, 'sign-in failed')
  return c.html(
    await problemPage({
      title: 'This sign-in can’t be finished',
      advice:
        'It was begun more than ten minutes ago, was already used, or was begun in another browser. Nothing is wrong with your account.',
      action: { href: `/source/oauth/login/${source.slug}/`, text: 'Sign in again' },
    }),
    400,
  )
}

async function failed(
  { source, log }: OAuthSourceParts,
  c: Context,
  error: unknown,
  { again, returnTo }: Pick<PendingSignIn, 'again' | 'returnTo'>,
): Promise<Response> {
  const { temporary, ...facts } = describeSignInFailure(error)
  log.warn({ source: source.slug, ...facts }, again ? 'claims not satisfied' : 'sign-in failed')
  // Signed in already, with the memberships as they were.
  if (again === 'sent') return c.redirect(returnTo, 303)
  if (temporary) c.header('Retry-After', '30')
  if (again === 'asked')
    return c.html(await unsatisfied({ temporary, ...facts }, returnTo), temporary ? 503 : 403)
  return c.html(
    await problemPage({
      title: 'You are not signed in',
      advice: adviceFor({ temporary, ...facts }),
      action: { href: `/source/oauth/login/${source.slug}/`, text: 'Sign in again' },
      facts: factsOf(facts),
    }),
    temporary ? 503 : 400,
  )
}

/** The session is as it was: only the claims are missing. */
function unsatisfied(failure: SignInFailure, returnTo: string): Html {
  return problemPage({
    title: 'Your groups can’t be refreshed yet',
    advice: `You are still signed in, with the groups as they were. ${
      failure.temporary
        ? 'Entra ID can’t be reached right now: try again in a minute.'
        : 'Entra ID wants more of you before it shows your groups, such as a second factor or a managed device, and did not get it. Ask your administrator if you don’t know what.'
    }`,
    action: { href: returnTo, text: 'Go on' },
    facts: factsOf(failure),
  })
}

const factsOf = (facts: Omit<SignInFailure, 'temporary'>) =>
  [
    ['Error', facts.error],
    ['Entra code', facts.aadsts],
    ['Correlation id', facts.correlationId],
  ] as const

/** 127.0.0.1 typed for localhost. Any other host may be how a proxy calls us. */
function isLoopback(host: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host)
}
