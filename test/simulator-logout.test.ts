import { decodeJwt } from 'jose'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, startSimulator } from '../src/simulator/index.ts'
import { askToken, authorityOf, authorizeUrl, otherApp, redeem, someone } from './support/entra-requests.ts'
import { simulatedBrowser, type SimulatedBrowser } from './support/simulated-browser.ts'

const quietApp = { ...otherApp, clientId: 'c3d94a51-5b0f-4e66-8d0a-0b6c7a1f2e3d', clientSecret: 'quiet' }
const simulator = await startSimulator({
  users: 2,
  groups: 0,
  https: false,
  apps: [
    { ...defaultApp, frontChannelLogoutUri: 'http://localhost:4321/signed-out?source=entra-id' },
    { ...otherApp, frontChannelLogoutUri: 'http://localhost:4322/signed-out' },
    quietApp,
  ],
})
const issuer = () => `${authorityOf(simulator)}/v2.0`

beforeEach(() => simulator.reset())
afterAll(() => simulator.close())

const signIn = async (
  browser: SimulatedBrowser,
  app: typeof otherApp | undefined,
  user = someone(simulator),
) => {
  const client = app ? { client_id: app.clientId } : {}
  const { location } = await browser.open(
    authorizeUrl(simulator, { login_hint: user.userPrincipalName, ...client }),
  )
  const secret = app ? { client_secret: app.clientSecret } : {}
  const code = location?.searchParams.get('code') ?? ''
  const answer = await askToken(simulator, redeem(code, { ...client, ...secret }))
  const { id_token: token } = z.object({ id_token: z.string() }).parse(await answer.json())
  return {
    token,
    sid: String(decodeJwt(token)['sid']),
    sessionState: location?.searchParams.get('session_state'),
  }
}
const logout = async (browser: SimulatedBrowser, parameters: Record<string, string> = {}) =>
  await browser.open(
    `${authorityOf(simulator)}/oauth2/v2.0/logout?${new URLSearchParams(parameters).toString()}`,
  )
const frames = (page: string) =>
  [...page.matchAll(/<iframe src="([^"]*)"/g)].map(([, url = '']) => url.replaceAll('&amp;', '&'))
const expected = (base: string, sid: string) => {
  const url = new URL(base)
  url.searchParams.set('iss', issuer())
  url.searchParams.set('sid', sid)
  return url.href
}

test('a browser keeps its session over several apps, and another person begins a new one', async () => {
  const browser = simulatedBrowser()
  const first = await signIn(browser, undefined)
  expect(first.sessionState).toBe(first.sid)
  expect((await signIn(browser, otherApp)).sid).toBe(first.sid)
  expect((await signIn(browser, undefined, simulator.tenant.users()[1])).sid).not.toBe(first.sid)
  expect((await signIn(simulatedBrowser(), undefined)).sid).not.toBe(first.sid)
})

test('signing out tells each app that was signed in to and wants to know, then returns', async () => {
  const browser = simulatedBrowser()
  const { sid } = await signIn(browser, undefined)
  await signIn(browser, quietApp)
  await signIn(browser, otherApp)
  const page = await logout(browser, {
    post_logout_redirect_uri: 'http://localhost:4321/bye',
    logout_hint: someone(simulator).userPrincipalName,
    state: 's',
  })
  const urls = [
    expected('http://localhost:4321/signed-out?source=entra-id', sid),
    expected('http://localhost:4322/signed-out', sid),
  ]
  expect([page.status, frames(page.text)]).toStrictEqual([200, urls])
  expect(page.text).toContain('href="http://localhost:4321/bye?state=s"')
  expect(simulator.frontChannelLogouts(sid).map(({ url }) => url)).toStrictEqual(urls)
  expect(simulator.frontChannelLogouts(crypto.randomUUID())).toStrictEqual([])
  expect((await signIn(browser, undefined)).sid).not.toBe(sid)
})

test('an app that nobody signed in to hears nothing, and without any to tell the browser returns at once', async () => {
  const browser = simulatedBrowser()
  const { sid } = await signIn(browser, otherApp)
  expect(frames((await logout(browser)).text)).toStrictEqual([
    expected('http://localhost:4322/signed-out', sid),
  ])
  await signIn(browser, quietApp)
  const answer = await logout(browser, { post_logout_redirect_uri: 'http://localhost:4321/bye' })
  expect([answer.status, answer.location?.href]).toStrictEqual([302, 'http://localhost:4321/bye'])
})

test('a page that tells apps never links to an address that is not registered', async () => {
  const browser = simulatedBrowser()
  await signIn(browser, undefined)
  const page = await logout(browser, { post_logout_redirect_uri: 'https://evil.example/' })
  expect([frames(page.text).length, page.text.includes('evil.example')]).toStrictEqual([1, false])
})

test('a session is also found by the ID token it gave, a finished sign-in without a browser included', async () => {
  const { id_token: token = '' } = await simulator.signIn(someone(simulator).id)
  const page = await logout(simulatedBrowser(), { id_token_hint: token })
  const sid = String(decodeJwt(token)['sid'])
  expect(simulator.frontChannelLogouts(sid)).toMatchObject([
    { clientId: defaultApp.clientId, sessionId: sid },
  ])
  expect(frames(page.text)).toHaveLength(1)
  expect(frames((await logout(simulatedBrowser(), { id_token_hint: 'x' })).text)).toStrictEqual([])
})
