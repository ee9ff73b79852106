import { randomUUID } from 'node:crypto'
import { Validator } from '@seriousme/openapi-schema-validator'
import { beforeAll, describe, expect, test } from 'vitest'
import { registerSubscription } from '../db/subscriptions.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, newKey, publicUrl, testGateway, testTenantId } from './support/gateway.ts'
import { apiKey } from './support/groups-api.ts'
import { issuerOfOneKey } from './support/issuer-parts.ts'
import { joinByRun, storeGroup, storeUser, type Stored } from './support/memberships.ts'
import { wrongIn, type Document, type Schema } from './support/openapi-document.ts'
import { startSession } from './support/sessions.ts'

const database = givenDatabase()
const dead = deadDatabase()
const sessionKeys = [newKey('k1')]

let ada: Stored
let team: Stored
let cookie: string
let document: Document
let issuer: Awaited<ReturnType<typeof issuerOfOneKey>>
let entraToken: string
let localToken: string

/** Takes a token of Ada's that is good for herself only. */
const verifyCaller = async (bearer: string) =>
  bearer === 'token-of-ada' ? { userId: ada.id, tenantId: ada.tenantId, scopes: [] } : undefined

const gateway = (db: typeof dead) =>
  testGateway({ db, sessionKeys, verifyCaller, issuer: issuer.partsFor(db) }).app

beforeAll(async () => {
  const { db } = database
  ada = await storeUser(db, { tenantId: testTenantId, displayName: 'Ada' })
  team = await storeGroup(db, { tenantId: testTenantId })
  await joinByRun(db, ada.id, [team.id, (await storeGroup(db)).id])
  await joinByRun(db, (await storeUser(db)).id, [team.id])
  cookie = await startSession(db, ada, { sessionKeys })
  await registerSubscription(db, { source: 'entra-id', tenantId: testTenantId, url: 'https://here.example' })
  issuer = await issuerOfOneKey(apiKey)
  entraToken = await issuer.entraToken(ada.objectId)
  const given = await gateway(db).request('/application/o/token/', {
    method: 'POST',
    body: new URLSearchParams(assertion(entraToken)),
  })
  localToken = ((await given.json()) as { access_token: string }).access_token
  document = (await (await gateway(db).request('/openapi.json')).json()) as Document
})

const operations = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  )

const wrongWith = (schema: Schema, value: unknown) => wrongIn(document, schema, value)

const assertion = (token: string) => ({
  grant_type: 'client_credentials',
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: token,
  client_id: 'orders',
})

const key = { authorization: `Bearer ${apiKey}` }
const own = { authorization: 'Bearer token-of-ada' }
const json = { ...key, 'content-type': 'application/json' }
type Asked = {
  path: () => string
  headers?: () => Record<string, string>
  body?: string | (() => Record<string, string>)
  down?: boolean
}

const exampleOf = (path: string) =>
  JSON.stringify(document.paths[path]?.post?.requestBody?.content['application/json']?.example)

function listRequests(path: string, id: () => string): Record<string, Asked> {
  const to = (one: string, query = '') => path.replace('{id}', one) + query
  const tagged: Record<string, string> = { ...key, 'if-none-match': '*' }
  return {
    200: { path: () => to(id(), '?limit=1'), headers: () => key },
    304: { path: () => to(id()), headers: () => tagged },
    400: { path: () => to('nonsense', '?limit=0&x=1'), headers: () => key },
    401: { path: () => to(id()) },
    403: { path: () => to(randomUUID()), headers: () => own },
    404: { path: () => to(randomUUID()), headers: () => key },
    503: { path: () => to(id()), headers: () => key, down: true },
  }
}

function notificationRequests(path: string): Record<string, Asked> {
  const to = () => path.replace('{source}', 'entra-id')
  const headers = () => ({ 'content-type': 'application/json' })
  return {
    200: { path: () => `${to()}?validationToken=Validation%3A+it+is+us`, headers },
    202: { path: to, headers, body: 'example' },
    400: { path: to, headers, body: 'nonsense' },
    413: { path: to, headers, body: 'x'.repeat(1024 * 1024 + 1) },
    503: { path: to, headers, body: 'example', down: true },
  }
}

const browser = () => ({ origin: publicUrl, cookie })

/** For every operation and status of the document the request that is answered so. */
const requests: Record<string, Record<string, Asked>> = {
  'get /v1/users/{id}/groups': listRequests('/v1/users/{id}/groups', () => ada.id),
  'get /v1/groups/{id}/members': listRequests('/v1/groups/{id}/members', () => team.id),
  'post /v1/login-events': {
    200: { path: () => '/v1/login-events', headers: () => json, body: 'example' },
    202: { path: () => '/v1/login-events', headers: () => json, body: 'example without a wait' },
    400: { path: () => '/v1/login-events', headers: () => json, body: '{}' },
    401: { path: () => '/v1/login-events', body: '{}' },
    413: { path: () => '/v1/login-events', headers: () => json, body: 'x'.repeat(64 * 1024 + 1) },
    415: { path: () => '/v1/login-events', headers: () => key, body: '{}' },
    503: { path: () => '/v1/login-events', headers: () => json, body: 'example', down: true },
  },
  'post /v1/notifications/{source}': notificationRequests('/v1/notifications/{source}'),
  'post /v1/notifications/{source}/lifecycle': notificationRequests('/v1/notifications/{source}/lifecycle'),
  'get /session': {
    200: { path: () => '/session', headers: () => ({ cookie }) },
    503: { path: () => '/session', headers: () => ({ cookie }), down: true },
  },
  'post /application/o/token/': {
    200: { path: () => '/application/o/token/', body: () => assertion(entraToken) },
    400: { path: () => '/application/o/token/', body: () => ({ client_id: 'orders' }) },
    401: { path: () => '/application/o/token/', body: () => assertion('nonsense') },
    503: { path: () => '/application/o/token/', body: () => assertion(entraToken), down: true },
  },
  'post /application/o/introspect/': {
    200: {
      path: () => '/application/o/introspect/',
      headers: () => key,
      body: () => ({ token: localToken }),
    },
    400: { path: () => '/application/o/introspect/', headers: () => key, body: () => ({}) },
    401: { path: () => '/application/o/introspect/', body: () => ({ token: localToken }) },
    503: {
      path: () => '/application/o/introspect/',
      headers: () => key,
      body: () => ({ token: localToken }),
      down: true,
    },
  },
  'get /application/o/jwks/': {
    200: { path: () => '/application/o/jwks/' },
    503: { path: () => '/application/o/jwks/', down: true },
  },
  'get /application/o/.well-known/openid-configuration': {
    200: { path: () => '/application/o/.well-known/openid-configuration' },
  },
  'get /.well-known/oauth-authorization-server/application/o': {
    200: { path: () => '/.well-known/oauth-authorization-server/application/o' },
  },
  'post /session/token': {
    200: { path: () => '/session/token', headers: () => browser(), body: () => ({ application: 'orders' }) },
    400: { path: () => '/session/token', headers: () => browser(), body: () => ({}) },
    401: {
      path: () => '/session/token',
      headers: () => ({ origin: publicUrl }),
      body: () => ({ application: 'orders' }),
    },
    403: {
      path: () => '/session/token',
      headers: () => ({ ...browser(), origin: 'https://evil.example' }),
      body: () => ({ application: 'orders' }),
    },
    503: {
      path: () => '/session/token',
      headers: () => browser(),
      body: () => ({ application: 'orders' }),
      down: true,
    },
  },
  'get /healthz': { 200: { path: () => '/healthz' } },
  'get /readyz': { 200: { path: () => '/readyz' }, 503: { path: () => '/readyz', down: true } },
  'get /openapi.json': { 200: { path: () => '/openapi.json' } },
}

function bodyOf(path: string, body: Asked['body']): string | URLSearchParams | undefined {
  if (typeof body === 'function') return new URLSearchParams(body())
  if (body === 'example') return exampleOf(path)
  if (body === 'example without a wait') {
    const { waitUpToMs: _, ...rest } = JSON.parse(exampleOf(path)) as Record<string, unknown>
    return JSON.stringify(rest)
  }
  return body
}

async function send(
  method: string,
  path: string,
  { path: to, headers, body, down }: Asked,
): Promise<Response> {
  const init = { method: method.toUpperCase(), headers: headers?.() ?? {}, body: bodyOf(path, body) ?? null }
  return await gateway(down ? dead : database.db).request(to(), init)
}

test('is a valid document of OpenAPI 3.1, of this gateway', async () => {
  const { valid, errors } = await new Validator().validate({ ...structuredClone(document) })
  expect([valid, errors]).toEqual([true, undefined])
  expect(document.openapi).toMatch(/^3\.1\./)
  expect(document.servers).toEqual([{ url: publicUrl }])
  const ids = operations().map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
})

test('names every route for programs that the gateway has, and no other', () => {
  const told = operations().map(({ path, method }) => `${method} ${path}`)
  const routes = gateway(database.db)
    .routes.filter(({ method }) => method !== 'ALL')
    .filter(({ path }) =>
      /^\/(v1|session|application|\.well-known|healthz|readyz|openapi\.json)(\/|$)/.test(path),
    )
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
  expect(told.toSorted()).toEqual([...new Set(routes)].toSorted())
})

test('is asked in this test for every status of every route', () => {
  const told = operations().map(({ path, method, operation }) => [
    `${method} ${path}`,
    Object.keys(operation.responses).filter((status) => status !== 'default'),
  ])
  const asked = Object.entries(requests).map(([route, one]) => [route, Object.keys(one)])
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(asked))
})

describe('tells of each answer what it is', () => {
  const all = Object.entries(requests).flatMap(([route, one]) =>
    Object.entries(one).map(([status, asked]) => [route, status, asked] as const),
  )
  test.each(all)('%s: %s', async (route, status, asked) => {
    const [method = '', path = ''] = route.split(' ')
    const answer = await send(method, path, asked)
    const text = await answer.text()
    expect([answer.status, text]).toEqual([Number(status), text])
    const told = document.paths[path]?.[method]?.responses[status]
    for (const name of Object.keys(told?.headers ?? {}))
      expect([name, answer.headers.has(name)]).toEqual([name, true])
    const type = answer.headers.get('content-type')?.split(';')[0]
    expect(Object.keys(told?.content ?? {})).toEqual(type === undefined ? [] : [type])
    const isJson = type === 'application/json'
    const schema = told?.content?.[type ?? '']?.schema ?? {}
    expect(type === undefined ? null : wrongWith(schema, isJson ? JSON.parse(text) : text)).toBeNull()
  })

  test('a session that there is has its schema too', async () => {
    const answer: unknown = await (
      await gateway(database.db).request('/session', { headers: { cookie } })
    ).json()
    expect(answer).toMatchObject({ signedIn: true, groups: [{}, {}] })
    expect(wrongWith({ $ref: '#/components/schemas/Session' }, { signedIn: false })).toBeNull()
    expect(wrongWith({ $ref: '#/components/schemas/Session' }, { signedIn: true })).not.toBeNull()
  })

  test('anything else has the shape of an error too', async () => {
    const { app } = testGateway({ db: database.db })
    app.get('/v1/broken', () => Promise.reject(new Error('secret')))
    for (const [path, method] of [['/v1/broken'], ['/v1/nothing'], ['/v1/login-events', 'PUT']] as const) {
      const answer = await app.request(path, { method: method ?? 'GET', headers: key })
      expect(wrongWith({ $ref: '#/components/schemas/Error' }, await answer.json())).toBeNull()
    }
  })
})

test('has examples that fit their schemas, and no secret in them', () => {
  const media = operations().flatMap(({ operation }) => [
    ...Object.values(operation.requestBody?.content ?? {}),
    ...Object.values(operation.responses).flatMap(({ content }) => Object.values(content ?? {})),
  ])
  const examples = media.filter(({ example }) => example !== undefined)
  expect(examples.length).toBeGreaterThan(20)
  for (const { schema, example } of examples)
    expect([example, wrongWith(schema, example)]).toEqual([example, null])
  expect(JSON.stringify(examples)).not.toMatch(/eyJ|Bearer|[A-Za-z0-9+/_-]{40,}/)
})

test('takes the parameters that the routes take', () => {
  const { parameters = [] } = document.paths['/v1/users/{id}/groups']!.get!
  const schemas = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]))
  expect(Object.keys(schemas)).toEqual(['id', 'limit', 'after', 'asOf'])
  expect(schemas.limit).toMatchObject({ type: 'integer', minimum: 1, maximum: 1000, default: 100 })
  for (const id of ['me', ada.id, ada.id.toUpperCase(), `${ada.objectId}.${ada.tenantId}`])
    expect(wrongWith(schemas.id!, id)).toBeNull()
  for (const id of ['you', 'me.me', `${ada.id}.`, `x${ada.id}`])
    expect(wrongWith(schemas.id!, id)).not.toBeNull()
  expect(wrongWith(schemas.asOf!, '2026-05-01T08:00:00.123456+02:00')).toBeNull()
})

test('names the session cookie that the gateway really sets', async () => {
  expect(document.components.securitySchemes.session?.name).toBe(cookie.split('=')[0])
  const secure = testGateway({ db: database.db, publicUrl: 'https://groups.example.com' }).app
  const other = (await (await secure.request('/openapi.json')).json()) as Document
  expect(other.components.securitySchemes.session?.name).toBe('__Host-egs_session')
})

test('is read by anybody and kept for a while', async () => {
  const answer = await gateway(dead).request('/openapi.json')
  expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, 'public, max-age=300'])
})
