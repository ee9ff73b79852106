import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { insertInvitation } from '../db/admissions.ts'
import { defaultClientId } from '../src/simulator/index.ts'
import { createBrowser } from './support/browser.ts'
import { simulatedBrowser } from './support/simulated-browser.ts'
import { addUser, givenSignIn, loginOf } from './support/sign-in-flow.ts'

const { given } = givenSignIn()

test('guests and people without mail sign in', async () => {
  const { world, signIn } = await given()
  for (const person of [addUser(world, { guest: true }), addUser(world, { mail: null })]) {
    const answer = await signIn(person.userPrincipalName)
    expect(await answer.json()).toMatchObject({ signedIn: true, user: { objectId: person.id } })
  }
})

test.for([
  [53003, /A policy of your organisation/],
  [50057, /Your account is disabled in Entra ID/],
  [50105, /not assigned to this application/],
  [50076, /something more from you, such as a second factor/],
  [65001, /still needs consent/],
] as const)('who is refused with %i is told what to do, with the correlation id', async ([code, advice]) => {
  const { world, signIn, session } = await given()
  const person = addUser(world)
  world.simulator.refuse(person.id, code, { shown: 'app' })
  const answer = await signIn(person.userPrincipalName)
  const page = await answer.text()
  expect(answer.status).toBe(400)
  expect(page).toMatch(advice)
  expect(page).toContain(`AADSTS${code}`)
  expect(page).toMatch(/Correlation id<\/dt>\s*<dd><code>[0-9a-f-]{36}<\/code>/)
  expect(await session()).toEqual({ signedIn: false })
  world.simulator.refuse(person.id, undefined)
  expect(await (await signIn(person.userPrincipalName)).json()).toMatchObject({ signedIn: true })
})

test('who is signed in at Entra with an account that does not do gets to choose another', async () => {
  const { world, signIn, browser, url } = await given({ SIGN_UP: 'invited' })
  const [ada, ben] = [addUser(world), addUser(world)]
  await insertInvitation(world.db, 'entra-id', { objectId: ben.id })
  const page = await (await signIn(ada.userPrincipalName)).text()
  const href = /href="([^"]*prompt=select_account)"/.exec(page)?.[1] ?? ''
  const away = await browser.fetchOnce(url + href)
  expect(new URL(away.headers.get('location') ?? '').searchParams.get('prompt')).toBe('select_account')
  const other = await browser.fetchOnce(`${url}/source/oauth/login/entra-id/?prompt=none`)
  expect(new URL(other.headers.get('location') ?? '').searchParams.has('prompt')).toBe(false)
  expect((await signIn(ben.userPrincipalName)).status).toBe(200)
})

test('who declines to consent is told so', async () => {
  const { world, url } = await given()
  const person = addUser(world)
  world.simulator.consent(defaultClientId, false)
  const browser = simulatedBrowser()
  let shown = await browser.open(loginOf(url, person.userPrincipalName))
  while (shown.location) shown = await browser.open(shown.location.href)
  expect(shown.text).toContain('Need admin approval')
  shown = await browser.press(shown, shown.forms.at(-1)!.label)
  while (shown.location) shown = await browser.open(shown.location.href)
  expect(shown.text).toMatch(/did not grant access|still needs consent/)
  expect(shown.status).toBe(400)
})

test('an administrator who has consented for everybody, or not, is told so and nothing of the address is shown', async () => {
  const { url, browser } = await given()
  const back = `${url}/source/oauth/callback/entra-id/`
  const granted = await (await browser.fetchOnce(`${back}?admin_consent=True&tenant=%3Cscript%3E`)).text()
  expect(granted).toContain('Consent is granted')
  expect(granted).not.toContain('script>')
  for (const query of [
    'error=permission_denied&admin_consent=False',
    'error=access_denied&admin_consent=True',
  ]) {
    const refused = await browser.fetchOnce(`${back}?${query}`)
    expect(await refused.text()).toContain('Consent is not granted')
  }
})

test('what Entra wants before it gives tokens is asked for at once, and the sign-in goes on', async () => {
  const { world, browser, signIn } = await given()
  const person = addUser(world)
  world.simulator.challenge(person.id, { atSignIn: true })
  const answer = await signIn(person.userPrincipalName)
  expect(await answer.json()).toMatchObject({ signedIn: true, user: { objectId: person.id } })
  const asked = browser.visited.filter((address) => address.includes('/authorize?'))
  expect(asked).toHaveLength(2)
  expect(new URL(asked[1]!).searchParams.get('claims')).toContain('nbf')
})

test('nothing that stands in the address of the callback is shown unescaped', async () => {
  const { world, url, browser, signIn } = await given()
  await signIn(addUser(world).userPrincipalName)
  const evil = '<script>alert(1)</script>'
  for (const name of ['error', 'error_description', 'error_uri', 'state', 'code', 'iss', 'session_state']) {
    const away = await browser.fetchOnce(`${url}/source/oauth/login/entra-id/`)
    const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
    const query = new URLSearchParams({ error: 'access_denied', state, [name]: evil })
    const answer = await browser.fetchOnce(`${url}/source/oauth/callback/entra-id/?${query.toString()}`)
    expect(answer.status).toBe(400)
    expect(await answer.text()).not.toContain('<script')
  }
})

describe('signing out', () => {
  test('ends the session here and goes on to Entra, which comes back', async () => {
    const { world, url, browser, signIn, post, session } = await given()
    await signIn(addUser(world).userPrincipalName)
    const answer = await post('/sign-out')
    expect(answer.status).toBe(303)
    const away = new URL(answer.headers.get('location') ?? '')
    expect(away.origin).toBe(world.simulator.entraUrl)
    expect(away.searchParams.get('post_logout_redirect_uri')).toBe(`${url}/`)
    expect(await world.db.$client`select from sessions`).toHaveLength(0)
    expect(await (await browser.open(away.href)).text()).toContain('Sign in with')
    expect(await session()).toEqual({ signedIn: false })
  })

  test('everywhere ends the sessions of all browsers, and of nobody else', async () => {
    const { world, url, signIn, post } = await given()
    const [ada, ben] = [addUser(world), addUser(world)]
    const elsewhere = createBrowser(new Hono(), 'http://unused.invalid')
    await elsewhere.open(loginOf(url, ada.userPrincipalName))
    const bens = createBrowser(new Hono(), 'http://unused.invalid')
    await bens.open(loginOf(url, ben.userPrincipalName))
    await signIn(ada.userPrincipalName)
    await post('/sign-out-everywhere')
    const signedIn = async (browser: typeof bens) => await (await browser.fetchOnce(`${url}/session`)).json()
    expect(await signedIn(elsewhere)).toEqual({ signedIn: false })
    expect(await signedIn(bens)).toMatchObject({ signedIn: true })
  })

  test('at Entra ends the session that was started there, and no other', async () => {
    const { world, url, signIn, session } = await given()
    await signIn(addUser(world).userPrincipalName)
    const [row] = await world.db.$client<{ sid: string }[]>`select entra_session as sid from sessions`
    const logout = `${url}/source/oauth/logout/entra-id/`
    for (const query of ['', '?sid=', '?sid=another', `?sid=${'x'.repeat(300)}`])
      expect((await fetch(logout + query)).status).toBe(200)
    expect(await session()).toMatchObject({ signedIn: true })
    await fetch(`${logout}?iss=x&sid=${row!.sid}`)
    expect(await session()).toEqual({ signedIn: false })
  })

  test.for(['/sign-out', '/sign-out-everywhere', '/sync-now'])(
    '%s is taken from our own pages only',
    async (path) => {
      const { world, signIn, post, session } = await given()
      await signIn(addUser(world).userPrincipalName)
      const answer = await post(path, 'https://evil.example')
      expect(answer.status).toBe(403)
      expect(await session()).toMatchObject({ signedIn: true })
      expect(await world.db.$client`select from users where sync_asked_at is not null`).toHaveLength(0)
    },
  )
})

describe('a source that takes only the invited', () => {
  const environment = { SIGN_UP: 'invited' }

  test('takes nobody else, and an invitation by name belongs to who came with it first', async () => {
    const { world, signIn, session } = await given(environment)
    const { tenant } = world.simulator
    const [ada, eve] = [addUser(world, { userPrincipalName: 'ada@contoso.example' }), addUser(world)]
    expect((await signIn(ada.userPrincipalName)).status).toBe(403)
    await insertInvitation(world.db, 'entra-id', { userPrincipalName: 'ADA@contoso.example' })
    expect(await (await signIn(ada.userPrincipalName)).json()).toMatchObject({ signedIn: true })
    // The name goes to somebody else; the invitation doesn't.
    tenant.updateUser(ada.id, { userPrincipalName: 'king@contoso.example' })
    tenant.updateUser(eve.id, { userPrincipalName: 'ada@contoso.example' })
    const refused = await signIn('ada@contoso.example')
    expect(refused.status).toBe(403)
    expect(await refused.text()).toContain('only people who were invited')
    expect(await world.db.$client`select from users`).toHaveLength(1)
    expect(await (await signIn('king@contoso.example')).json()).toMatchObject({ user: { objectId: ada.id } })
    expect(await session()).toMatchObject({ user: { objectId: ada.id } })
  })

  test('takes who is invited by object id, at this source alone', async () => {
    const { world, signIn } = await given(environment)
    const [ada, ben] = [addUser(world), addUser(world)]
    await insertInvitation(world.db, 'entra-id', { objectId: ada.id })
    await insertInvitation(world.db, 'another', { objectId: ben.id })
    expect((await signIn(ada.userPrincipalName)).status).toBe(200)
    expect((await signIn(ben.userPrincipalName)).status).toBe(403)
  })
})

test('nobody signs in at the gateway as a service: whoever comes with its id gets a page, and no session', async () => {
  const { world, signIn, session } = await given()
  const person = addUser(world)
  const sql = world.db.$client
  await sql`
    insert into users (tenant_id, object_id, kind, app_id)
    values (${world.simulator.tenant.id}, ${person.id}, 'service', ${crypto.randomUUID()})`
  const page = await signIn(person.userPrincipalName)
  expect([page.status, page.headers.get('content-type')]).toEqual([503, expect.stringMatching(/^text\/html/)])
  expect(await session()).toEqual({ signedIn: false })
  expect(await sql`select from sessions`).toHaveLength(0)
})
