import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { openApp } from './support/groups-api.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase } from './support/gateway.ts'
import { joinByRun, joinLocally, storeGroup, storeUser, type Stored } from './support/memberships.ts'
import { statementsOf } from './support/reconciled.ts'

const database = givenDatabase()
const dead = deadDatabase()

let ada: Stored
let team: Stored
beforeEach(async () => {
  const { db } = database
  ada = await storeUser(db, { displayName: 'Ada' })
  team = await storeGroup(db, { tenantId: ada.tenantId, displayName: 'Engine' })
})

const time = expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)

describe('the groups of a person', () => {
  test('are told with the person, how fresh they are, and each group once with all its origins', async () => {
    const { db } = database
    await joinByRun(db, ada.id, [team.id])
    await joinLocally(db, ada.id, team.id)
    await db.$client`
      update users set user_principal_name = 'ada@contoso.example', sync_state = 'synced',
        last_synced_at = '2026-05-01T08:00:00.123456Z' where id = ${ada.id}`
    const answer = await openApp(db).get(`/v1/users/${ada.id}/groups`)
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        user: {
          ...ada,
          displayName: 'Ada',
          userPrincipalName: 'ada@contoso.example',
          mail: null,
          kind: 'person',
          enabled: true,
          frozen: false,
        },
        asOf: null,
        freshness: { syncedAt: '2026-05-01T08:00:00.123456Z', state: 'synced' },
        groups: [{ ...team, displayName: 'Engine', origins: ['entra', 'local'], since: time }],
        next: null,
      },
    ])
    const [first] = await db.$client<{ since: string }[]>`
      select to_char(min(since) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as since from memberships
      where user_id = ${ada.id}`
    expect(answer.body).toMatchObject({ groups: [first] })
  })

  test.each([
    ['our id', () => ada.id],
    ['our id in capitals', () => ada.id.toUpperCase()],
    ['the ids of Entra', () => `${ada.objectId}.${ada.tenantId}`],
    ['the ids of Entra in capitals', () => `${ada.objectId}.${ada.tenantId}`.toUpperCase()],
  ])('are found by %s', async (_what, id) => {
    const { status, body } = await openApp(database.db).get(`/v1/users/${id()}/groups`)
    expect([status, body]).toMatchObject([200, { user: ada, groups: [] }])
  })

  test('tell a service from a person, and so do the members of a group', async () => {
    const { db } = database
    const daemon = await storeUser(db, { tenantId: ada.tenantId, displayName: 'Nightly orders' })
    await db.$client`update users set kind = 'service', app_id = ${randomUUID()} where id = ${daemon.id}`
    for (const { id } of [ada, daemon]) await joinByRun(db, id, [team.id])
    const { get } = openApp(db)
    expect((await get(`/v1/users/${daemon.id}/groups`)).body).toMatchObject({
      user: { ...daemon, kind: 'service' },
    })
    const members = [
      { ...ada, kind: 'person' },
      { ...daemon, kind: 'service' },
    ].toSorted((one, other) => (one.id < other.id ? -1 : 1))
    const { body } = await get(`/v1/groups/${team.id}/members`)
    expect(body).toMatchObject({ members })
  })

  test('leave out groups that are deleted in Entra', async () => {
    const { db } = database
    await joinLocally(db, ada.id, team.id)
    await db.$client`update groups set deleted_at = now() where id = ${team.id}`
    expect((await openApp(db).get(`/v1/users/${ada.id}/groups`)).body).toMatchObject({ groups: [] })
    expect((await openApp(db).get(`/v1/groups/${team.id}/members`)).body).toMatchObject({
      group: { ...team, deletedAt: time },
      members: [],
    })
  })

  test('are shown of a person who is disabled or away for too long, who is shown as such', async () => {
    const { db } = database
    await joinByRun(db, ada.id, [team.id])
    await db.$client`
      update users set enabled = false, disabled_by = 'entra', frozen_at = now() where id = ${ada.id}`
    const state = { enabled: false, frozen: true }
    expect((await openApp(db).get(`/v1/users/${ada.id}/groups`)).body).toMatchObject({
      user: state,
      groups: [{ id: team.id }],
    })
    expect((await openApp(db).get(`/v1/groups/${team.id}/members`)).body).toMatchObject({
      members: [{ id: ada.id, ...state }],
    })
  })
})

test('the members of a group are told with their names and ids', async () => {
  const { db } = database
  await joinByRun(db, ada.id, [team.id])
  for (const id of [team.id, `${team.objectId}.${team.tenantId}`]) {
    const { status, body } = await openApp(db).get(`/v1/groups/${id}/members`)
    expect([status, body]).toEqual([
      200,
      {
        group: { ...team, displayName: 'Engine', deletedAt: null },
        asOf: null,
        members: [
          {
            ...ada,
            displayName: 'Ada',
            userPrincipalName: null,
            origins: ['entra'],
            since: time,
            kind: 'person',
            enabled: true,
            frozen: false,
          },
        ],
        next: null,
      },
    ])
  }
})

describe('a request that makes no sense', () => {
  test('for somebody unknown is 404', async () => {
    const { get } = openApp(database.db)
    const unknown = randomUUID()
    for (const path of [
      `/v1/users/${unknown}/groups`,
      `/v1/groups/${unknown}/members`,
      `/v1/users/${ada.objectId}.${unknown}/groups`,
      `/v1/users/${team.id}/groups`,
      `/v1/groups/${ada.id}/members`,
      `/v1/users/${ada.objectId}/groups`,
    ])
      expect(await get(path)).toMatchObject({ status: 404, body: { error: 'not_found' } })
  })

  test.each([
    '1',
    'Me',
    'me.me',
    '%00',
    "'",
    '%0d%0aX-Injected:%201',
    '..%2F..%2Fetc',
    `${randomUUID()}.`,
    `.${randomUUID()}`,
    `${randomUUID()}.${randomUUID()}.${randomUUID()}`,
    `${randomUUID()}%0a`,
    `{${randomUUID()}}`,
    '%E0%A4%A',
    'x'.repeat(5000),
  ])('with the id %j is 400, naming id', async (id) => {
    const { get } = openApp(database.db)
    for (const path of [`/v1/users/${id}/groups`, `/v1/groups/${id}/members`]) {
      const answer = await get(path)
      expect([answer.status, answer.fields]).toEqual([400, ['id']])
      expect(answer.headers.get('x-injected')).toBeNull()
    }
  })

  test.each([
    ['limit=0', ['limit']],
    ['limit=1001', ['limit']],
    ['limit=', ['limit']],
    ['limit=%2B5', ['limit']],
    ['limit=1e2', ['limit']],
    ['limit=0x10', ['limit']],
    ['limit=5.0', ['limit']],
    ['limit=5&limit=5', ['limit']],
    ['limit=99999999999999999999', ['limit']],
    ['after=', ['after']],
    ['after=nonsense', ['after']],
    ['after=%00', ['after']],
    ['asOf=', ['asOf']],
    ['asOf=yesterday', ['asOf']],
    ['asOf=2026-05-01', ['asOf']],
    ['asOf=2026-05-01T10:00:00', ['asOf']],
    ['asOf=2026-05-01T10:00:00+02:00', ['asOf']],
    ['asOf=2026-02-30T10:00:00Z', ['asOf']],
    ['asOf=0000-01-01T10:00:00Z', ['asOf']],
    ['asOf=1969-12-31T23:59:59Z', ['asOf']],
    ['asOf=9999-12-31T23:59:59-01:00', ['asOf']],
    ['asOf=9999-12-31T23:59:59Z', ['asOf']],
    ['asof=2026-05-01T10:00:00Z', ['asof']],
    ['offset=3&%24top=5', ['(unprintable name)', 'offset']],
    ['__proto__=1&constructor=2', ['__proto__', 'constructor']],
    ['limit=0&after=x&asOf=x&page=1', ['after', 'asOf', 'limit', 'page']],
  ])('with %s is 400, naming each parameter and repeating no value', async (query, fields) => {
    const answer = await openApp(database.db).get(`/v1/users/${ada.id}/groups?${query}`)
    expect([answer.status, answer.fields]).toEqual([400, fields])
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  test('says of a time how it is written, and of one that has yet to come that it has', async () => {
    const { get } = openApp(database.db)
    const message = async (asOf: string) =>
      (await get(`/v1/users/${ada.id}/groups?asOf=${asOf}`)).body as { problems: { message: string }[] }
    expect((await message('2026-05-01T10:00:00+02:00')).problems[0]?.message).toMatch(/2026.*%2B/)
    expect((await message('2199-05-01T10:00:00Z')).problems[0]?.message).toMatch(/future/)
  })

  test('of another method is 405, naming those there are', async () => {
    const { ask } = openApp(database.db)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await ask(`/v1/users/${ada.id}/groups`, { method })
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
    const head = await ask(`/v1/users/${ada.id}/groups`, { method: 'HEAD' })
    expect([head.status, head.text]).toEqual([200, ''])
  })
})

test('without a database the answer is 503 and when to ask again, and the log has no parameter', async () => {
  const { get, logLines } = openApp(dead)
  const answer = await get(`/v1/users/${ada.id}/groups`)
  expect([answer.status, answer.headers.get('retry-after'), answer.body]).toEqual([
    503,
    '5',
    { error: 'unavailable' },
  ])
  expect(logLines.join()).toContain('database_failed')
  expect(logLines.join()).not.toContain(ada.id)
})

test('a page costs two statements, whatever its size', async () => {
  const { db } = database
  const { get } = openApp(db)
  for (const count of [1, 150]) {
    const made = await Promise.all(Array.from({ length: count }, () => storeGroup(db)))
    await joinByRun(
      db,
      ada.id,
      made.map(({ id }) => id),
    )
    for (const query of ['limit=1000', `limit=1000&asOf=${new Date().toISOString()}`]) {
      const statements = await statementsOf(db, () => get(`/v1/users/${ada.id}/groups?${query}`))
      expect(statements).toHaveLength(2)
    }
    expect(await statementsOf(db, () => get(`/v1/groups/${made[0]!.id}/members`))).toHaveLength(2)
  }
})
