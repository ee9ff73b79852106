import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulator, type Simulator } from '../src/simulator/index.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, newKey, publicUrl, testGateway, testSource } from './support/gateway.ts'
import { newPerson, sessionIdOf, startSession } from './support/sessions.ts'

const key = newKey('current')
const database = givenDatabase()
const dead = deadDatabase()
let simulator: Simulator

beforeAll(async () => {
  simulator = await startSimulator({ users: 1, groups: 0, https: false })
})
afterAll(() => simulator.close())

const atSimulator = () => ({
  ...testSource,
  tenant: { kind: 'single' as const, id: simulator.tenant.id },
  authorityHost: simulator.entraUrl,
})

function setUp(parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const gateway = testGateway({ db: database.db, sessionKeys: [key], ...parts })
  const post = async (
    path: string,
    cookie: string,
    headers: Record<string, string> = { origin: publicUrl },
  ) => await gateway.app.request(path, { method: 'POST', headers: { cookie, ...headers } })
  const isSignedIn = async (cookie: string) => {
    const answer = await gateway.app.request('/session', { headers: { cookie } })
    return ((await answer.json()) as { signedIn: boolean }).signedIn
  }
  return { ...gateway, post, isSignedIn }
}

const cookieFor = async (options: Partial<Parameters<typeof startSession>[2]> = {}, person = newPerson()) =>
  await startSession(database.db, person, { sessionKeys: [key], ...options })

describe('signing out', () => {
  test('ends the session here, of a copy of the cookie too, and no other one', async () => {
    const { post, isSignedIn } = setUp()
    const person = newPerson()
    const [cookie, other] = [await cookieFor({}, person), await cookieFor({}, person)]
    const answer = await post('/sign-out', cookie)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect(answer.headers.get('set-cookie')).toMatch(/^egs_session=; Max-Age=0; Path=\//)
    expect([await isSignedIn(cookie), await isSignedIn(other)]).toEqual([false, true])
  })

  test('goes on to Entra, whose page returns here, with the hint of who it is', async () => {
    const { post, isSignedIn } = setUp({ configs: [atSimulator()] })
    const ofSimulator = () => ({ ...newPerson(), tenantId: simulator.tenant.id })
    const hinted = await cookieFor({ logoutHint: 'hint of the first' }, ofSimulator())
    const plain = await cookieFor({}, ofSimulator())
    const away = new URL((await post('/sign-out', hinted)).headers.get('location') ?? '')
    expect(`${away.origin}${away.pathname}`).toBe(
      `${simulator.entraUrl}/${simulator.tenant.id}/oauth2/v2.0/logout`,
    )
    expect(Object.fromEntries(away.searchParams)).toEqual({
      post_logout_redirect_uri: `${publicUrl}/`,
      logout_hint: 'hint of the first',
    })
    const back = await fetch(away, { redirect: 'manual' })
    expect(back.headers.get('location')).toBe(`${publicUrl}/`)
    const next = new URL((await post('/sign-out', plain)).headers.get('location') ?? '')
    expect(next.searchParams.has('logout_hint')).toBe(false)
    expect([await isSignedIn(hinted), await isSignedIn(plain)]).toEqual([false, false])
  })

  test('everywhere ends every session of the person, and nobody else’s', async () => {
    const { post, isSignedIn } = setUp()
    const person = newPerson()
    const hers = [await cookieFor({}, person), await cookieFor({}, person), await cookieFor({}, person)]
    const another = await cookieFor()
    const answer = await post('/sign-out-everywhere', hers[1] ?? '')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    for (const cookie of hers) expect(await isSignedIn(cookie)).toBe(false)
    expect(await isSignedIn(another)).toBe(true)
  })

  test('everywhere works by a session that is idle, or whose source takes the person no more', async () => {
    const person = newPerson()
    const [idle, other] = [await cookieFor({}, person), await cookieFor({}, person)]
    await database.db
      .$client`update sessions set seen_at = seen_at - interval '1 day' where id = ${sessionIdOf(idle)}`
    const { post } = setUp({ configs: [{ ...testSource, enabled: false }] })
    expect((await post('/sign-out-everywhere', idle)).status).toBe(303)
    expect(await setUp().isSignedIn(other)).toBe(false)
  })

  test('while the database is down takes the cookie away and says that something is wrong', async () => {
    const { post } = setUp({ db: dead })
    const cookie = await cookieFor()
    const answer = await post('/sign-out', cookie)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
    expect(answer.headers.get('set-cookie')).toMatch(/^egs_session=; Max-Age=0/)
    expect((await post('/sign-out-everywhere', cookie)).status).toBe(503)
  })
})

test.each(['/sign-out', '/sign-out-everywhere', '/sync-now'])(
  'a form of another site cannot send %s, and nothing happens by a link',
  async (path) => {
    const { post, isSignedIn, synced, app } = setUp()
    const cookie = await cookieFor()
    for (const headers of [
      {},
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: `${publicUrl}.evil.example` },
      { 'sec-fetch-site': 'cross-site' },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-site' },
      { 'content-type': 'text/plain' },
    ]) {
      const answer = await post(path, cookie, headers)
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null])
    }
    expect((await app.request(path, { headers: { cookie, origin: publicUrl } })).status).toBe(404)
    expect([await isSignedIn(cookie), synced]).toEqual([true, []])
    expect((await post(path, cookie, { 'sec-fetch-site': 'same-origin' })).status).toBe(303)
  },
)

describe('front-channel logout', () => {
  const other = { ...testSource, slug: 'other', name: 'Other' }
  const logout = '/source/oauth/logout/entra-id/'

  test('ends the sessions that were started in that session at Entra, and no other', async () => {
    const { app, isSignedIn } = setUp({ configs: [testSource, other] })
    const sid = crypto.randomUUID()
    const [one, two] = [await cookieFor({ entraSession: sid }), await cookieFor({ entraSession: sid })]
    const apart = [
      await cookieFor({ entraSession: crypto.randomUUID() }),
      await cookieFor(),
      await cookieFor({ entraSession: sid, source: 'other' }),
    ]
    const answer = await app.request(`${logout}?iss=https%3A%2F%2Flogin&sid=${sid}`)
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect([await isSignedIn(one), await isSignedIn(two)]).toEqual([false, false])
    for (const cookie of apart) expect(await isSignedIn(cookie)).toBe(true)
  })

  test.each(['', '?sid=', '?sid=%00', '?sid=%25', `?sid=${'a'.repeat(300)}`, "?sid='%20or%20true"])(
    'with %j ends nothing',
    async (query) => {
      const { app, isSignedIn } = setUp()
      const cookie = await cookieFor({ entraSession: undefined })
      expect((await app.request(logout + query)).status).toBe(200)
      expect(await isSignedIn(cookie)).toBe(true)
    },
  )
})

test.each(['login', 'callback', 'logout'])('a disabled source answers 404 on %s', async (step) => {
  const { app } = setUp({ configs: [{ ...testSource, enabled: false }] })
  // Once it is enabled again the session is still there: nothing ended it.
  const { isSignedIn } = setUp()
  const sid = crypto.randomUUID()
  const cookie = await cookieFor({ entraSession: sid })
  const answer = await app.request(`/source/oauth/${step}/entra-id/?code=x&state=y&sid=${sid}`)
  expect(answer.status).toBe(404)
  expect(await isSignedIn(cookie)).toBe(true)
})
