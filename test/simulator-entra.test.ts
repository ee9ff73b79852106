import { Agent, request } from 'node:https'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import * as openId from 'openid-client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  defaultApp,
  defaultClientId,
  defaultClientSecret,
  startSimulator,
  type Simulator,
} from '../src/simulator/index.ts'
import {
  askToken,
  authorityOf,
  codeFor,
  otherApp,
  redeem,
  redirectUri,
  scope,
  someone,
  tokenError,
} from './support/entra-requests.ts'

let simulator: Simulator

beforeAll(async () => {
  simulator = await startSimulator({ users: 10, apps: [defaultApp, otherApp] })
})
afterEach(() => simulator.reset())
afterAll(() => simulator.close())

/** Discovery by a real client; over https it trusts the simulator's authority alone. */
async function discover(base = simulator.entraUrl) {
  const secure = base.startsWith('https:')
  const execute = secure ? [] : [openId.allowInsecureRequests]
  return openId.discovery(
    new URL(`${base}/${simulator.tenant.id}/v2.0`),
    defaultClientId,
    undefined,
    openId.ClientSecretPost(defaultClientSecret),
    {
      execute,
      ...(secure ? { [openId.customFetch]: trustingFetch } : {}),
    },
  )
}

/** fetch over node:https, because only there a test can name the one certificate authority to trust. */
const trustingFetch = async (
  url: string,
  options: { method: string; headers: Record<string, string>; body?: unknown },
) => {
  const agent = new Agent({ ca: simulator.https?.caCertificate })
  const body = options.body instanceof URLSearchParams ? options.body.toString() : ''
  const headers = { ...options.headers, 'content-length': String(Buffer.byteLength(body)) }
  return new Promise<Response>((resolve, reject) => {
    const sent = request(url, { agent, method: options.method, headers }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('end', () => {
        const kept = {
          'content-type': String(answer.headers['content-type']),
          location: answer.headers.location ?? '',
        }
        resolve(new Response(Buffer.concat(chunks), { status: answer.statusCode ?? 0, headers: kept }))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

async function signIn(config: openId.Configuration) {
  const verifier = openId.randomPKCECodeVerifier()
  const [state, nonce] = [openId.randomState(), openId.randomNonce()]
  const url = openId.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope,
    code_challenge: await openId.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    login_hint: someone(simulator).userPrincipalName,
  })
  const answer =
    url.protocol === 'https:'
      ? await trustingFetch(url.href, { method: 'GET', headers: {} })
      : await fetch(url, { redirect: 'manual' })
  const callback = new URL(answer.headers.get('location') ?? '')
  return openId.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
  })
}

describe('signing in with an OpenID client', () => {
  test.each(['http', 'https'])('ends over %s in an ID token the client has validated', async (scheme) => {
    const base = scheme === 'https' ? (simulator.https?.entraUrl ?? '') : simulator.entraUrl
    const config = await discover(base)
    expect(config.serverMetadata().issuer).toBe(`${base}/${simulator.tenant.id}/v2.0`)
    const tokens = await signIn(config)
    const user = someone(simulator)
    expect(tokens.claims()).toMatchObject({
      iss: `${base}/${simulator.tenant.id}/v2.0`,
      aud: defaultClientId,
      oid: user.id,
      tid: simulator.tenant.id,
      name: user.displayName,
      preferred_username: user.userPrincipalName,
      email: user.mail,
      ver: '2.0',
    })
    expect(tokens.scope).toBe('openid profile email User.Read GroupMember.Read.All')
    expect(tokens.expires_in).toBeGreaterThanOrEqual(3600)
    expect(tokens.expires_in).toBeLessThan(5400)
  })

  test('yields a Graph token of the first version, with scopes and no roles', async () => {
    const { access_token: token } = await signIn(await discover())
    expect(decodeJwt(token)).toMatchObject({
      aud: 'https://graph.microsoft.com',
      iss: `https://sts.windows.net/${simulator.tenant.id}/`,
      ver: '1.0',
      oid: someone(simulator).id,
      scp: 'GroupMember.Read.All User.Read email openid profile',
    })
    expect(decodeProtectedHeader(token)).toHaveProperty('nonce')
    const me = await fetch(`${simulator.graphUrl}/v1.0/me`, { headers: { authorization: `Bearer ${token}` } })
    expect(me.status).toBe(200)
  })

  test('a key set names every key with its issuer, and a rotated key signs what the client then accepts', async () => {
    const keySet = z.object({
      keys: z.array(
        z.object({
          kid: z.string(),
          x5t: z.string(),
          x5c: z.array(z.string()),
          issuer: z.string(),
          kty: z.literal('RSA'),
        }),
      ),
    })
    const read = async () =>
      keySet.parse(await (await fetch(`${authorityOf(simulator)}/discovery/v2.0/keys`)).json()).keys
    const before = await read()
    await simulator.rotateSigningKeys()
    const after = await read()
    expect(after).toHaveLength(before.length + 1)
    expect(after.every(({ issuer }) => issuer === `${simulator.entraUrl}/${simulator.tenant.id}/v2.0`)).toBe(
      true,
    )
    const { id_token: token } = await signIn(await discover())
    expect(decodeProtectedHeader(token ?? '').kid).toBe(after[0]?.kid)
  })

  test('a refresh rotates the token, and the old one goes on working', async () => {
    const config = await discover()
    const { refresh_token: first = '' } = await signIn(config)
    const renewed = await openId.refreshTokenGrant(config, first)
    expect(renewed.refresh_token).not.toBe(first)
    expect(renewed.scope).toBe('openid profile email User.Read GroupMember.Read.All')
    expect((await openId.refreshTokenGrant(config, first)).access_token).toBeTruthy()
  })

  test('an app signs in by itself and gets its roles', async () => {
    const tokens = await openId.clientCredentialsGrant(await discover(), {
      scope: 'https://graph.microsoft.com/.default',
    })
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      roles: ['User.Read.All', 'GroupMember.Read.All'],
      idtyp: 'app',
    })
    expect(tokens.refresh_token).toBeUndefined()
  })

  test('an app signs in for another app API with a token that app can verify', async () => {
    const tokens = await openId.clientCredentialsGrant(await discover(), {
      scope: `api://${otherApp.clientId}/.default`,
    })
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      aud: otherApp.clientId,
      azp: defaultClientId,
      azpacr: '1',
      roles: ['Groups.Read'],
      ver: '2.0',
    })
  })

  test('the verified domain names the tenant too, and any other tenant is refused', async () => {
    const path = '/v2.0/.well-known/openid-configuration'
    expect((await fetch(`${simulator.entraUrl}/${simulator.tenant.domain}${path}`)).status).toBe(200)
    const answer = await fetch(`${simulator.entraUrl}/${crypto.randomUUID()}${path}`)
    expect(answer.status).toBe(400)
    expect(tokenError.parse(await answer.json())).toMatchObject({
      error: 'invalid_tenant',
      error_codes: [90002],
    })
  })

  test('scopes decide which tokens there are', async () => {
    const bare = await askToken(simulator, redeem(await codeFor(simulator, { scope: 'User.Read' })))
    expect(await bare.json()).toStrictEqual({
      token_type: 'Bearer',
      scope: 'User.Read',
      expires_in: expect.any(Number),
      ext_expires_in: expect.any(Number),
      access_token: expect.any(String),
    })
  })

  test('a guest was authenticated elsewhere, and the token says so', async () => {
    const guest = simulator.tenant.addUser({ guest: true })
    const claims = decodeJwt((await simulator.signIn(guest.id)).id_token ?? '')
    expect(claims).toMatchObject({ tid: simulator.tenant.id, oid: guest.id })
    expect(claims['idp']).toMatch(/^https:\/\/sts\.windows\.net\//)
    expect(decodeJwt((await simulator.signIn(someone(simulator).id)).id_token ?? '')).not.toHaveProperty(
      'idp',
    )
  })

  test('without the profile scope an ID token has no oid, and its sub differs from app to app', async () => {
    const claimsFor = async (clientId: string, wanted: string) =>
      decodeJwt((await simulator.signIn(someone(simulator).id, { clientId, scope: wanted })).id_token ?? '')
    const bare = await claimsFor(defaultClientId, 'openid')
    expect(bare).not.toHaveProperty('oid')
    expect((await claimsFor(otherApp.clientId, 'openid')).sub).not.toBe(bare.sub)
    expect((await claimsFor(defaultClientId, scope)).sub).toBe(bare.sub)
  })
})
