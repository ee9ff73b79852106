import { beforeEach, describe, expect, test } from 'vitest'
import { givenDatabase } from './support/database.ts'
import { openApp } from './support/groups-api.ts'
import { joinByRun, joinLocally, storeGroup, storeUser, type Stored } from './support/memberships.ts'

const database = givenDatabase()

let ada: Stored
let team: Stored
let path: string
beforeEach(async () => {
  const { db } = database
  ada = await storeUser(db)
  team = await storeGroup(db, { displayName: 'Engine' })
  await joinByRun(db, ada.id, [team.id])
  path = `/v1/users/${ada.id}/groups`
})

test('an answer has a strong tag, and whoever sends it gets no body', async () => {
  const { get } = openApp(database.db)
  const first = await get(path)
  const tag = first.headers.get('etag') ?? ''
  expect(tag).toMatch(/^"[\w-]{43}"$/)
  const caching = { 'cache-control': 'private, no-cache', vary: 'Authorization' }
  expect(Object.fromEntries(first.headers)).toMatchObject(caching)
  const again = await get(path, { 'If-None-Match': tag })
  expect([again.status, again.text]).toEqual([304, ''])
  expect(Object.fromEntries(again.headers)).toMatchObject({ ...caching, etag: tag })
  expect(again.headers.get('content-type')).toBeNull()
})

describe('If-None-Match', () => {
  test.each<[string, (tag: string) => string, number]>([
    ['a list', (tag) => `"one", ${tag} ,"two"`, 304],
    ['a weak tag', (tag) => `W/${tag}`, 304],
    ['a weak one in a list without spaces', (tag) => `"a","b",W/${tag}`, 304],
    ['a star', () => '*', 304],
    ['another tag', () => '"another"', 200],
    ['a tag without quotes', (tag) => tag.replaceAll('"', ''), 200],
    ['half a tag', (tag) => `${tag.slice(0, 9)}"`, 200],
    ['a tag and more', (tag) => `${tag.slice(0, -1)}x"`, 200],
    ['a star in a list', () => '"a", *', 200],
    ['nothing', () => '', 200],
    ['nonsense', () => '"""W/",,"', 200],
  ])('%s', async (_what, header, status) => {
    const { get } = openApp(database.db)
    const tag = (await get(path)).headers.get('etag') ?? ''
    expect((await get(path, { 'If-None-Match': header(tag) })).status).toBe(status)
  })

  test('does not let anybody off who may not read', async () => {
    const { get } = openApp(database.db)
    for (const [headers, status] of [
      [{ Authorization: 'Bearer other' }, 401],
      [{ 'If-None-Match': '*' }, 404],
    ] as const) {
      const unknown = `/v1/users/${team.id}/groups`
      expect((await get(unknown, { 'If-None-Match': '*', ...headers })).status).toBe(status)
    }
  })
})

test('the tag is the same as long as the content is, and another one after every change of it', async () => {
  const { db } = database
  const { get } = openApp(db)
  const sql = db.$client
  const seen = new Map<string, string>()
  const changes: (() => PromiseLike<unknown>)[] = [
    () => sql`update users set display_name = 'Ada' where id = ${ada.id}`,
    () => sql`update users set last_synced_at = '2026-05-01T08:00:00.000001Z' where id = ${ada.id}`,
    () => sql`update users set last_synced_at = '2026-05-01T08:00:00.000002Z' where id = ${ada.id}`,
    () => sql`update users set sync_state = 'held' where id = ${ada.id}`,
    () => sql`update users set frozen_at = now() where id = ${ada.id}`,
    () => sql`update users set enabled = false, disabled_by = 'local' where id = ${ada.id}`,
    () => sql`update groups set display_name = 'Motor' where id = ${team.id}`,
    () => joinLocally(db, ada.id, team.id),
    () => sql`delete from memberships where user_id = ${ada.id} and origin = 'entra'`,
    () => sql`update groups set deleted_at = now() where id = ${team.id}`,
  ]
  for (const change of [() => Promise.resolve(), ...changes]) {
    await change()
    const [one, other] = [await get(path), await get(path)]
    const tag = one.headers.get('etag') ?? ''
    expect([other.headers.get('etag'), other.text]).toEqual([tag, one.text])
    expect(seen.has(tag)).toBe(false)
    seen.set(tag, one.text)
  }
  expect(new Set(seen.values()).size).toBe(changes.length + 1)
  // What the answer doesn't tell doesn't change its tag.
  await sql`update users set last_login_at = now() where id = ${ada.id}`
  expect(seen.has((await get(path)).headers.get('etag') ?? '')).toBe(true)
})
