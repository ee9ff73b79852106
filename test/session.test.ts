import { randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import { SignJWT } from 'jose'
import { describe, expect, test, vi } from 'vitest'
import { createSessions, type Session } from '../src/login/session.ts'
import type { NamedKey } from '../src/config.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, newKey, publicUrl, testGateway, testSource } from './support/gateway.ts'

const key = newKey('current')
const dead = deadDatabase()
const database = givenDatabase()

/** The session cookie as the gateway itself would set it. */
async function cookieFor(
  session: Session,
  sessionKeys: readonly NamedKey[] = [key],
  secure = false,
): Promise<string> {
  const app = new Hono()
  const sessions = createSessions({ sessionKeys, secure })
  app.get('/', async (c) => {
    await sessions.start(c, session)
    return c.body(null)
  })
  return (await app.request('/')).headers.get('set-cookie')?.split(';')[0] ?? ''
}

const setUp = (parts: Partial<Parameters<typeof testGateway>[0]> = {}) =>
  testGateway({ db: database.db, sessionKeys: [key], ...parts }).app

const newPerson = (labels: Partial<Session> = {}): Session => ({
  tenantId: testSource.tenantId,
  objectId: randomUUID(),
  ...labels,
})

async function insertUser(person: Session, state: string, syncedAt: string | null): Promise<string> {
  const [row] = await database.db.$client<{ id: string }[]>`
    insert into users (tenant_id, object_id, display_name, user_principal_name, mail, sync_state, last_synced_at)
    values (${person.tenantId}, ${person.objectId}, 'Zoë', 'zoe@contoso.example', null, ${state}, ${syncedAt})
    returning id`
  return row?.id ?? ''
}

async function insertGroups(
  userId: string,
  groups: { name: string | null; objectId?: string; origin?: string }[],
) {
  for (const { name, objectId = randomUUID(), origin = 'entra' } of groups) {
    await database.db.$client`
      with g as (insert into groups (tenant_id, object_id, display_name)
        values (${testSource.tenantId}, ${objectId}, ${name})
        on conflict (tenant_id, object_id) do update set display_name = excluded.display_name returning id)
      insert into memberships (user_id, group_id, origin) select ${userId}, id, ${origin} from g`
  }
}

async function show(cookie: string, path: string, parts = {}): Promise<string> {
  return await (await setUp(parts).request(path, { headers: { cookie } })).text()
}

describe('the session cookie', () => {
  const asked = async (cookie: string, sessionKeys: readonly NamedKey[] = [key]): Promise<unknown> =>
    JSON.parse(await show(cookie, '/session', { sessionKeys }))

  test('says who it is for, and nothing else', async () => {
    const cookie = await cookieFor(
      newPerson({ displayName: 'Adele', userPrincipalName: 'adele@contoso.example' }),
    )
    expect(await asked(cookie)).toMatchObject({ signedIn: true })
    const payload: unknown = JSON.parse(Buffer.from(cookie.split('.')[1] ?? '', 'base64url').toString())
    expect(Object.keys(payload as object).toSorted()).toEqual(['exp', 'iat', 'name', 'oid', 'tid', 'upn'])
  })

  test('does not count once a letter of it is changed, or when it was made by hand', async () => {
    const cookie = await cookieFor(newPerson())
    const [header = '', payload = '', signature = ''] = cookie.replace('egs_session=', '').split('.')
    const altered = Buffer.from(JSON.stringify({ tid: 'x', oid: 'y', exp: 9_999_999_999 })).toString(
      'base64url',
    )
    const none = Buffer.from('{"alg":"none","kid":"current"}').toString('base64url')
    const raw = await new SignJWT({ tid: 'x', oid: 'y' })
      .setProtectedHeader({ alg: 'HS256', kid: 'current' })
      .setExpirationTime('1h')
      .sign(key.key)
    for (const forged of [`${header}.${altered}.${signature}`, `${none}.${payload}.`, raw, 'nonsense', '']) {
      expect(await asked(`egs_session=${forged}`)).toEqual({ signedIn: false })
    }
  })

  test('ends after eight hours', async () => {
    const cookie = await cookieFor(newPerson())
    const at = async (hours: number) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 })
      const answer = await asked(cookie)
      vi.useRealTimers()
      return answer
    }
    expect(await at(7.9)).toMatchObject({ signedIn: true })
    expect(await at(8.1)).toEqual({ signedIn: false })
  })

  test('outlives a rotation while its key is still listed, and new ones use the first key', async () => {
    const [older, newer] = [newKey('2025'), newKey('2026')]
    const old = await cookieFor(newPerson(), [older])
    expect(await asked(old, [newer, older])).toMatchObject({ signedIn: true })
    expect(await asked(old, [newer])).toEqual({ signedIn: false })
    expect(await asked(await cookieFor(newPerson(), [newer, older]), [newer])).toMatchObject({
      signedIn: true,
    })
  })

  test('of an https gateway is not taken from a cookie that another host or plain http could have set', async () => {
    const cookie = await cookieFor(newPerson(), [key], true)
    const publicHttps = { publicUrl: 'https://groups.example.org' }
    expect(JSON.parse(await show(cookie, '/session', publicHttps))).toMatchObject({ signedIn: true })
    expect(JSON.parse(await show(cookie.replace('__Host-', ''), '/session', publicHttps))).toEqual({
      signedIn: false,
    })
  })
})

describe('GET /session', () => {
  test('gives the profile, the groups by name and how fresh they are', async () => {
    const person = newPerson()
    const id = await insertUser(person, 'synced', '2026-03-04T05:06:07.123456Z')
    const both = randomUUID()
    await insertGroups(id, [{ name: 'beta' }, { name: null }, { name: 'Alpha', objectId: both }])
    await insertGroups(id, [{ name: 'Alpha', objectId: both, origin: 'local' }])
    const answer = await setUp().request('/session', { headers: { cookie: await cookieFor(person) } })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const body = (await answer.json()) as { groups: { displayName: string | null; origin: string }[] }
    expect(body).toMatchObject({
      signedIn: true,
      user: { id, ...person, displayName: 'Zoë', userPrincipalName: 'zoe@contoso.example', mail: null },
      freshness: { syncedAt: '2026-03-04T05:06:07.123Z', state: 'synced' },
    })
    expect(body.groups.map(({ displayName, origin }) => [displayName, origin])).toEqual([
      ['Alpha', 'entra'],
      ['Alpha', 'local'],
      ['beta', 'entra'],
      [null, 'entra'],
    ])
    expect(body.groups[0]).toMatchObject({ id: expect.any(String), objectId: both })
  })

  test('is 503 with Retry-After while the database is down, and 404 below it is JSON', async () => {
    const headers = { cookie: await cookieFor(newPerson()) }
    const answer = await setUp({ db: dead }).request('/session', { headers })
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
    expect(await (await setUp().request('/session/other')).json()).toEqual({ error: 'not_found' })
  })
})

describe('the page', () => {
  test('offers the source to who is not signed in, with a policy that allows no script', async () => {
    const answer = await setUp().request('/')
    expect(answer.headers.get('content-security-policy')).toMatch(/default-src 'none'; style-src 'self'/)
    expect(answer.headers.get('content-security-policy')).not.toMatch(/script-src|unsafe|http/)
    const text = await answer.text()
    expect(text).toContain('<a class="button" href="/source/oauth/login/entra-id/">Sign in with Entra ID</a>')
    expect(text).not.toMatch(/https?:\/\//)
    const style = await setUp().request('/style.css')
    expect(style.headers.get('content-type')).toContain('text/css')
    expect(await style.text()).not.toMatch(/url\(|@import/)
  })

  test('escapes a person and a group named <script>', async () => {
    const person = newPerson({ displayName: '<script>alert(1)</script>' })
    const page = await show(await cookieFor(person), '/')
    expect(page).toContain('<h1 id="person">&lt;script&gt;alert(1)&lt;/script&gt;</h1>')
    expect(page).not.toContain('<script')
    const id = await insertUser(person, 'synced', null)
    await insertGroups(id, [{ name: '"><script>alert(2)</script>' }])
    expect(await show(await cookieFor(person), '/')).not.toContain('<script')
  })

  test('tells same-named and nameless groups apart by their object id, and counts 2,500', async () => {
    const person = newPerson()
    const id = await insertUser(person, 'synced', '2026-03-04T05:06:07Z')
    const [one, two, nameless, plain] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
    await insertGroups(id, [
      { name: 'Twins', objectId: one },
      { name: 'Twins', objectId: two },
      { name: null, objectId: nameless },
      { name: 'Plain', objectId: plain },
    ])
    await database.db.$client`
      with g as (insert into groups (tenant_id, object_id, display_name)
        select ${testSource.tenantId}, gen_random_uuid(), 'Group ' || n from generate_series(1, 2496) n returning id)
      insert into memberships (user_id, group_id, origin) select ${id}, id, 'entra' from g`
    const text = await show(await cookieFor(person), '/')
    expect(text).toContain('Your groups (2,500)')
    expect(text.match(/<li>/g)).toHaveLength(2500)
    expect(text).toContain('As of <time datetime="2026-03-04T05:06:07.000Z">2026-03-04 05:06 UTC</time>')
    for (const objectId of [one, two, nameless]) expect(text).toContain(objectId)
    expect(text).not.toContain(plain)
  })

  test.each([
    ['never', /first sync is under way/],
    ['needs_login', /please <a href="\/source\/oauth\/login\/entra-id\/">sign in again<\/a>/],
    ['denied', /Ask your administrator/],
    ['held', /waits for an administrator/],
    ['failed', /will be tried again/],
  ])('in state %s says what that means', async (state, words) => {
    const person = newPerson()
    await insertUser(person, state, null)
    expect(await show(await cookieFor(person), '/')).toMatch(words)
  })

  test('is kept out of frames and caches', async () => {
    const { headers } = await setUp().request('/')
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('strict-transport-security')).toBeNull()
    const https = await setUp({ publicUrl: 'https://groups.example.org' }).request('/')
    expect(https.headers.get('strict-transport-security')).toBe('max-age=15552000')
  })
})

test('signing out ends the session, from our own page only', async () => {
  const app = setUp()
  const cookie = await cookieFor(newPerson())
  const signOut = (headers: Record<string, string>) =>
    app.request('/sign-out', { method: 'POST', headers: { cookie, ...headers } })
  for (const headers of [{}, { origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
    const answer = await signOut(headers)
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null])
  }
  const answer = await signOut({ origin: publicUrl })
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
  expect(answer.headers.get('set-cookie')).toMatch(/^egs_session=; Max-Age=0; Path=\//)
  expect((await signOut({ 'sec-fetch-site': 'same-origin' })).status).toBe(303)
})
