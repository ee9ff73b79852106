import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { refuseTokens } from '../db/delegated-tokens.ts'
import { insertLoginEvent } from '../db/login-events.ts'
import { givenDatabase } from './support/database.ts'
import { newKey, testGateway, testSource } from './support/gateway.ts'
import { newPerson, startSession, type Person } from './support/sessions.ts'

const key = newKey('current')
const database = givenDatabase()

const cookieFor = async (person: Person) => await startSession(database.db, person, { sessionKeys: [key] })

async function asked(cookie: string, parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const { app } = testGateway({ db: database.db, sessionKeys: [key], ...parts })
  return (await (await app.request('/session', { headers: { cookie } })).json()) as { signedIn: boolean }
}

const signedIn = { signedIn: true }
const signedOut = { signedIn: false }

describe('a session whose source', () => {
  test.for([
    ['is disabled', [{ ...testSource, enabled: false }]],
    ['is gone', [{ ...testSource, slug: 'another' }]],
    ['takes another tenant now', [{ ...testSource, tenant: { kind: 'single', id: randomUUID() } }]],
    ['takes the tenant no longer', [{ ...testSource, tenant: { kind: 'common', allowed: [randomUUID()] } }]],
  ] as const)('%s does not count', async ([, configs]) => {
    const cookie = await cookieFor(newPerson())
    expect(await asked(cookie)).toMatchObject(signedIn)
    expect(await asked(cookie, { configs })).toEqual(signedOut)
  })
})

test('a refusal that a sign-in overtakes while it waits for it disables nobody', async () => {
  const person = newPerson()
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
  const cookie = await cookieFor(person)
  const sql = database.db.$client
  let refusing: Promise<void> | undefined
  await sql.begin(async (signIn) => {
    // As a sign-in does: the person's row, then the tokens'.
    await signIn`update users set last_login_at = now() where id = ${userId}`
    const refusal = { state: 'denied', reason: 'AADSTS50057' } as const
    refusing = refuseTokens(database.db, userId, testSource.slug, event, refusal)
    while ((await sql`select from pg_locks where not granted`).length === 0);
    await signIn`update delegated_tokens set version = ${randomUUID()} where user_id = ${userId}`
  })
  await refusing
  expect(await sql`select enabled, disabled_by from users where id = ${userId}`).toEqual([
    { enabled: true, disabled_by: null },
  ])
  expect(await asked(cookie)).toMatchObject(signedIn)
})

test('a session that is used lives on, however short its idle time is', async () => {
  const cookie = await cookieFor(newPerson())
  const short = { session: { idleSeconds: 60, lifeSeconds: 3600 } }
  for (let request = 0; request < 4; request += 1) {
    await database.db.$client`update sessions set seen_at = seen_at - interval '20 seconds'`
    expect(await asked(cookie, short)).toMatchObject(signedIn)
  }
})
