import { describe, expect, test } from 'vitest'
import { cutDatabase, openDatabase } from '../db/client.ts'
import { givenDatabase } from './support/database.ts'
import { newKey, publicUrl, testGateway, testSource } from './support/gateway.ts'
import { newPerson, startSession, storePerson, type Person } from './support/sessions.ts'

const key = newKey('current')
const database = givenDatabase()

const setUp = (parts: Partial<Parameters<typeof testGateway>[0]> = {}) =>
  testGateway({ db: database.db, sessionKeys: [key], ...parts })
const cookieFor = (person: Person) => startSession(database.db, person, { sessionKeys: [key] })

describe('"Sync now"', () => {
  const press = async (gateway: ReturnType<typeof setUp>, cookie: string) =>
    await gateway.app.request('/sync-now', { method: 'POST', headers: { cookie, origin: publicUrl } })

  test('has the person read anew, once a minute, and the page says that it was asked for', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person)
    const gateway = setUp()
    const cookie = await cookieFor(person)
    const first = await press(gateway, cookie)
    expect([first.status, first.headers.get('location')]).toEqual([303, '/'])
    const second = await press(gateway, cookie)
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '60'])
    expect((await press(gateway, await cookieFor(person))).status).toBe(429)
    expect(gateway.synced).toEqual([id])
    const page = await gateway.app.request('/', { headers: { cookie } })
    expect(await page.text()).toMatch(/A sync was asked for at 20[^]*Reload/)
    await database.db.$client`update users set sync_asked_at = now() - interval '61 seconds' where id = ${id}`
    expect((await press(gateway, cookie)).status).toBe(303)
    expect(gateway.synced).toEqual([id, id])
  })

  test('is one person’s own: another may ask in the same minute', async () => {
    const gateway = setUp()
    for (const person of [newPerson(), newPerson()])
      expect((await press(gateway, await cookieFor(person))).status).toBe(303)
    expect(gateway.synced).toHaveLength(2)
  })

  test('asks for nothing without a session, or where the source has no group sync', async () => {
    const off = setUp({ configs: [{ ...testSource, groupSync: false }] })
    expect((await press(off, await cookieFor(newPerson()))).headers.get('location')).toBe('/')
    expect((await press(off, '')).headers.get('location')).toBe('/')
    expect(off.synced).toEqual([])
  })

  test('says so where the queue does not take it, and may be asked for again at once', async () => {
    let taken = false
    const gateway = setUp({ syncNow: async () => taken })
    const cookie = await cookieFor(newPerson())
    expect((await press(gateway, cookie)).status).toBe(503)
    taken = true
    expect((await press(gateway, cookie)).status).toBe(303)
    expect((await press(gateway, cookie)).status).toBe(429)
  })

  test('that the queue was slow to refuse takes nothing from one that was taken meanwhile', async () => {
    const person = newPerson()
    const id = await storePerson(database.db, person)
    const [begun, refused] = [Promise.withResolvers<void>(), Promise.withResolvers<boolean>()]
    const queue = [
      () => {
        begun.resolve()
        return refused.promise
      },
      () => Promise.resolve(true),
    ]
    const gateway = setUp({ syncNow: async () => (await queue.shift()?.()) ?? true })
    const cookie = await cookieFor(person)
    const first = press(gateway, cookie)
    await begun.promise
    await database.db.$client`update users set sync_asked_at = now() - interval '61 seconds' where id = ${id}`
    expect((await press(gateway, cookie)).status).toBe(303)
    refused.resolve(false)
    expect((await first).status).toBe(503)
    expect((await press(gateway, cookie)).status).toBe(429)
  })

  test('says so where the database goes away while the queue refuses it', async () => {
    const own = openDatabase(database.url)
    const gateway = setUp({
      db: own,
      syncNow: async () => {
        await cutDatabase(own)
        return false
      },
    })
    const answer = await press(gateway, await cookieFor(newPerson()))
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
    expect(gateway.logLines.join()).toMatch(/database_failed.*sync not asked for/)
  })

  test('says so where the database does not keep that it was asked for, and asks for nothing', async () => {
    const gateway = setUp()
    const cookie = await cookieFor(newPerson())
    const sql = database.db.$client
    await sql`alter table users add constraint nobody_asks check (sync_asked_at is null) not valid`
    const answer = await press(gateway, cookie)
    await sql`alter table users drop constraint nobody_asks`
    expect([answer.status, gateway.synced]).toEqual([503, []])
  })
})
