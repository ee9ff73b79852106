import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { givenDatabase } from './support/database.ts'
import { newKey, testGateway, testSource, testTenantId } from './support/gateway.ts'
import { newPerson, startSession, storePerson, type Person } from './support/sessions.ts'

const key = newKey('current')
const database = givenDatabase()

type Parts = Partial<Parameters<typeof testGateway>[0]>

const setUp = (parts: Parts = {}) => testGateway({ db: database.db, sessionKeys: [key], ...parts })
const cookieFor = (person: Person) => startSession(database.db, person, { sessionKeys: [key] })

async function show(person: Person | undefined, parts: Parts = {}): Promise<string> {
  const headers: Record<string, string> = person ? { cookie: await cookieFor(person) } : {}
  return await (await setUp(parts).app.request('/', { headers })).text()
}

async function insertGroups(
  userId: string,
  groups: { name: string | null; objectId?: string; origin?: string }[],
) {
  for (const { name, objectId = randomUUID(), origin = 'entra' } of groups) {
    await database.db.$client`
      with g as (insert into groups (tenant_id, object_id, display_name)
        values (${testTenantId}, ${objectId}, ${name})
        on conflict (tenant_id, object_id) do update set display_name = excluded.display_name returning id)
      insert into memberships (user_id, group_id, origin) select ${userId}, id, ${origin} from g`
  }
}

const pixel = 'data:image/png;base64,iVBORw0KGgo='

describe('the page of who is not signed in', () => {
  test('offers the source, with a policy that allows no script and nothing of another host', async () => {
    const answer = await setUp().app.request('/')
    const policy = answer.headers.get('content-security-policy')
    expect(policy).toBe(
      `default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self' ${testSource.authorityHost}; base-uri 'none'; frame-ancestors 'none'`,
    )
    const text = await answer.text()
    expect(text).toMatch(
      /<a class="button source second" href="\/source\/oauth\/login\/entra-id\/"\s*>.*<span>Sign in with Entra ID<\/span>/s,
    )
    expect(text).not.toMatch(/https?:\/\/|<script|style=|onclick/)
    const style = await setUp().app.request('/style.css')
    expect(style.headers.get('content-type')).toContain('text/css')
    expect(await style.text()).not.toMatch(/url\(|@import/)
  })

  test('offers several sources with their icons, the promoted first, and none that is disabled', async () => {
    const configs = [
      { ...testSource, slug: 'one', name: 'One & only' },
      { ...testSource, slug: 'off', name: 'Off', enabled: false, promoted: true },
      { ...testSource, slug: 'two', name: 'Two', icon: pixel, promoted: true },
      { ...testSource, slug: 'three', name: '<b>Three</b>' },
    ]
    const text = await show(undefined, { configs })
    expect([...text.matchAll(/login\/([^/]+)\//g)].map(([, slug]) => slug)).toEqual(['two', 'one', 'three'])
    expect(text).toContain(`<img src="${pixel}" alt="" width="24" height="24" />`)
    expect(text).toContain('<span class="initial" aria-hidden="true">O</span>')
    expect(text).toContain('Sign in with One &amp; only')
    expect(text).toContain('Sign in with &lt;b&gt;Three&lt;/b&gt;')
    expect(text).not.toContain('Off')
  })

  test('says so where no source is enabled', async () => {
    expect(await show(undefined, { configs: [{ ...testSource, enabled: false }] })).toContain(
      'no source is enabled',
    )
  })

  test('has a language, a title, one heading, and links with a text that says where they lead', async () => {
    const text = await show(undefined)
    expect(text).toContain('<html lang="en">')
    expect(text).toMatch(/<title>[^<]+<\/title>/)
    expect(text.match(/<h1/g)).toHaveLength(1)
    for (const [, inner = ''] of text.matchAll(/<a [^>]*>(.*?)<\/a>/gs))
      expect(inner.replaceAll(/<span class="initial"[^]*?<\/span>|<[^>]*>/g, '').trim()).not.toBe('')
    expect(text).not.toContain('tabindex')
  })

  test('is kept out of frames and caches', async () => {
    const { headers } = await setUp().app.request('/')
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('strict-transport-security')).toBeNull()
    const https = await setUp({ publicUrl: 'https://groups.example.org' }).app.request('/')
    expect(https.headers.get('strict-transport-security')).toBe('max-age=15552000')
  })
})

describe('the page of who is signed in', () => {
  test('escapes a person and a group named <script>', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person, { displayName: '<script>alert(1)</script>' })
    await insertGroups(id, [{ name: '"><script>alert(2)</script>' }])
    const page = await show(person)
    expect(page).toContain('<h1 id="person">&lt;script&gt;alert(1)&lt;/script&gt;</h1>')
    expect(page).not.toContain('<script')
  })

  test('says of each group where it came from and since when', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person, { state: 'synced', syncedAt: '2026-03-04T05:06:07Z' })
    const both = randomUUID()
    await insertGroups(id, [{ name: 'Alpha', objectId: both }])
    await insertGroups(id, [{ name: 'Alpha', objectId: both, origin: 'local' }])
    const page = await show(person, { configs: [{ ...testSource, name: 'Contoso' }] })
    expect(page).toMatch(/Alpha<span class="tag">Contoso<\/span>/)
    expect(page).toMatch(/Alpha<span class="tag">local<\/span>/)
    expect(page).toMatch(/since <time datetime="20/)
    expect(page).not.toContain(both)
  })

  test('tells same-named and nameless groups apart by their object id, and counts 2,500', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person, { state: 'synced', syncedAt: '2026-03-04T05:06:07Z' })
    const [one, two, nameless, plain] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
    await insertGroups(id, [
      { name: 'Twins', objectId: one },
      { name: 'Twins', objectId: two },
      { name: null, objectId: nameless },
      { name: 'Plain', objectId: plain },
    ])
    await database.db.$client`
      with g as (insert into groups (tenant_id, object_id, display_name)
        select ${testTenantId}, gen_random_uuid(), 'Group ' || n from generate_series(1, 2496) n returning id)
      insert into memberships (user_id, group_id, origin) select ${id}, id, 'entra' from g`
    const text = await show(person)
    expect(text).toContain('Your groups (2,500)')
    expect(text.match(/<li>/g)).toHaveLength(2500)
    expect(text).toContain('As of <time datetime="2026-03-04T05:06:07.000Z">2026-03-04 05:06 UTC</time>')
    for (const objectId of [one, two, nameless]) expect(text).toContain(objectId)
    expect(text).not.toContain(plain)
  })

  test.each([
    ['never', /first sync is under way/],
    ['needs_login', /<a class="button" href="\/source\/oauth\/login\/entra-id\/">Sign in again<\/a>/],
    ['denied', /Ask your administrator/],
    ['held', /waits for an administrator/],
    ['failed', /will be tried again/],
  ])('in state %s says what that means', async (state, words) => {
    const person = newPerson()
    await storePerson(database.db, person, { state })
    expect(await show(person)).toMatch(words)
  })

  test('asks to sign in again where the tokens were refused or no key opens them, and offers no sync then', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person, { state: 'synced' })
    await database.db.$client`
      insert into delegated_tokens (user_id, source, sealed, version, key_id, expires_at, scopes)
      values (${id}, 'entra-id', 'sealed', gen_random_uuid(), 'k1', now() + interval '1 hour', '{}')`
    const offers = async (parts: Parts = {}) => {
      const text = await show(person, parts)
      return { again: text.includes('Sign in again'), sync: text.includes('Sync now') }
    }
    expect(await offers()).toEqual({ again: false, sync: true })
    expect(await offers({ tokenKeyIds: ['another'] })).toEqual({ again: true, sync: false })
    await database.db.$client`
      update delegated_tokens set state = 'needs_login', reason = 'AADSTS50173' where user_id = ${id}`
    expect(await offers()).toEqual({ again: true, sync: false })
  })

  test('says that groups are not synced where the source has no group sync', async () => {
    const person = newPerson()
    await storePerson(database.db, person)
    for (const change of [{ groupSync: false }, { scopes: ['User.Read'] }]) {
      const page = await show(person, { configs: [{ ...testSource, ...change }] })
      expect(page).toContain('Groups are not synced for this source.')
      expect(page).not.toMatch(/Sync now|first sync/)
    }
  })
})

test('GET /session gives the profile, the groups by name and how fresh they are', async () => {
  const person = newPerson()
  const id = await storePerson(database.db, person, {
    state: 'synced',
    syncedAt: '2026-03-04T05:06:07.123456Z',
  })
  const both = randomUUID()
  await insertGroups(id, [{ name: 'beta' }, { name: null }, { name: 'Alpha', objectId: both }])
  await insertGroups(id, [{ name: 'Alpha', objectId: both, origin: 'local' }])
  const answer = await setUp().app.request('/session', { headers: { cookie: await cookieFor(person) } })
  expect(answer.headers.get('cache-control')).toBe('no-store')
  const body = (await answer.json()) as { groups: { displayName: string | null; origin: string }[] }
  expect(body).toMatchObject({
    signedIn: true,
    source: 'entra-id',
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
