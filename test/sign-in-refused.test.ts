import { describe, expect, test, vi } from 'vitest'
import { createBrowser, type Browser } from './support/browser.ts'
import { givenDatabase } from './support/database.ts'
import { newKey, publicUrl, testGateway } from './support/gateway.ts'
import {
  atCallback,
  callbackPath,
  givenTinyEntra,
  loginPath,
  secretsOf,
  type TinyEntra,
} from './support/tiny-entra.ts'

let entra: TinyEntra
const database = givenDatabase()

givenTinyEntra((given) => (entra = given))

function setUp(parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const gateway = testGateway({ db: database.db, configs: [entra.source], ...parts })
  return { ...gateway, browser: createBrowser(gateway.app, publicUrl) }
}

/** What a callback led to, in the words of the two outcomes there are. */
async function outcomeOf(answer: Response, { logins, browser }: { logins: unknown[]; browser: Browser }) {
  const text = await answer.text()
  return {
    status: answer.status,
    offersAnotherTry: /Sign in (again|with another account)/.test(text),
    logins: logins.length,
    session: browser.cookies().has('egs_session'),
  }
}

const refused = { status: 400, offersAnotherTry: true, logins: 0, session: false }

describe('a callback is refused', () => {
  test('without a state, and with one nobody gave out', async () => {
    const gateway = setUp()
    await gateway.browser.fetchOnce(loginPath)
    for (const query of ['', '?code=x', '?code=x&state=forged', '?error=access_denied']) {
      expect(await outcomeOf(await gateway.browser.fetchOnce(callbackPath + query), gateway)).toEqual(refused)
    }
    expect(entra.requests.filter(({ path }) => path.endsWith('/token'))).toEqual([])
  })

  test('with the state and code of another browser', async () => {
    const gateway = setUp()
    const victim = createBrowser(gateway.app, publicUrl)
    await victim.fetchOnce(loginPath)
    const away = await gateway.browser.open(loginPath, atCallback)
    const answer = await victim.fetchOnce(away.headers.get('location') ?? '')
    expect(await outcomeOf(answer, { ...gateway, browser: victim })).toEqual(refused)
  })

  test('a second time', async () => {
    const { browser, logins } = setUp()
    const away = await browser.open(loginPath, atCallback)
    expect((await browser.open(away.headers.get('location') ?? '')).status).toBe(200)
    expect((await browser.open(away.headers.get('location') ?? '')).status).toBe(400)
    expect(logins).toHaveLength(1)
  })

  test('after ten minutes', async () => {
    const gateway = setUp()
    const away = await gateway.browser.open(loginPath, atCallback)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11 * 60_000 })
    const late = await gateway.browser.fetchOnce(away.headers.get('location') ?? '')
    vi.useRealTimers()
    expect(await outcomeOf(late, gateway)).toEqual(refused)
    expect(entra.requests.filter(({ path }) => path.endsWith('/token'))).toEqual([])
  })

  test.each([
    [
      'an altered cookie',
      (value: string) => value.replace(/.(?=.{4}$)/, (letter) => (letter === 'A' ? 'B' : 'A')),
      {},
    ],
    ['a cookie that another key sealed', (value: string) => value, { sessionKeys: [newKey('k1')] }],
    ['a cookie that is no JWE', () => 'nonsense', {}],
  ])('with %s', async (_what, change, parts) => {
    const begun = setUp()
    const gateway = 'sessionKeys' in parts ? setUp(parts) : begun
    const away = await begun.browser.open(loginPath, atCallback)
    for (const [name, cookie] of begun.browser.cookies()) {
      gateway.browser.cookies().set(name, { ...cookie, value: change(cookie.value) })
    }
    const answer = await gateway.browser.fetchOnce(away.headers.get('location') ?? '')
    expect(await outcomeOf(answer, gateway)).toEqual(refused)
  })

  const now = () => Math.floor(Date.now() / 1000)
  const another = '99999999-9999-4999-8999-999999999999'

  test.each<[string, () => unknown]>([
    ['the nonce of another sign-in', () => (entra.next.claims = { nonce: 'another' })],
    ['no nonce', () => (entra.next.claims = { nonce: undefined })],
    ['another tenant', () => (entra.next.claims = { tid: another })],
    ['no tenant', () => (entra.next.claims = { tid: undefined })],
    ['no object id', () => (entra.next.claims = { oid: undefined })],
    ['an object id that is no GUID', () => (entra.next.claims = { oid: 'adele' })],
    ['another application', () => (entra.next.claims = { aud: another })],
    ['another issuer', () => (entra.next.claims = { iss: 'https://login.microsoftonline.com/other/v2.0' })],
    ['an end an hour ago', () => (entra.next.claims = { exp: now() - 3600 })],
    ['a beginning in an hour', () => (entra.next.claims = { nbf: now() + 3600 })],
    ['the signature of a stranger', () => (entra.next.key = entra.strangersKey)],
    ['a key nobody published', () => (entra.next.header = { alg: 'RS256', kid: 'two' })],
    [
      'HS256 with the public key as its secret',
      async () =>
        Object.assign(entra.next, { key: await entra.publicKeyText(), header: { alg: 'HS256', kid: 'one' } }),
    ],
  ])('whose ID token has %s', async (_flaw, spoil) => {
    await spoil()
    const gateway = setUp()
    expect(await outcomeOf(await gateway.browser.open(loginPath), gateway)).toEqual(refused)
    const logged = gateway.logLines.join()
    expect(logged).toMatch(/"error":"\w+"[^]*"sign-in failed"/)
    for (const secret of secretsOf(gateway.browser)) expect(logged).not.toContain(secret)
  })

  test('when Entra gives the code to somebody without the PKCE verifier', async () => {
    const [thief, gateway] = [setUp(), setUp()]
    const stolen = await thief.browser.open(loginPath, atCallback)
    const code = new URL(stolen.headers.get('location') ?? '').searchParams.get('code') ?? ''
    const own = new URL((await gateway.browser.open(loginPath, atCallback)).headers.get('location') ?? '')
    own.searchParams.set('code', code)
    expect(await outcomeOf(await gateway.browser.fetchOnce(own.href), gateway)).toEqual(refused)
  })
})
