import { randomUUID } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SignedInCaller } from '../src/api/callers.ts'
import { givenDatabase } from './support/database.ts'
import { apiKey, openApp } from './support/groups-api.ts'
import { joinByRun, storeGroup, storeUser, type Stored } from './support/memberships.ts'

const database = givenDatabase()

let ada: Stored
let ben: Stored
let team: Stored
let stranger: Stored
let others: Stored
beforeAll(async () => {
  const { db } = database
  ada = await storeUser(db)
  ben = await storeUser(db, { tenantId: ada.tenantId })
  team = await storeGroup(db, { tenantId: ada.tenantId })
  await joinByRun(db, ada.id, [team.id])
  stranger = await storeUser(db, { tenantId: randomUUID() })
  others = await storeGroup(db, { tenantId: stranger.tenantId })
})

const own = 'token-of-ada'
const reader = 'token-of-ada-with-scope'
let verified: string[]
beforeEach(() => void (verified = []))

const caller = () => ({ userId: ada.id, tenantId: ada.tenantId })

/** Takes two tokens of Ada's, one of them with the scope. */
async function verifyCaller(bearer: string): Promise<SignedInCaller | undefined> {
  verified.push(bearer)
  if (bearer === own) return { ...caller(), scopes: ['openid', 'groups.read.all.not'] }
  if (bearer === reader) return { ...caller(), scopes: ['openid', 'groups.read.all'] }
  return undefined
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

describe('who may read what', () => {
  const paths = {
    me: () => '/v1/users/me/groups',
    'their own id': () => `/v1/users/${ada.id}/groups`,
    'their own ids of Entra': () => `/v1/users/${ada.objectId}.${ada.tenantId}/groups`,
    'somebody else': () => `/v1/users/${ben.id}/groups`,
    'somebody else by the ids of Entra': () => `/v1/users/${ben.objectId}.${ben.tenantId}/groups`,
    'nobody stored': () => `/v1/users/${randomUUID()}/groups`,
    'a group': () => `/v1/groups/${team.id}/members`,
    'no group': () => `/v1/groups/${randomUUID()}/members`,
    'somebody of another tenant': () => `/v1/users/${stranger.id}/groups`,
    'a group of another tenant': () => `/v1/groups/${others.objectId}.${others.tenantId}/members`,
  }
  const matrix: [string, string, number[]][] = [
    ['an API key', apiKey, [400, 200, 200, 200, 200, 404, 200, 404, 200, 200]],
    ['a token of one’s own', own, [200, 200, 200, 403, 403, 403, 403, 403, 403, 403]],
    ['a token with the scope', reader, [200, 200, 200, 200, 200, 404, 200, 404, 404, 404]],
    ['another token', 'another-token', Array(10).fill(401)],
  ]
  test.each(matrix)('with %s', async (_what, token, statuses) => {
    const { get } = openApp(database.db, { verifyCaller })
    const told: Record<string, number> = {}
    for (const [what, path] of Object.entries(paths)) told[what] = (await get(path(), bearer(token))).status
    expect(told).toEqual(Object.fromEntries(Object.keys(paths).map((what, at) => [what, statuses[at]])))
  })
})

test('me are the groups of whom the token belongs to, and its next page is mine too', async () => {
  const { get } = openApp(database.db, { verifyCaller })
  await joinByRun(database.db, ada.id, [(await storeGroup(database.db)).id])
  const first = await get('/v1/users/me/groups?limit=1', bearer(own))
  expect(first.body).toMatchObject({ user: ada, next: expect.stringMatching(/^\/v1\/users\/me\/groups\?/) })
  const { next } = first.body as { next: string }
  expect((await get(next, bearer(own))).body).toMatchObject({ user: ada, next: null })
})

test('an API key that asks for me is told that it is nobody', async () => {
  const answer = await openApp(database.db).get('/v1/users/me/groups')
  expect(answer).toMatchObject({
    status: 400,
    body: { problems: [{ field: 'id', message: expect.stringContaining('an API key is nobody') }] },
  })
})

test('what the token is not good for is told with the scope that is missing, whether there is anybody or not', async () => {
  const { get } = openApp(database.db, { verifyCaller })
  const answers = await Promise.all(
    [ben.id, randomUUID()].map((id) => get(`/v1/users/${id}/groups`, bearer(own))),
  )
  for (const { headers, body } of answers) {
    expect(headers.get('www-authenticate')).toBe(
      'Bearer realm="entra-group-sync", error="insufficient_scope", scope="groups.read.all"',
    )
    expect(body).toEqual(answers[0]?.body)
  }
})

test.each([
  ['no header', {}, false],
  ['an empty one', { Authorization: '' }, false],
  ['a key that is no bearer’s', { Authorization: apiKey }, false],
  ['another scheme', { Authorization: `Basic ${apiKey}` }, false],
  ['a bearer of nothing', { Authorization: 'Bearer ' }, false],
  ['two tokens', { Authorization: `Bearer ${apiKey} ${apiKey}` }, false],
  ['half a key', { Authorization: `Bearer ${apiKey.slice(0, -1)}` }, true],
  ['a key and more', { Authorization: `Bearer ${apiKey}x` }, true],
  ['a key in capitals', { Authorization: `Bearer ${apiKey.toUpperCase()}` }, true],
  ['a token of nobody', { Authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' }, true],
])('%s is 401 with a challenge, before anything else is looked at', async (_what, headers, isToken) => {
  const { app } = openApp(database.db, { verifyCaller })
  for (const path of [
    '/v1/users/me/groups',
    '/v1/users/nonsense/groups?x=1',
    `/v1/groups/${team.id}/members`,
  ]) {
    const answer = await app.request(path, { headers: new Headers(headers) })
    const challenge = `Bearer realm="entra-group-sync"${isToken ? ', error="invalid_token"' : ''}`
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, challenge])
    expect(await answer.json()).toEqual({
      error: 'unauthorized',
      message: expect.stringContaining('API_KEYS'),
    })
  }
})

test('the scheme is written in any case, and a key is no token to be verified', async () => {
  const { get } = openApp(database.db, { verifyCaller })
  const answer = await get(`/v1/users/${ada.id}/groups`, { Authorization: `bEARER  ${apiKey} ` })
  expect([answer.status, verified]).toEqual([200, []])
})

test('with neither keys nor tokens of ours nobody may read', async () => {
  const { get } = openApp(database.db, { apiKeys: [] })
  for (const token of [apiKey, '', own]) {
    expect((await get(`/v1/users/${ada.id}/groups`, bearer(token))).status).toBe(401)
  }
})

test.each([
  ['the database', Object.assign(new Error('parameters: secret'), { code: 'ECONNREFUSED' }), 503],
  ['anything else', new Error('secret'), 500],
])('where %s keeps a token from being verified the answer says so', async (_what, error, status) => {
  const { get, logLines } = openApp(database.db, { verifyCaller: () => Promise.reject(error) })
  const answer = await get(`/v1/users/${ada.id}/groups`, bearer(own))
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([status, status === 503 ? '5' : null])
  expect(answer.text + logLines.join()).not.toContain('secret')
})
