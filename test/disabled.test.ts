import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { setDisabled } from '../db/admissions.ts'
import { findTokens, refuseTokens } from '../db/delegated-tokens.ts'
import { insertLoginEvent } from '../db/login-events.ts'
import { recordRun } from '../db/sync-runs.ts'
import { givenDatabase } from './support/database.ts'
import { newKey, testGateway, testSource } from './support/gateway.ts'
import { newPerson, sessionIdOf, startSession, storePerson, type Person } from './support/sessions.ts'

const key = newKey('current')
const database = givenDatabase()

const cookieFor = async (person: Person) => await startSession(database.db, person, { sessionKeys: [key] })

async function asked(cookie: string) {
  const { app } = testGateway({ db: database.db, sessionKeys: [key] })
  return (await (await app.request('/session', { headers: { cookie } })).json()) as { signedIn: boolean }
}

const signedIn = { signedIn: true }
const signedOut = { signedIn: false }

/** As a sign-in at Entra is stored. */
async function signedInOnce(person: Person): Promise<{ userId: string; event: string }> {
  const event = randomUUID()
  const { userId } = await insertLoginEvent(database.db, {
    ...person,
    eventId: event,
    source: testSource.slug,
    userPrincipalName: null,
    displayName: null,
    mail: null,
    sealed: event,
    keyId: 'k1',
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    scopes: [],
  })
  return { userId, event }
}

/** A run with the tokens has shown whose they are. */
async function ownsTokens(userId: string): Promise<void> {
  const sql = database.db.$client
  const run = {
    id: randomUUID(),
    source: testSource.slug,
    cause: 'login',
    startedAt: new Date().toISOString(),
  } as const
  await recordRun(database.db, { ...run, userId, outcome: 'failed', errorCode: 'internal' })
  await sql`update sync_runs set outcome = 'unchanged', started_at = clock_timestamp() where id = ${run.id}`
}

describe('a person who is disabled', () => {
  const person = newPerson()

  test('here, is signed out at once and cannot be signed in until that is taken back', async () => {
    const [one, other] = [await cookieFor(person), await cookieFor(person)]
    const userId = await storePerson(database.db, person)
    expect(await setDisabled(database.db, userId, true)).toBe(true)
    for (const cookie of [one, other]) expect(await asked(cookie)).toEqual(signedOut)
    expect(await cookieFor(person)).toBe('')
    expect(await setDisabled(database.db, userId, true)).toBe(false)
    expect(await setDisabled(database.db, userId, false)).toBe(true)
    expect(await setDisabled(database.db, userId, false)).toBe(false)
    expect(await asked(one)).toEqual(signedOut)
    expect(await asked(await cookieFor(person))).toMatchObject(signedIn)
  })

  test('does not count by a session that somebody brought back into the table', async () => {
    const cookie = await cookieFor(person)
    await database.db
      .$client`update users set enabled = false, disabled_by = 'entra' where object_id = ${person.objectId}`
    expect(await asked(cookie)).toEqual(signedOut)
  })

  test.for(['AADSTS50057', 'AADSTS50034'])(
    'at Entra, as a renewal learns from %s, is signed out and comes back with a sign-in',
    async (reason) => {
      const her = newPerson()
      const { userId, event } = await signedInOnce(her)
      const cookie = await cookieFor(her)
      await ownsTokens(userId)
      await refuseTokens(database.db, userId, testSource.slug, randomUUID(), { state: 'denied', reason })
      expect(await asked(cookie)).toMatchObject(signedIn)
      await refuseTokens(database.db, userId, testSource.slug, event, { state: 'denied', reason })
      expect(await asked(cookie)).toEqual(signedOut)
      await signedInOnce(her)
      expect(await asked(cookie)).toEqual(signedOut)
      expect(await asked(await cookieFor(her))).toMatchObject(signedIn)
    },
  )

  test('at Entra and let in again, is signed in even if a run holds their row meanwhile', async () => {
    const her = newPerson()
    const { userId } = await signedInOnce(her)
    await database.db.$client`update users set enabled = false, disabled_by = 'entra' where id = ${userId}`
    const cookie = await cookieFor(her)
    expect(await asked(cookie)).toEqual(signedOut)
    await signedInOnce(her)
    expect(await asked(cookie)).toMatchObject(signedIn)
  })

  test('at Entra, as tokens say of which no run has shown whose they are, is nobody here', async () => {
    const her = newPerson()
    const { userId } = await signedInOnce(her)
    await ownsTokens(userId)
    const { event } = await signedInOnce(her)
    const cookie = await cookieFor(her)
    const refusal = { state: 'denied', reason: 'AADSTS50057' } as const
    await refuseTokens(database.db, userId, testSource.slug, event, refusal)
    expect(await asked(cookie)).toMatchObject(signedIn)
    expect(await findTokens(database.db, userId, testSource.slug)).toMatchObject(refusal)
  })

  test('here and at Entra, is disabled at Entra when the former is taken back', async () => {
    const her = newPerson()
    const { userId, event } = await signedInOnce(her)
    await ownsTokens(userId)
    const refusal = { state: 'denied', reason: 'AADSTS50057' } as const
    await refuseTokens(database.db, userId, testSource.slug, event, refusal)
    await setDisabled(database.db, userId, true)
    expect(await setDisabled(database.db, userId, false)).toBe(true)
    expect(
      await database.db.$client`select enabled, disabled_by as by from users where id = ${userId}`,
    ).toEqual([{ enabled: false, by: 'entra' }])
  })

  test('here, does not find a sign-in again that was under way meanwhile', async () => {
    const her = newPerson()
    const { userId } = await signedInOnce(her)
    await setDisabled(database.db, userId, true)
    const cookie = await cookieFor(newPerson())
    await database.db.$client`update sessions set user_id = ${userId} where id = ${sessionIdOf(cookie)}`
    await setDisabled(database.db, userId, false)
    expect(await asked(cookie)).toEqual(signedOut)
  })

  test('stays signed in where Entra refuses a token for any other reason', async () => {
    const her = newPerson()
    const { userId, event } = await signedInOnce(her)
    const cookie = await cookieFor(her)
    await ownsTokens(userId)
    const refusal = { state: 'denied', reason: 'AADSTS53003' } as const
    await refuseTokens(database.db, userId, testSource.slug, event, refusal)
    expect(await asked(cookie)).toMatchObject(signedIn)
  })

  test('here, stays out when Entra lets them in', async () => {
    const her = newPerson()
    const { userId } = await signedInOnce(her)
    await setDisabled(database.db, userId, true)
    await signedInOnce(her)
    expect(await cookieFor(her)).toBe('')
  })
})
