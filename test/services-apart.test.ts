import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import { listNamed, setDisabled } from '../db/admissions.ts'
import { freezeUser, findTokensGone } from '../db/absent.ts'
import { endHints, hintAgain, hintMembers, hintUsers } from '../db/hints.ts'
import { findPeople } from '../db/resync-people.ts'
import { countDue, startResync } from '../db/resyncs.ts'
import { stepResync } from '../db/resync-steps.ts'
import { openLoginProducer } from '../src/producer.ts'
import { apiKey, daemonApp, givenExchange } from './support/exchange-world.ts'

const { given } = givenExchange()

const tokens = { accessToken: 'opaque', expiresAt: '2030-01-02T03:04:05Z', scopes: ['User.Read'] }

/** A daemon that has exchanged a token, and its ids in Entra. */
async function givenService() {
  const exchange = await given({ EXCHANGE: 'any', EXCHANGE_CALLERS: 'any' })
  const token = await exchange.entraToken()
  await exchange.exchanged(exchange.asAssertion(token))
  const { tid, oid } = decodeJwt<{ tid: string; oid: string }>(token)
  return { ...exchange, token, tenantId: tid, objectId: oid, sql: exchange.world.db.$client }
}

test('a sign-in of a service is refused and leaves it as it was, by whichever way it is reported', async () => {
  const { world, url, tenantId, objectId, sql } = await givenService()
  const stored = async () => [
    ...(await sql`select * from users`),
    ...(await sql`select from delegated_tokens`),
  ]
  const before = await stored()
  const event = { tenantId, objectId, userPrincipalName: 'mallory@contoso.example', tokens }
  const answer = await fetch(`${url}/v1/login-events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(event),
  })
  const problem = {
    field: 'objectId',
    message: expect.stringMatching(/^must be that of a person: a service/),
  }
  expect([answer.status, await answer.json()]).toEqual([
    400,
    { error: 'invalid_request', problems: [problem] },
  ])
  const { databaseUrl } = world.config
  const producer = await openLoginProducer({ databaseUrl, tokenKeys: world.config.tokenKeys })
  try {
    await expect(producer.loginSucceeded(event)).rejects.toMatchObject({
      code: 'invalid_login_event',
      message: expect.stringMatching(/objectId must be that of a person/),
    })
  } finally {
    await producer.close()
  }
  expect(await stored()).toEqual(before)
  expect(await sql`select from login_events`).toHaveLength(0)
  expect(before).toMatchObject([{ kind: 'service', user_principal_name: null, app_id: daemonApp.clientId }])
})

test('an app whose object id was reported as a person’s is told so, and a person with a service’s likewise', async () => {
  const { sql, token, asAssertion, asSubject, world, entraToken } = await givenService()
  await sql`update users set kind = 'person', app_id = null`
  const refused = await asAssertion(token)
  const body = (await refused.json()) as { error_description: string }
  expect([refused.status, body]).toMatchObject([400, { error: 'invalid_grant' }])
  expect(body.error_description).toMatch(/a person has its object id here: a sign-in was reported with it/)
  await sql`update users set kind = 'service'`
  const claims = (told: Record<string, unknown>) => ({ ...told, idtyp: undefined, scp: 'access_as_user' })
  const other = await asSubject(await entraToken({ fault: { claims } }))
  expect([other.status, await other.json()]).toMatchObject([
    400,
    {
      error: 'invalid_grant',
      error_description: expect.stringMatching(/a service has their object id here/),
    },
  ])
  expect(world.logged.join('')).toMatch(/"check":"other_kind"/)
})

test('a service is taken by no resync, by no hint and by no rule about the absent, whatever tokens it has', async () => {
  const { world, sql, tenantId, objectId } = await givenService()
  const { db } = world
  const source = world.source.slug
  const [service] = await sql<{ id: string }[]>`
    update users set last_synced_at = now() - interval '2 days', last_login_at = now() - interval '99 days',
      user_principal_name = 'daemon' returning id`
  const userId = service?.id ?? ''
  await sql`
    insert into delegated_tokens (user_id, source, sealed, key_id, expires_at, scopes, state, reason)
    values (${userId}, ${source}, '', '', now(), '{}', 'needs_login', 'invalid_grant')`
  const asked = { source, cause: 'manual' as const, maxAgeSeconds: 0, spreadSeconds: 0, delaySeconds: 0 }
  const taken = async () => await sql`select from resync_users`

  expect(await countDue(db, source)).toEqual({ due: 0, needsLogin: 0 })
  expect([await findPeople(db, source, objectId), await findPeople(db, source, 'daemon')]).toEqual([[], []])
  const full = await startResync(db, { ...asked, mode: 'full' })
  const joined = await startResync(db, { ...asked, mode: 'full', cause: 'expired' })
  expect([full.resync.due, joined.joined, joined.resync.due]).toEqual([0, true, 0])
  const absent = { policy: 'remove' as const, afterDays: 30 }
  const step = { window: 100, jobSize: 1, needsToken: false, absent }
  await stepResync(db, full.resync.id, step)
  expect(await taken()).toHaveLength(0)

  const delta = await startResync(db, { ...asked, mode: 'delta' })
  const about = { resyncId: delta.resync.id, tenantId, source }
  const groups = await sql<{ objectId: string }[]>`select object_id as "objectId" from groups`
  expect(groups).not.toHaveLength(0)
  expect(await hintUsers(db, about, [objectId])).toBe(0)
  expect(
    await hintMembers(
      db,
      about,
      groups.map((group) => group.objectId),
    ),
  ).toBe(0)
  await sql`insert into delta_hints (source, user_id, told_at, due_at) values (${source}, ${userId}, now(), now())`
  expect(await hintAgain(db, about)).toBe(0)
  await sql`update users set last_synced_at = null`
  await endHints(db, { ...about, requests: 0, resourceUnits: 0 }, [])
  expect(await taken()).toHaveLength(0)

  expect(await findTokensGone(db, { userId, source }, { others: [], ofApps: [] })).toBeUndefined()
  await freezeUser(db, userId)
  expect(await sql`select from users where frozen_at is not null`).toHaveLength(0)
})

test('a service that is disabled by its object id gets no token, and those it has hold no longer', async () => {
  const { world, url, token, objectId, asAssertion, exchanged, post } = await givenService()
  const { access_token: local } = await exchanged(asAssertion(token))
  const key = { authorization: `Bearer ${apiKey}` }
  const isActive = async () =>
    ((await (await post('/application/o/introspect/', { token: local }, key)).json()) as { active: boolean })
      .active
  expect(await isActive()).toBe(true)
  const [service] = await listNamed(world.db, { objectId })
  expect(await setDisabled(world.db, service?.userId ?? '', true)).toBe(true)
  const refused = await asAssertion(token)
  expect([refused.status, await refused.json()]).toMatchObject([400, { error: 'invalid_grant' }])
  expect(await isActive()).toBe(false)
  const told = await fetch(`${url}/v1/users/${service?.userId}/groups`, { headers: key })
  expect(await told.json()).toMatchObject({ user: { kind: 'service', enabled: false } })
})
