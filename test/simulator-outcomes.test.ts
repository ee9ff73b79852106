import { decodeJwt } from 'jose'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, defaultClientId, startSimulator, type User } from '../src/simulator/index.ts'
import {
  askToken,
  authorityOf,
  authorizeUrl,
  credentials,
  invalid,
  redeem,
  redirectUri,
  refresh,
  refusedToken,
  scope,
  tokenError,
} from './support/entra-requests.ts'
import { ask } from './support/graph-requests.ts'
import { simulatedBrowser, type Shown } from './support/simulated-browser.ts'

const simulator = await startSimulator({
  users: 3,
  groups: 4,
  apps: [{ ...defaultApp, multiTenant: true }],
  otherTenants: [{ name: 'Fabrikam', users: 1, groups: 0 }],
})
let user: User

beforeEach(() => {
  simulator.reset()
  user = simulator.tenant.users()[0] ?? simulator.tenant.addUser()
})
afterAll(() => simulator.close())

const basic = ['openid', 'profile', 'email', 'offline_access', 'User.Read']
const tokens = z.object({ access_token: z.string(), scope: z.string(), refresh_token: z.string() })
const begin = async (parameters: Record<string, string> = {}, browser = simulatedBrowser()) =>
  await browser.open(
    authorizeUrl(simulator, { login_hint: user.userPrincipalName, state: 's', ...parameters }),
  )
const returned = ({ location }: Shown) => Object.fromEntries(location?.searchParams ?? [])
const codeIn = (shown: Shown) => returned(shown)['code'] ?? ''
const redeemed = async (code: string) => tokens.parse(await (await askToken(simulator, redeem(code))).json())

describe('without any consent of the tenant', () => {
  beforeEach(() => simulator.consent(defaultClientId, false))

  test('a person is asked, may accept, and is not asked again', async () => {
    const browser = simulatedBrowser()
    const page = await begin({ scope: basic.join(' ') }, browser)
    expect([page.status, page.forms.map(({ label }) => label)]).toStrictEqual([200, ['Accept', 'Cancel']])
    const { refresh_token: token } = await redeemed(codeIn(await browser.press(page, 'Accept')))
    expect(codeIn(await begin({ scope: basic.join(' ') }))).not.toBe('')
    expect((await askToken(simulator, refresh(token))).status).toBe(200)
    simulator.consent(defaultClientId, false)
    expect(await refusedToken(simulator, refresh(token))).toStrictEqual({
      ...invalid(65001),
      suberror: 'consent_required',
    })
  })

  test('a person may decline, and the app is told', async () => {
    const browser = simulatedBrowser()
    const answer = await browser.press(await begin({ scope: basic.join(' ') }, browser), 'Cancel')
    expect(returned(answer)).toMatchObject({
      error: 'access_denied',
      error_subcode: 'cancel',
      error_description: expect.stringMatching(/^AADSTS65004: /),
      state: 's',
    })
  })

  test('what takes an administrator ends on a page, with a way back but none to consent', async () => {
    const browser = simulatedBrowser()
    const page = await begin({}, browser)
    expect(page.text).toContain('AADSTS90094')
    const label = 'Return to the application without granting consent'
    expect(page.forms.map((form) => form.label)).toStrictEqual([label])
    expect(returned(await browser.press(page, label))).toMatchObject({ error: 'access_denied', state: 's' })
    const [form] = page.forms
    const forged = await fetch(new URL(form?.action ?? '', simulator.entraUrl), {
      method: 'POST',
      body: new URLSearchParams({ ...form?.fields, consent: 'accept' }),
      redirect: 'manual',
    })
    expect([forged.status, forged.headers.get('location')]).toStrictEqual([200, null])
  })

  test('without interaction the app is told that consent is missing', async () => {
    const browser = simulatedBrowser()
    simulator.consent(defaultClientId, true)
    await begin({}, browser)
    simulator.consent(defaultClientId, false)
    expect(returned(await begin({ prompt: 'none' }, browser))).toMatchObject({ error: 'consent_required' })
  })

  test('an administrator consents for everybody at the address made for it, or cancels', async () => {
    const browser = simulatedBrowser()
    const query = new URLSearchParams({ client_id: defaultClientId, redirect_uri: redirectUri, state: 'a' })
    const page = await browser.open(`${authorityOf(simulator)}/adminconsent?${query.toString()}`)
    expect(returned(await browser.press(page, 'Cancel'))).toMatchObject({
      error: 'permission_denied',
      state: 'a',
    })
    expect((await begin()).text).toContain('AADSTS90094')
    expect(returned(await browser.press(page, 'Accept for Contoso'))).toStrictEqual({
      admin_consent: 'True',
      tenant: simulator.tenant.id,
      state: 'a',
    })
    expect(codeIn(await begin())).not.toBe('')
  })

  test('the address for all tenants asks which one, and each decides for itself', async () => {
    const [fabrikam] = simulator.otherTenants
    fabrikam?.consent(defaultClientId, false)
    const browser = simulatedBrowser()
    const query = new URLSearchParams({ client_id: defaultClientId, redirect_uri: redirectUri })
    const page = await browser.open(`${simulator.entraUrl}/organizations/adminconsent?${query.toString()}`)
    expect(returned(await browser.press(page, 'Accept for Fabrikam'))).toMatchObject({
      tenant: fabrikam?.tenant.id,
    })
    expect((await begin()).text).toContain('AADSTS90094')
    const [person] = fabrikam?.tenant.users() ?? []
    const url = authorizeUrl(simulator, { login_hint: person?.id ?? '' })
    const there = await browser.open(url.replace(simulator.tenant.id, 'organizations'))
    expect(codeIn(there)).not.toBe('')
  })

  test('an address for consent never returns to one that is not registered', async () => {
    const query = new URLSearchParams({ client_id: defaultClientId, redirect_uri: 'https://evil.example/' })
    const answer = await fetch(`${authorityOf(simulator)}/adminconsent?${query.toString()}`, {
      redirect: 'manual',
    })
    expect([answer.status, await answer.text()]).toStrictEqual([400, expect.stringContaining('AADSTS50011')])
  })
})

test('a tenant that did not consent to the group scope may leave it out of the token, and names are null', async () => {
  simulator.consent(defaultClientId, { scopes: basic, missing: 'left-out' })
  const got = await redeemed(codeIn(await begin({ scope })))
  expect(got.scope).toBe('openid profile email User.Read')
  const target = {
    graphUrl: simulator.graphUrl,
    token: got.access_token,
    objectId: '',
    userPrincipalName: '',
  }
  const { json } = await ask(target, '/me/transitiveMemberOf')
  const names = z.object({ value: z.array(z.object({ id: z.string(), displayName: z.null() })).min(1) })
  expect(names.parse(json).value.map(({ id }) => id)).toEqual(
    expect.arrayContaining(simulator.tenant.groupsOf(user.id).map(({ id }) => id)),
  )
  const full = await simulator.signIn(user.id)
  expect(full.scope).toBe('openid profile email User.Read')
})

describe('a policy that asks for more', () => {
  const claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'

  test('refuses the code with claims, until the person signed in with them', async () => {
    simulator.challenge(user.id, { claims, atSignIn: true })
    const code = codeIn(await begin())
    const refusal = tokenError.parse(await (await askToken(simulator, redeem(code))).json())
    expect(refusal).toMatchObject({ error: 'interaction_required', error_codes: [50076], claims })
    expect((await askToken(simulator, redeem(codeIn(await begin({ claims }))))).status).toBe(200)
  })

  test('unless it is asked of Graph and of renewals only, as before', async () => {
    simulator.challenge(user.id, { claims })
    expect((await askToken(simulator, redeem(codeIn(await begin())))).status).toBe(200)
  })

  test('tells an app that signs in without interaction the claims', async () => {
    const browser = simulatedBrowser()
    await begin({}, browser)
    simulator.challenge(user.id, { claims })
    expect(returned(await begin({ prompt: 'none' }, browser))).toMatchObject({
      error: 'interaction_required',
      claims,
    })
  })
})

describe.each([
  [53003, 'message_only'],
  [53000, 'additional_action'],
  [50105, undefined],
  [50057, undefined],
] as const)('a person refused with %i', (code, suberror) => {
  test('is told so by Entra, and gets nothing from a code or a refresh', async () => {
    const before = codeIn(await begin())
    const { refresh_token: token } = await redeemed(codeIn(await begin()))
    simulator.refuse(user.id, code)
    const page = await begin()
    expect([page.status, page.location, page.text]).toStrictEqual([
      400,
      undefined,
      expect.stringContaining(`AADSTS${code}`),
    ])
    expect(page.text).toMatch(/Correlation ID: [0-9a-f-]{36}/)
    const refused = { ...invalid(code), ...(suberror === undefined ? {} : { suberror }) }
    expect(await refusedToken(simulator, refresh(token))).toStrictEqual(refused)
    expect(await refusedToken(simulator, redeem(before))).toStrictEqual(refused)
    simulator.refuse(user.id, undefined)
    expect(codeIn(await begin())).not.toBe('')
  })

  test('is sent back where that is ordered, or where no page may be shown', async () => {
    const browser = simulatedBrowser()
    await begin({}, browser)
    const description = expect.stringMatching(new RegExp(`^AADSTS${code}: .*Correlation ID: `, 's'))
    simulator.refuse(user.id, code)
    expect(returned(await begin({ prompt: 'none' }, browser))).toMatchObject({
      error: 'interaction_required',
      error_description: description,
    })
    simulator.refuse(user.id, code, { shown: 'app' })
    expect(returned(await begin())).toMatchObject({
      error: 'access_denied',
      error_description: description,
      state: 's',
    })
  })
})

test('what a tenant consents to for its people leaves what the app may do itself as it is', async () => {
  simulator.consent(defaultClientId, false)
  const asked = { ...credentials, grant_type: 'client_credentials' }
  const answer = await askToken(simulator, { ...asked, scope: 'https://graph.microsoft.com/.default' })
  const { access_token: token } = z.object({ access_token: z.string() }).parse(await answer.json())
  expect(decodeJwt(token)).toMatchObject({ roles: defaultApp.applicationRoles })
})
