import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startSimulator, type Simulator } from '../src/simulator/index.ts'
import {
  askToken,
  authorityOf,
  authorize,
  authorizeUrl,
  redeem,
  redirectUri,
  someone,
} from './support/entra-requests.ts'

let simulator: Simulator

beforeAll(async () => {
  simulator = await startSimulator({ users: 10 })
})
afterEach(() => simulator.reset())
afterAll(() => simulator.close())

describe('the authorization endpoint', () => {
  test('shows a page with the users when nobody is named, safe against their names', async () => {
    simulator.tenant.addUser({ displayName: '<script>alert(1)</script>' })
    const answer = await authorize(simulator, { state: '"><img src=x>', search: 'script' })
    const page = await answer.text()
    expect(answer.status).toBe(200)
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(page).toContain('value="&quot;&gt;&lt;img src=x&gt;"')
    expect(page).not.toContain('<script>alert')
  })

  test('a choice on that page returns to the app with code and state', async () => {
    const body = new URLSearchParams(
      new URL(authorizeUrl(simulator, { state: 'kept', prompt: 'select_account' })).searchParams,
    )
    body.set('picked', someone(simulator).id)
    const answer = await fetch(`${authorityOf(simulator)}/oauth2/v2.0/authorize`, {
      method: 'POST',
      body,
      redirect: 'manual',
    })
    const callback = new URL(answer.headers.get('location') ?? '')
    expect(callback.searchParams.get('state')).toBe('kept')
    expect((await askToken(simulator, redeem(callback.searchParams.get('code') ?? ''))).status).toBe(200)
  })

  test('never redirects to an address that is not registered, or for an app it does not know', async () => {
    for (const wrong of [
      { redirect_uri: 'https://evil.example/' },
      { redirect_uri: 'http://user@localhost:4321/source/oauth/callback/entra-id/' },
      { redirect_uri: 'https://evil.example/source/oauth/callback/entra-id/' },
      { redirect_uri: 'http://localhost:1/source/oauth/callback/a/b/' },
      { redirect_uri: 'http://localhost:1@evil.example/source/oauth/callback/a/' },
      { client_id: crypto.randomUUID() },
    ]) {
      const answer = await authorize(simulator, { login_hint: someone(simulator).id, ...wrong })
      expect([answer.status, answer.headers.get('location')]).toStrictEqual([400, null])
    }
  })

  test('answers in the fragment or by a form when asked to', async () => {
    const hint = someone(simulator).userPrincipalName
    const fragment = await authorize(simulator, { login_hint: hint, response_mode: 'fragment' })
    expect(new URL(fragment.headers.get('location') ?? '').hash).toMatch(/^#code=1\./)
    const form = await authorize(simulator, { login_hint: hint, response_mode: 'form_post' })
    expect(await form.text()).toContain(`<form method="post" action="${redirectUri}">`)
  })

  test('without interaction signs in only whom the browser remembers', async () => {
    const hint = someone(simulator).userPrincipalName
    const errorOf = async (cookie: string) => {
      const answer = await authorize(simulator, { prompt: 'none', login_hint: hint }, { cookie })
      return new URL(answer.headers.get('location') ?? '').searchParams.get('error')
    }
    const signedIn = await authorize(simulator, { login_hint: hint })
    const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? ''
    expect([await errorOf(''), await errorOf(cookie)]).toStrictEqual(['login_required', null])
  })

  test.each([
    [{ scope: 'openid Directory.Read.All' }, 'access_denied'],
    [{ scope: 'openid Directory.Read.All', prompt: 'none' }, 'consent_required'],
    [{ scope: 'openid Nothing.Known' }, 'invalid_scope'],
    [{ response_type: 'id_token' }, 'unsupported_response_type'],
    [{ code_challenge: 'x', code_challenge_method: 'plain' }, 'invalid_request'],
  ])('answers %o with an error the app can read', async (parameters, error) => {
    const answer = await authorize(simulator, {
      login_hint: someone(simulator).userPrincipalName,
      state: 's',
      ...parameters,
    })
    const { searchParams } = new URL(answer.headers.get('location') ?? '')
    expect([searchParams.get('error'), searchParams.get('state')]).toStrictEqual([error, 's'])
  })

  test('tells a disabled user, not the app', async () => {
    const user = someone(simulator)
    simulator.tenant.updateUser(user.id, { accountEnabled: false })
    const answer = await authorize(simulator, { login_hint: user.userPrincipalName })
    expect([answer.status, answer.headers.get('location')]).toStrictEqual([400, null])
    expect(await answer.text()).toContain('AADSTS50057')
  })

  test('signs out, and returns only to an address of a registered app', async () => {
    const logout = async (target: string) =>
      fetch(
        `${authorityOf(simulator)}/oauth2/v2.0/logout?post_logout_redirect_uri=${encodeURIComponent(target)}`,
        {
          redirect: 'manual',
        },
      )
    expect((await logout('http://localhost:4321/')).headers.get('location')).toBe('http://localhost:4321/')
    const foreign = await logout('https://evil.example/')
    expect([foreign.status, foreign.headers.get('location')]).toStrictEqual([200, null])
    expect(foreign.headers.get('set-cookie')).toContain('Max-Age=0')
  })
})
