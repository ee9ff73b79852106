import { Hono } from 'hono'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { expect, test } from 'vitest'
import { insertSigningKey, listSigningKeys, replaceSigningKeys } from '../db/signing-keys.ts'
import { keyRhythm } from '../src/issuer/key-order.ts'
import { newSigningKey } from '../src/issuer/private-keys.ts'
import { createSeal } from '../src/sealing.ts'
import { createBrowser } from './support/browser.ts'
import { application, applicationSecret, apiKey, daemonApp, givenExchange } from './support/exchange-world.ts'
import { runCommand } from './support/process.ts'
import { loginOf } from './support/sign-in-flow.ts'

const { given, login, personIn, storedGroups } = givenExchange()

type Exchange = Awaited<ReturnType<typeof given>>

/** Moves the clock of the keys, and has the gateway read them anew. */
async function later({ world }: Exchange, seconds: number) {
  await world.db.$client`
    update signing_keys set signs_from = signs_from - ${seconds} * interval '1 second',
      published_until = published_until - ${seconds} * interval '1 second'`
  await world.restartGateway()
}

/** Has a key that signs at once follow the newest. */
async function overtake({ world }: Exchange, after: string | undefined) {
  const key = await newSigningKey(createSeal(world.config.tokenKeys))
  expect(await insertSigningKey(world.db, key, { after, beginsInSeconds: 0, keepSeconds: 60 })).toBe(true)
}

const kids = async ({ url }: Exchange): Promise<string[]> => {
  const answer = await fetch(`${url}/application/o/jwks/`, { headers: { connection: 'close' } })
  const { keys }: { keys: { kid: string; d?: string }[] } = JSON.parse(await answer.text())
  expect(keys.every((key) => key.d === undefined)).toBe(true)
  return keys.map(({ kid }) => kid)
}

test('a stock client finds everything, gets a token with Entra’s as its proof, and asks about it', async () => {
  const { entraToken, url } = await given()
  const assertion = await entraToken()
  const asDaemon: client.ClientAuth = (_server, metadata, body) => {
    body.set('client_id', metadata.client_id)
    body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    body.set('client_assertion', assertion)
  }
  const issuer = new URL(`${url}/application/o/`)
  const options = { execute: [client.allowInsecureRequests] }
  const daemon = await client.discovery(issuer, application, undefined, asDaemon, options)
  const tokens = await client.clientCredentialsGrant(daemon, { scope: 'groups' })
  expect(tokens).toMatchObject({ token_type: 'bearer', expires_in: 600, scope: 'groups' })
  for (const auth of [
    client.ClientSecretBasic(applicationSecret),
    client.ClientSecretPost(applicationSecret),
  ]) {
    const orders = await client.discovery(issuer, application, undefined, auth, options)
    expect(await client.tokenIntrospection(orders, tokens.access_token)).toMatchObject({
      active: true,
      aud: application,
      azp: daemonApp.clientId,
      group_names: expect.arrayContaining(['Orders.Read']),
    })
  }
  const exchanger = await client.discovery(issuer, application, undefined, client.None(), options)
  const exchanged = await client.genericGrantRequest(
    exchanger,
    'urn:ietf:params:oauth:grant-type:token-exchange',
    { subject_token: assertion, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
  )
  expect(exchanged.access_token).not.toBe(tokens.access_token)
  const oauth = await client.discovery(issuer, application, undefined, client.None(), {
    ...options,
    algorithm: 'oauth2',
  })
  expect(oauth.serverMetadata().token_endpoint).toBe(daemon.serverMetadata().token_endpoint)
})

test('whoever asks about a token may send the secret as it is or encoded, and is challenged by the scheme it tried', async () => {
  const secret = 'a+secret/of%20all-the-orders=='
  const { post, exchanged, asAssertion, entraToken } = await given({
    APPLICATIONS: `${application}=${secret}`,
  })
  const { access_token: token } = await exchanged(asAssertion(await entraToken()))
  const ask = async (credentials: string) =>
    await post(
      '/application/o/introspect/',
      { token },
      { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
    )
  for (const sent of [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ secret }).toString().slice(7),
  ])
    expect(await (await ask(`${application}:${sent}`)).json()).toMatchObject({ active: true })
  const refused = await ask(`${application}:${secret.slice(1)}`)
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
    401,
    expect.stringMatching(/^Basic realm=/),
  ])
})

test('tokens verify over a rotation of keys, with a key set that is read as any client reads it', async () => {
  const exchange = await given()
  const { entraToken, asAssertion, exchanged, url } = exchange
  const keySet = createRemoteJWKSet(new URL(`${url}/application/o/jwks/`), { cooldownDuration: 0 })
  const rules = { issuer: `${url}/application/o/`, audience: application, algorithms: ['ES256'] }
  const token = async () => (await exchanged(asAssertion(await entraToken()))).access_token
  const verify = async (text: string) => (await jwtVerify(text, keySet, rules)).protectedHeader.kid
  const old = await token()
  const first = await verify(old)
  expect(await kids(exchange)).toEqual([first])
  await later(exchange, keyRhythm.signsFor - keyRhythm.publishedBefore)
  // The next one is published before it signs.
  const [next, ...rest] = await kids(exchange)
  expect(rest).toEqual([first])
  expect(await verify(await token())).toBe(first)
  await later(exchange, keyRhythm.publishedBefore)
  expect(await verify(await token())).toBe(next)
  expect(await verify(old)).toBe(first)
  await later(exchange, keyRhythm.publishedAfter)
  expect(await kids(exchange)).toEqual([next])
  await keySet.reload()
  await expect(verify(old)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

test('gateways that start at once make one key, and a withdrawn one is good for nothing', async () => {
  const exchange = await given()
  const { entraToken, asAssertion, exchanged, post, world } = exchange
  const seal = createSeal(world.config.tokenKeys)
  const add = async () =>
    await insertSigningKey(world.db, await newSigningKey(seal), {
      after: undefined,
      beginsInSeconds: 0,
      keepSeconds: 60,
    })
  const added = await Promise.all([add(), add(), add()])
  expect(added.filter(Boolean)).toHaveLength(1)
  const { access_token: token } = await exchanged(asAssertion(await entraToken()))
  const asked = async () =>
    await (await post('/application/o/introspect/', { token }, { authorization: `Bearer ${apiKey}` })).json()
  expect(await asked()).toMatchObject({ active: true })
  const [row] = await listSigningKeys(world.db)
  expect(decodeProtectedHeader(token).kid).toBe(row?.kid)
  await replaceSigningKeys(world.db, await newSigningKey(seal))
  await world.restartGateway()
  expect(await asked()).toEqual({ active: false })
  expect(await kids(exchange)).not.toContain(row?.kid)
})

test('a key that does not open any more is followed by another, and what it signed stays good', async () => {
  const exchange = await given()
  const { entraToken, asAssertion, exchanged, world } = exchange
  const before = await exchanged(asAssertion(await entraToken()))
  await world.db.$client`update signing_keys set sealed = 'nonsense', key_id = 'lost'`
  await world.restartGateway()
  const after = await exchanged(asAssertion(await entraToken()))
  const [old, anew] = [before, after].map(({ access_token: token }) => decodeProtectedHeader(token).kid)
  expect(anew).not.toBe(old)
  expect(await kids(exchange)).toEqual([anew, old])
  expect(world.logged.join('')).toMatch(/does not open with TOKEN_ENCRYPTION_KEYS/)
})

test('an application is told of tokens that are for it, and of what holds by now', async () => {
  const { entraToken, asAssertion, exchanged, post, world } = await given()
  const { access_token: token } = await exchanged(asAssertion(await entraToken()))
  const secret = { client_id: application, client_secret: applicationSecret }
  const told = async (form: Record<string, string>, headers: Record<string, string> = {}) => {
    const answer = await post('/application/o/introspect/', { token, ...form }, headers)
    return [answer.status, JSON.parse(await answer.text())]
  }
  expect(await told(secret)).toMatchObject([200, { active: true, groups: expect.any(Array) }])
  expect(await told({ ...secret, token: `${token}x` })).toEqual([200, { active: false }])
  expect(await told({ ...secret, token: await entraToken() })).toEqual([200, { active: false }])
  const other = await exchanged(asAssertion(await entraToken(), { client_id: 'billing' }))
  expect(await told({ ...secret, token: other.access_token })).toEqual([200, { active: false }])
  for (const wrong of [
    { client_id: application, client_secret: 'wrong' },
    { client_id: 'billing', client_secret: '' },
    { client_id: 'billing' },
    {},
  ])
    expect(await told(wrong)).toMatchObject([401, { error: 'invalid_client' }])
  expect(await told({}, { authorization: 'Bearer wrong' })).toMatchObject([401, { error: 'invalid_client' }])
  expect(await told({}, { authorization: 'Basic %%%' })).toMatchObject([401, { error: 'invalid_client' }])
  expect(await told({ ...secret, token: '' })).toMatchObject([400, { error: 'invalid_request' }])
  await world.db.$client`update users set enabled = false, disabled_by = 'local'`
  expect(await told(secret)).toEqual([200, { active: false }])
})

test('a local token opens the groups of its own, and with the scope for it those of everybody', async () => {
  const { entraToken, asAssertion, exchanged, url, world } = await given()
  await world.startWorkers()
  const person = personIn(2)
  await login(person)
  const read = async (path: string, token: string) => {
    const answer = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })
    return { status: answer.status, body: JSON.parse(await answer.text()) }
  }
  const { access_token: token, claims } = await exchanged(asAssertion(await entraToken()))
  const own = await read('/v1/users/me/groups', token)
  const names = own.body.groups.map(({ displayName }: { displayName: string }) => displayName)
  expect([own.status, own.body.user.id, names.toSorted()]).toEqual([
    200,
    claims.sub,
    ['Orders.Read', 'Orders.Write'],
  ])
  const path = `/v1/users/${person}.${world.simulator.tenant.id}/groups`
  expect((await read(path, token)).status).toBe(403)
  const wide = await exchanged(
    asAssertion(await entraToken({ roles: ['groups.read.all'] }), { scope: 'groups.read.all' }),
  )
  const theirs = await read(path, wide.access_token)
  expect(theirs.body.groups.map(({ objectId }: { objectId: string }) => objectId).toSorted()).toEqual(
    await storedGroups(person),
  )
  expect((await read(path, `${token}x`)).status).toBe(401)
  await world.db.$client`update users set enabled = false, disabled_by = 'local' where kind = 'service'`
  expect((await read('/v1/users/me/groups', token)).status).toBe(401)
})

test('whoever is signed in gets a token for an application, which is good for as long as they are', async () => {
  const { world, url, post } = await given()
  await world.startWorkers()
  const person = world.simulator.tenant.user(personIn(1))
  const browser = createBrowser(new Hono(), 'http://unused.invalid')
  await browser.open(loginOf(url, person.userPrincipalName))
  const ask = async (form: string, headers: Record<string, string> = { origin: url }) =>
    await browser.fetchOnce(`${url}/session/token`, {
      method: 'POST',
      body: form,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    })
  const answer = await ask(`application=${application}`)
  const { access_token: token, scope } = JSON.parse(await answer.text())
  expect([answer.status, scope, decodeJwt(token)]).toMatchObject([
    200,
    'groups',
    { aud: application, oid: person.id, idtyp: 'user' },
  ])
  expect((await ask('application=payroll')).status).toBe(400)
  expect((await ask('')).status).toBe(400)
  expect((await ask(`application=${application}`, { origin: 'https://evil.example' })).status).toBe(403)
  const nobody = await post('/session/token', { application }, { origin: url })
  expect([nobody.status, await nobody.json()]).toMatchObject([401, { error: 'unauthorized' }])
  const introspect = async () =>
    await (await post('/application/o/introspect/', { token }, { authorization: `Bearer ${apiKey}` })).json()
  expect(await introspect()).toMatchObject({ active: true, oid: person.id })
  const { db } = world
  const seen = async () => await db.$client<{ seen_at: string }[]>`select seen_at from sessions`
  await db.$client`update sessions set seen_at = seen_at - interval '5 minutes'`
  const before = await seen()
  expect(await introspect()).toMatchObject({ active: true })
  expect(await seen()).toEqual(before)
  await db.$client`update sessions set seen_at = seen_at - interval '1 year'`
  expect(await introspect()).toEqual({ active: false })
  await db.$client`update sessions set seen_at = clock_timestamp()`
  expect(await introspect()).toMatchObject({ active: true })
  await browser.fetchOnce(`${url}/sign-out`, { method: 'POST', headers: { origin: url } })
  expect(await introspect()).toEqual({ active: false })
})

test(
  'the next signing key may be made by hand, and a leaked one withdrawn',
  { timeout: 60_000 },
  async () => {
    const exchange = await given()
    const { entraToken, asAssertion, exchanged, world } = exchange
    await exchanged(asAssertion(await entraToken()))
    const [first] = await kids(exchange)
    const command = async (...options: string[]) => {
      const running = runCommand(['keys', 'replace-signing', ...options], world.environment)
      expect(await running.ended, running.printed()).toBe(0)
      return running.printed()
    }
    expect(await command()).toMatch(/signs in an hour/)
    await world.restartGateway()
    const [next, ...before] = await kids(exchange)
    expect(before).toEqual([first])
    // Which now begins last without being the newest.
    await overtake(exchange, next)
    expect(await command('--now')).toMatch(/refuse within half a minute[^]*five minutes/)
    await world.restartGateway()
    const left = await kids(exchange)
    expect(left).toHaveLength(1)
    expect([first, next]).not.toContain(left[0])
  },
)
