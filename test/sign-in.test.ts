import { describe, expect, test } from 'vitest'
import { createBrowser } from './support/browser.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, newKey, publicUrl, testGateway } from './support/gateway.ts'
import { newPerson, sessionIdOf, startSession, storePerson } from './support/sessions.ts'
import {
  atCallback,
  callbackPath,
  givenTinyEntra,
  loginPath,
  person,
  secretsOf,
  type TinyEntra,
} from './support/tiny-entra.ts'

let entra: TinyEntra
const database = givenDatabase()
const dead = deadDatabase()
const key = newKey('k1')

givenTinyEntra((given) => (entra = given))

function setUp(parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const gateway = testGateway({ db: database.db, configs: [entra.source], ...parts })
  return { ...gateway, browser: createBrowser(gateway.app, parts.publicUrl ?? publicUrl) }
}

test('a person signs in: code flow with PKCE, a session, and one login event with the tokens', async () => {
  const { browser, logins, logLines } = setUp()
  const answer = await browser.open(`${loginPath}?login_hint=adele@contoso.example&return_to=/session`)
  expect(answer.status).toBe(200)
  expect(await answer.json()).toMatchObject({
    signedIn: true,
    user: { objectId: person.oid, displayName: 'Adele Vance' },
  })

  const authorize = new URL(browser.visited.find((address) => address.includes('/authorize')) ?? '')
  expect(Object.fromEntries(authorize.searchParams)).toMatchObject({
    response_type: 'code',
    client_id: entra.source.clientId,
    redirect_uri: `${publicUrl}${callbackPath}`,
    code_challenge_method: 'S256',
    code_challenge: expect.stringMatching(/^[\w-]{43}$/),
    state: expect.stringMatching(/^[\w-]{43}$/),
    nonce: expect.stringMatching(/^[\w-]{43}$/),
    login_hint: 'adele@contoso.example',
    scope: 'openid profile email offline_access User.Read GroupMember.Read.All',
  })
  expect(logins).toHaveLength(1)
  const tokens = logins[0]?.user.tokens
  expect(logins[0]?.user).toMatchObject({
    tenantId: person.tid,
    objectId: person.oid,
    userPrincipalName: 'adele@contoso.example',
    displayName: 'Adele Vance',
    tokens: {
      accessToken: 'opaque-access-token',
      refreshToken: 'opaque-refresh-token',
      scopes: ['openid', 'profile', 'email', 'User.Read', 'GroupMember.Read.All'],
    },
  })
  expect(Date.parse(`${tokens?.expiresAt}`) - Date.now()).toBeGreaterThan(3_500_000)
  for (const secret of secretsOf(browser)) expect(logLines.join()).not.toContain(secret)
})

test('the pending sign-in is encrypted, for the sign-in routes only, and gone after the callback', async () => {
  const { browser } = setUp()
  const away = await browser.open(loginPath, atCallback)
  const [name, cookie] = [...browser.cookies()][0] ?? []
  expect(cookie?.flags).toMatch(/Max-Age=600.*Path=\/source\/oauth\/.*HttpOnly.*SameSite=Lax/)
  const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
  expect(state).toMatch(/^[\w-]{43}$/)
  expect(`${name}=${cookie?.value}`).not.toContain(state)
  await browser.open(away.headers.get('location') ?? '')
  expect([...browser.cookies().keys()]).toEqual(['egs_session'])
})

test('an https gateway marks both cookies Secure and binds the session to its host', async () => {
  const { browser } = setUp({ publicUrl: 'https://groups.example.org' })
  const away = await browser.open(loginPath, atCallback)
  expect([...browser.cookies()]).toEqual([
    [
      expect.stringMatching(/^__Secure-/),
      expect.objectContaining({ flags: expect.stringContaining('Secure') }),
    ],
  ])
  await browser.open(away.headers.get('location') ?? '')
  expect(browser.cookies().get('__Host-egs_session')?.flags).toMatch(
    /Path=\/; HttpOnly; Secure; SameSite=Lax/,
  )
})

test('sign-ins in two tabs of one browser both succeed', async () => {
  const { browser, logins } = setUp()
  const first = await browser.open(`${loginPath}?return_to=/session?first`, atCallback)
  const second = await browser.open(loginPath, atCallback)
  expect((await browser.open(first.headers.get('location') ?? '')).status).toBe(200)
  expect(browser.visited.at(-1)).toBe(`${publicUrl}/session?first`)
  expect((await browser.open(second.headers.get('location') ?? '')).status).toBe(200)
  expect(logins).toHaveLength(2)
})

test('sign-ins begun and left do not pile up in the cookie header', async () => {
  const { browser } = setUp()
  for (let tab = 0; tab < 12; tab += 1) await browser.fetchOnce(loginPath)
  expect(browser.cookies().size).toBeLessThanOrEqual(8)
})

describe('errors of Entra', () => {
  test('at the authorize endpoint become a page that says what to do, with the correlation id and nothing else of the query', async () => {
    const { browser, logLines } = setUp()
    const away = await browser.open(loginPath, (url) => !url.pathname.endsWith('/authorize'))
    const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
    const correlationId = '0d4a9f6a-4a51-4c5d-8a0e-3f6f1f6f2b11'
    const query = new URLSearchParams({
      error: 'access_denied',
      error_description: `AADSTS65004: <script>alert(1)</script> Trace ID: 11111111-2222-4333-8444-555555555555 Correlation ID: ${correlationId} Timestamp: x`,
      state,
    })
    const answer = await browser.fetchOnce(`${callbackPath}?${query.toString()}`)
    expect(answer.status).toBe(400)
    const text = await answer.text()
    expect(text).toContain('ask your administrator')
    expect(text).toContain(correlationId)
    expect(text).toContain('AADSTS65004')
    expect(text).not.toContain('alert(1)')
    expect(logLines.join()).toContain(correlationId)
    expect(logLines.join()).not.toContain(state)
  })

  test('at the token endpoint show the correlation id of the answer', async () => {
    const correlationId = '5f0c2a52-0a7e-4f1a-8a2b-0f2d3c4b5a69'
    entra.next.tokenError = {
      status: 400,
      body: JSON.stringify({
        error: 'invalid_client',
        error_description: 'AADSTS7000222: secret expired',
        correlation_id: correlationId,
      }),
    }
    const { browser } = setUp()
    const answer = await browser.open(loginPath)
    expect(answer.status).toBe(400)
    expect(await answer.text()).toMatch(new RegExp(`registration[^]*AADSTS7000222[^]*${correlationId}`))
  })

  test('that pass are answered 503, and the next sign-in works', async () => {
    const { browser } = setUp()
    entra.next.discoveryError = { status: 500, body: '{}' }
    expect((await browser.open(loginPath)).status).toBe(503)
    entra.next.discoveryError = undefined
    entra.next.tokenError = { status: 500, body: '{}' }
    expect((await browser.open(loginPath)).status).toBe(503)
    for (const [status, told] of [
      [500, { error: 'invalid_grant' }],
      [429, { error: 'invalid_request' }],
      [400, { error: 'invalid_grant', error_codes: [90033] }],
    ] as const) {
      entra.next.tokenError = { status, body: JSON.stringify(told) }
      const answer = await browser.open(loginPath)
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '30'])
    }
    entra.next.tokenError = undefined
    expect((await browser.open(`${loginPath}?return_to=/session`)).status).toBe(200)
    const unreachable = setUp({ configs: [{ ...entra.source, authorityHost: 'http://127.0.0.1:9' }] })
    expect((await unreachable.browser.open(loginPath)).status).toBe(503)
  })
})

test('a login event that cannot be stored keeps nobody out who is known, and is logged without tokens', async () => {
  const { browser, logLines } = setUp({
    loginSucceeded: async (user) => {
      throw new Error(`insert failed, params: ${user.tokens.accessToken}`)
    },
  })
  await storePerson(database.db, { tenantId: person.tid, objectId: person.oid })
  const answer = await browser.open(`${loginPath}?return_to=/session`)
  expect(await answer.json()).toMatchObject({ signedIn: true })
  expect(logLines.find((line) => line.includes('not stored'))).toContain('"level":50')
  for (const secret of secretsOf(browser)) expect(logLines.join()).not.toContain(secret)
})

test.each(['down', 'refusing what it is told'])(
  'with a database that is %s the person is told that it is our fault, and is not signed in',
  async (how) => {
    const stranger = '66666666-6666-4666-8666-666666666666'
    entra.next.claims = { oid: stranger }
    const { browser, logLines } = setUp({
      ...(how === 'down' ? { db: dead } : {}),
      loginSucceeded: async (user) => {
        throw new Error(`insert failed, params: ${user.tokens.accessToken}`)
      },
    })
    const answer = await browser.open(loginPath)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '30'])
    expect(await answer.text()).toMatch(/You are not signed in[^]*on our side, not on yours/)
    expect([...browser.cookies().keys()]).toEqual([])
    expect(logLines.join()).toMatch(new RegExp(`"objectId":"${stranger}"[^]*not stored here`))
    for (const secret of secretsOf(browser)) expect(logLines.join()).not.toContain(secret)
  },
)

test('each sign-in gives a new session, and the one that the browser had is over', async () => {
  const { app, browser } = setUp()
  const cookieAfter = async () => {
    await browser.open(loginPath)
    return browser.cookies().get('egs_session')?.value ?? ''
  }
  const isSignedIn = async (value: string): Promise<unknown> =>
    await (await app.request('/session', { headers: { cookie: `egs_session=${value}` } })).json()
  const first = await cookieAfter()
  expect(await isSignedIn(first)).toMatchObject({ signedIn: true })
  const second = await cookieAfter()
  expect(sessionIdOf(second)).not.toBe(sessionIdOf(first))
  expect(await isSignedIn(first)).toEqual({ signedIn: false })
  expect(await isSignedIn(second)).toMatchObject({ signedIn: true })
})

test('a session that somebody planted in the browser is not the one that the person gets', async () => {
  const planted = await startSession(database.db, newPerson(), { sessionKeys: [key] })
  const { app, browser } = setUp({ sessionKeys: [key] })
  browser.cookies().set('egs_session', { value: planted.slice('egs_session='.length), path: '/', flags: '' })
  await browser.open(loginPath)
  const answer = await app.request('/session', { headers: { cookie: planted } })
  expect(await answer.json()).toEqual({ signedIn: false })
  expect(browser.cookies().get('egs_session')?.value).not.toBe(planted.slice('egs_session='.length))
})

test.each([
  ['/session?a=1#b', '/session?a=1#b'],
  ['https://evil.example/', '/'],
  ['//evil.example', '/'],
  ['///evil.example', '/'],
  ['/\\evil.example', '/'],
  ['\\\\evil.example', '/'],
  ['/\t/evil.example', '/'],
  ['/\n/evil.example', '/'],
  ['/.//evil.example', '/'],
  ['/x/..//evil.example', '/'],
  ['javascript:alert(1)', '/'],
  ['evil.example', '/'],
  ['/source/oauth/login/entra-id/', '/'],
  [`/${'x'.repeat(2000)}`, '/'],
  ['/a\r\nSet-Cookie: x=1', '/'],
])('return_to %j leads to %j', async (wanted, target) => {
  const { browser } = setUp()
  const away = await browser.open(`${loginPath}?return_to=${encodeURIComponent(wanted)}`, atCallback)
  const answer = await browser.fetchOnce(away.headers.get('location') ?? '')
  expect(answer.status).toBe(303)
  expect(answer.headers.get('location')).toBe(target)
})

test('unknown slugs are 404; addresses without the last slash are completed, query included', async () => {
  const { app } = setUp()
  for (const path of ['login/other/', 'callback/other/?code=x&state=y', 'logout/other/?sid=x']) {
    expect((await app.request(`/source/oauth/${path}`)).status).toBe(404)
  }
  const answer = await app.request('/source/oauth/login/entra-id?login_hint=a%40b')
  expect(answer.headers.get('location')).toBe('/source/oauth/login/entra-id/?login_hint=a%40b')
})
