import { AuthError } from '@azure/msal-node'
import express, {
  type CookieOptions,
  type Express,
  type NextFunction,
  type Request,
  type Response,
} from 'express'
import { z } from 'zod'
import { createExpiring } from './expiring.ts'
import type { Groups } from './groups.ts'
import { failurePage, signedInPage, signedOutPage } from './pages.ts'
import type { Reporter } from './report.ts'
import type { Settings } from './settings.ts'
import type { Attempt, SignIn } from './sign-in.ts'

type Person = { tenantId: string; objectId: string; name: string }

export type AppParts = { settings: Settings; signIn: SignIn; reporter: Reporter; groups: Groups }

const tenMinutes = 10 * 60 * 1000
const eightHours = 8 * 60 * 60 * 1000

const answer = z.object({ state: z.string(), code: z.string().optional(), error: z.string().optional() })

export function createApp({ settings, signIn, reporter, groups }: AppParts): Express {
  const { appUrl, authority } = settings
  const attempts = createExpiring<Attempt>(tenMinutes)
  const sessions = createExpiring<Person>(eightHours)
  // Lax, so that the cookie comes with the redirect from Entra and with no other site's POST.
  const cookie: CookieOptions = {
    httpOnly: true,
    sameSite: 'lax',
    secure: appUrl.startsWith('https:'),
    path: '/',
  }
  const policy = `default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' ${new URL(authority).origin}`

  const app = express().disable('x-powered-by')
  app.use((_request, response, next) => {
    response.set({
      'Content-Security-Policy': policy,
      'Cache-Control': 'no-store',
      'Referrer-Policy': 'no-referrer',
    })
    next()
  })

  app.get('/', async (request, response) => {
    const person = sessions.find(cookieOf(request, 'session'))
    if (!person) {
      response.send(signedOutPage())
      return
    }
    response.send(signedInPage(person.name, await groups.of(person.tenantId, person.objectId)))
  })

  app.get('/sign-in', async (_request, response) => {
    const { url, attempt } = await signIn.begin()
    response.cookie('sign-in', attempts.add(attempt), { ...cookie, maxAge: tenMinutes }).redirect(url)
  })

  app.get('/auth/callback', async (request, response) => {
    const attempt = attempts.take(cookieOf(request, 'sign-in'))
    response.clearCookie('sign-in', cookie)
    const { data } = answer.safeParse(request.query)
    if (!attempt || data?.state !== attempt.state) {
      refuse(response, 'this sign-in was not begun in this browser')
      return
    }
    if (data.code === undefined) {
      refuse(response, data.error ?? 'no code')
      return
    }
    const person = await signIn.finish(data.code, attempt)
    await reporter.report(person)
    const { tenantId, objectId, name } = person
    // A new id each time: nobody can have planted it in the browser before.
    const session = sessions.add({ tenantId, objectId, name })
    response.cookie('session', session, { ...cookie, maxAge: eightHours }).redirect('/')
  })

  app.post('/sign-out', (request, response) => {
    sessions.take(cookieOf(request, 'session'))
    response.clearCookie('session', cookie)
    const back = new URLSearchParams({ post_logout_redirect_uri: `${appUrl}/` })
    response.redirect(303, `${authority}/oauth2/v2.0/logout?${back.toString()}`)
  })

  // Express knows an error handler by its four parameters.
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    refuse(response, error instanceof AuthError ? error.errorCode : 'the answer of Microsoft does not fit')
  })

  return app
}

/** A code and no message: that of an error may carry what doesn't belong on a page or in a log. */
function refuse(response: Response, reason: string): void {
  console.error('a sign-in failed:', JSON.stringify(reason))
  response.status(400).send(failurePage(reason))
}

function cookieOf(request: Request, name: string): string | undefined {
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim())
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
}
