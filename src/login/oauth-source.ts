import { Hono, type Context } from 'hono'
import { databaseFailure } from '../database-failure.ts'
import type { EntraSignIn } from './entra.ts'
import { consentPage, unknownStatePage } from './failure-pages.ts'
import { safeReturnTo } from './return-to.ts'
import { claimsWantedBy } from './sign-in-failure.ts'
import type { SignInParts } from './sign-in-source.ts'
import { callbackUrl, challenged, failed, findWantedClaims, sendToEntra } from './to-entra.ts'
import { sessionOf } from './session-of.ts'
import { notLetIn, welcome } from './welcome.ts'

/**
 * The routes of the sources: `login/<slug>/` sends the browser to Entra, `callback/<slug>/` is where it comes back to, and
 * `logout/<slug>/` is told by Entra that somebody has signed out there.
 */
export function oauthSource(parts: SignInParts): Hono {
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
    if (host !== publicHost && isLoopback(publicHost) && isLoopback(host))
      return c.redirect(`${parts.publicUrl}${pathname}${search}`, 302)
    const returnTo = safeReturnTo(c.req.query('return_to'))
    const loginHint = c.req.query('login_hint')?.slice(0, 320) || undefined
    // Only of a person who is proven: what a hint would bring up stood in the address for whoever typed it.
    // Nor of one who is about to say that they are somebody else.
    const otherAccount = c.req.query('prompt') === 'select_account'
    const session = otherAccount ? undefined : await sessionOf(parts, c)
    const claims = session && (await findWantedClaims(parts, source, session))
    const wanted =
      claims === undefined ? {} : { claims, claimsOf: session?.objectId, again: 'asked' as const }
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
      if (claims === undefined || pending.challenged?.includes('entra'))
        return await failed(parts, c, slug, error, pending)
      return await sendToEntra(parts, c, source, challenged(pending, 'entra', claims))
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

/** 127.0.0.1 typed for localhost. Any other host may be how a proxy calls us. */
function isLoopback(host: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host)
}
