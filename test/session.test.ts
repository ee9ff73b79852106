import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { describe, expect, test, vi } from 'vitest'
import type { NamedKey } from '../src/config.ts'
import { cookieKeys } from '../src/login/cookie-keys.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, newKey, testGateway, testSource } from './support/gateway.ts'
import { newPerson, sessionIdOf, startSession, storePerson, type Person } from './support/sessions.ts'

const key = newKey('current')
const dead = deadDatabase()
const database = givenDatabase()

const setUp = (parts: Partial<Parameters<typeof testGateway>[0]> = {}) =>
  testGateway({ db: database.db, sessionKeys: [key], ...parts }).app

const cookieFor = async (person: Person, options: Partial<Parameters<typeof startSession>[2]> = {}) =>
  await startSession(database.db, person, { sessionKeys: [key], ...options })

async function asked(cookie: string, parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const answer = await setUp(parts).request('/session', { headers: { cookie } })
  return (await answer.json()) as { signedIn: boolean }
}

const signedIn = { signedIn: true }
const signedOut = { signedIn: false }

describe('the session cookie', () => {
  test('carries an id, and nothing of the person', async () => {
    const cookie = await cookieFor(newPerson())
    expect(await asked(cookie)).toMatchObject(signedIn)
    const payload: unknown = JSON.parse(Buffer.from(cookie.split('.')[1] ?? '', 'base64url').toString())
    expect(Object.keys(payload as object).toSorted()).toEqual(['exp', 'iat', 'sid'])
  })

  test('does not count once a letter of it is changed, or when it was made by hand', async () => {
    const person = newPerson()
    const cookie = await cookieFor(person)
    const sid = sessionIdOf(cookie)
    const [header = '', payload = '', signature = ''] = cookie.replace('egs_session=', '').split('.')
    const altered = Buffer.from(JSON.stringify({ sid, exp: 9_999_999_999 })).toString('base64url')
    const none = Buffer.from('{"alg":"none","kid":"current"}').toString('base64url')
    const signedWith = (secret: Uint8Array) =>
      new SignJWT({ sid })
        .setProtectedHeader({ alg: 'HS256', kid: 'current' })
        .setExpirationTime('1h')
        .sign(secret)
    const forPendingSignIns = cookieKeys([key], 'pending sign-in')[0]?.key ?? new Uint8Array()
    for (const forged of [
      `${header}.${altered}.${signature}`,
      `${header}.${payload}.${signature.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'))}`,
      `${none}.${payload}.`,
      `${none}.${payload}.${signature}`,
      await signedWith(key.key),
      await signedWith(forPendingSignIns),
      await signedWith(newKey('current').key),
      sid,
      'nonsense',
      '',
    ]) {
      expect(await asked(`egs_session=${forged}`)).toEqual(signedOut)
    }
    expect(await asked(cookie)).toMatchObject(signedIn)
  })

  test('of an id that nobody gave out counts for nothing, though our own key signed it', async () => {
    const [own] = cookieKeys([key], 'session')
    const guess = (sid: string) =>
      new SignJWT({ sid })
        .setProtectedHeader({ alg: 'HS256', kid: 'current' })
        .setExpirationTime('1h')
        .sign(own?.key ?? new Uint8Array())
    await cookieFor(newPerson())
    for (const sid of [randomUUID(), "' or true --", '00000000-0000-0000-0000-000000000000'])
      expect(await asked(`egs_session=${await guess(sid)}`)).toEqual(signedOut)
  })

  test('outlives a rotation while its key is still listed, and new ones use the first key', async () => {
    const [older, newer] = [newKey('2025'), newKey('2026')]
    const given = async (sessionKeys: NamedKey[]) => await cookieFor(newPerson(), { sessionKeys })
    const old = await given([older])
    expect(await asked(old, { sessionKeys: [newer, older] })).toMatchObject(signedIn)
    expect(await asked(old, { sessionKeys: [newer] })).toEqual(signedOut)
    expect(await asked(await given([newer, older]), { sessionKeys: [newer] })).toMatchObject(signedIn)
  })

  test('of an https gateway is not taken from a cookie that another host or plain http could have set', async () => {
    const cookie = await cookieFor(newPerson(), { secure: true })
    const publicHttps = { publicUrl: 'https://groups.example.org' }
    expect(await asked(cookie, publicHttps)).toMatchObject(signedIn)
    expect(await asked(cookie.replace('__Host-', ''), publicHttps)).toEqual(signedOut)
  })
})

describe('a session', () => {
  const backdate = async (cookie: string, column: 'seen_at' | 'ends_at', minutes: number) => {
    const sql = database.db.$client
    await sql`update sessions set ${sql(column)} = ${sql(column)} - ${minutes} * interval '1 minute'
      where id = ${sessionIdOf(cookie)}`
  }

  test('ends when its life is over, whatever is done in it', async () => {
    const cookie = await cookieFor(newPerson())
    await backdate(cookie, 'ends_at', 8 * 60 - 1)
    expect(await asked(cookie)).toMatchObject(signedIn)
    await backdate(cookie, 'ends_at', 2)
    expect(await asked(cookie)).toEqual(signedOut)
  })

  test('ends with its cookie, though its row were still there', async () => {
    const cookie = await cookieFor(newPerson())
    await database.db
      .$client`update sessions set ends_at = now() + interval '1 year' where id = ${sessionIdOf(cookie)}`
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 8.1 * 3_600_000 })
    const answer = await asked(cookie)
    vi.useRealTimers()
    expect(answer).toEqual(signedOut)
  })

  test('ends after an hour without a request, and each request begins the hour anew', async () => {
    const cookie = await cookieFor(newPerson())
    await backdate(cookie, 'seen_at', 59)
    expect(await asked(cookie)).toMatchObject(signedIn)
    await backdate(cookie, 'seen_at', 59)
    expect(await asked(cookie)).toMatchObject(signedIn)
    await backdate(cookie, 'seen_at', 61)
    expect(await asked(cookie)).toEqual(signedOut)
  })

  test('writes nothing for requests within one minute', async () => {
    const cookie = await cookieFor(newPerson())
    const seen = async () => {
      const [row] = await database.db.$client<{ version: string }[]>`
        select xmin::text as version from sessions where id = ${sessionIdOf(cookie)}`
      return row?.version
    }
    const first = await seen()
    await asked(cookie)
    await asked(cookie)
    expect(await seen()).toBe(first)
    await backdate(cookie, 'seen_at', 2)
    const moved = await seen()
    await asked(cookie)
    expect(await seen()).not.toBe(moved)
  })

  test('is cleared away when a later sign-in finds it long over', async () => {
    const cookie = await cookieFor(newPerson())
    await backdate(cookie, 'ends_at', 3 * 24 * 60)
    await cookieFor(newPerson())
    const rows = await database.db.$client`select from sessions where id = ${sessionIdOf(cookie)}`
    expect(rows).toHaveLength(0)
  })
})

describe('a source for members of a group', () => {
  const groupId = randomUUID()
  const members = { ...testSource, signUp: { policy: 'members' as const, groupIds: [randomUUID(), groupId] } }

  async function membership(userId: string, objectId: string, tenantId: string) {
    await database.db.$client`
      with g as (insert into groups (tenant_id, object_id) values (${tenantId}, ${objectId})
        on conflict (tenant_id, object_id) do update set deleted_at = null returning id)
      insert into memberships (user_id, group_id, origin) select ${userId}, id, 'entra' from g`
  }
  const read = async (userId: string) =>
    void (await database.db.$client`update users set snapshot_at = clock_timestamp() where id = ${userId}`)

  test('ends a session on the next request once a run has read that the person left the group', async () => {
    const person = newPerson()
    const userId = await storePerson(database.db, person, { syncedAt: '2020-01-01T00:00:00Z' })
    const cookie = await cookieFor(person)
    const configs = [members]
    expect(await asked(cookie, { configs })).toMatchObject(signedIn)
    await membership(userId, groupId, person.tenantId)
    await read(userId)
    expect(await asked(cookie, { configs })).toMatchObject(signedIn)
    await database.db.$client`delete from memberships where user_id = ${userId}`
    expect(await asked(cookie, { configs })).toEqual(signedOut)
    expect(await asked(cookie)).toMatchObject(signedIn)
  })

  test('does not count by a read that began before the sign-in and ended after it', async () => {
    const person = newPerson()
    const userId = await storePerson(database.db, person)
    await read(userId)
    const cookie = await cookieFor(person)
    await database.db.$client`update users set last_synced_at = clock_timestamp() where id = ${userId}`
    expect(await asked(cookie, { configs: [members] })).toMatchObject(signedIn)
  })

  test('does not take a membership that Entra knows nothing of', async () => {
    const person = newPerson()
    const userId = await storePerson(database.db, person)
    const cookie = await cookieFor(person)
    await membership(userId, groupId, person.tenantId)
    await read(userId)
    await database.db.$client`update memberships set origin = 'local' where user_id = ${userId}`
    expect(await asked(cookie, { configs: [members] })).toEqual(signedOut)
  })

  test('takes neither a group of the same id in another tenant nor a deleted one', async () => {
    const person = newPerson()
    const userId = await storePerson(database.db, person)
    const cookie = await cookieFor(person)
    await read(userId)
    await membership(userId, groupId, randomUUID())
    expect(await asked(cookie, { configs: [members] })).toEqual(signedOut)
    await membership(userId, groupId, person.tenantId)
    expect(await asked(cookie, { configs: [members] })).toMatchObject(signedIn)
    await database.db.$client`update groups set deleted_at = now() where tenant_id = ${person.tenantId}`
    expect(await asked(cookie, { configs: [members] })).toEqual(signedOut)
  })
})

test('GET /session is 503 with Retry-After while the database is down, and 404 below it is JSON', async () => {
  const headers = { cookie: await cookieFor(newPerson()) }
  const answer = await setUp({ db: dead }).request('/session', { headers })
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
  expect(await (await setUp().request('/session/other')).json()).toEqual({ error: 'not_found' })
})
