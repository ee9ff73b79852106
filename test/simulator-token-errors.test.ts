import * as openId from 'openid-client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, startSimulator, type Simulator } from '../src/simulator/index.ts'
import {
  askToken,
  codeFor,
  credentials,
  invalid,
  otherApp,
  redeem,
  redirectUri,
  refresh,
  refusedToken,
  someone,
  tokenError,
} from './support/entra-requests.ts'

const publicApp = {
  ...defaultApp,
  clientId: '0c7e3b52-6d1f-4c58-8f0a-91b2a3c4d5e6',
  redirectUris: [redirectUri],
}

let simulator: Simulator
let now = Date.now()

beforeAll(async () => {
  const { clientSecret: _, ...withoutSecret } = publicApp
  simulator = await startSimulator({ users: 10, now: () => now, apps: [defaultApp, otherApp, withoutSecret] })
})
afterEach(() => {
  simulator.reset()
  now = Date.now()
})
afterAll(() => simulator.close())

const refused = (parameters: Record<string, string>, headers?: Record<string, string>) =>
  refusedToken(simulator, parameters, headers)
const refreshTokenOf = async (id: string) => (await simulator.signIn(id)).refresh_token ?? ''

describe('the token endpoint refuses', () => {
  test('a code used twice, unknown, too old, of another app, or for another address', async () => {
    const code = await codeFor(simulator)
    expect((await askToken(simulator, redeem(code))).status).toBe(200)
    expect(await refused(redeem(code))).toStrictEqual(invalid(54005))
    expect(await refused(redeem('1.unknown'))).toStrictEqual(invalid(70000))
    const foreign = { client_id: otherApp.clientId, client_secret: otherApp.clientSecret }
    expect(await refused(redeem(await codeFor(simulator), foreign))).toStrictEqual(invalid(70000))
    const elsewhere = { redirect_uri: redirectUri.replace('entra-id', 'other') }
    expect(await refused(redeem(await codeFor(simulator), elsewhere))).toStrictEqual(
      invalid(50011, 'invalid_request'),
    )
    const late = await codeFor(simulator)
    now += 10 * 60 * 1000
    expect(await refused(redeem(late))).toStrictEqual(invalid(70008))
  })

  test('a code whose verifier is wrong, missing, or was never announced', async () => {
    const challenge = await openId.calculatePKCECodeChallenge('a'.repeat(43))
    const proof = { code_challenge: challenge, code_challenge_method: 'S256' }
    const mismatch = invalid(501481)
    expect(
      await refused(redeem(await codeFor(simulator, proof), { code_verifier: 'b'.repeat(43) })),
    ).toStrictEqual(mismatch)
    expect(await refused(redeem(await codeFor(simulator, proof)))).toStrictEqual(mismatch)
    expect(await refused(redeem(await codeFor(simulator), { code_verifier: 'a'.repeat(43) }))).toStrictEqual(
      mismatch,
    )
    expect(
      (await askToken(simulator, redeem(await codeFor(simulator, proof), { code_verifier: 'a'.repeat(43) })))
        .status,
    ).toBe(200)
  })

  test('a client without its secret, with a wrong one, or unknown', async () => {
    const { client_secret: _, ...nothing } = refresh('x')
    expect(await refused(nothing)).toStrictEqual(invalid(7000218, 'invalid_client', 401))
    expect(await refused({ ...nothing, client_secret: 'wrong' })).toStrictEqual(
      invalid(7000215, 'invalid_client', 401),
    )
    const unknown = { ...nothing, client_id: crypto.randomUUID() }
    expect(await refused(unknown)).toStrictEqual(invalid(700016, 'unauthorized_client'))
    const basic = Buffer.from(
      `${credentials.client_id}:${encodeURIComponent(credentials.client_secret)}`,
    ).toString('base64')
    const parameters = {
      grant_type: 'refresh_token',
      refresh_token: await refreshTokenOf(someone(simulator).id),
    }
    expect((await askToken(simulator, parameters, { authorization: `Basic ${basic}` })).status).toBe(200)
  })

  test('a public client asking for itself, though it needs no secret for its users', async () => {
    const asked = {
      grant_type: 'client_credentials',
      client_id: publicApp.clientId,
      scope: 'https://graph.microsoft.com/.default',
    }
    expect(await refused(asked)).toMatchObject({ code: 7000218 })
    const code = await codeFor(simulator, { client_id: publicApp.clientId })
    const { client_secret: _, ...withoutSecret } = redeem(code, { client_id: publicApp.clientId })
    expect((await askToken(simulator, withoutSecret)).status).toBe(200)
  })

  test('a refresh token that was revoked, with the suberror clients look for, until the next sign-in', async () => {
    const user = someone(simulator)
    const token = await refreshTokenOf(user.id)
    simulator.revokeUserTokens(user.id)
    expect(await refused(refresh(token))).toStrictEqual({ ...invalid(50173), suberror: 'bad_token' })
    expect((await askToken(simulator, refresh(await refreshTokenOf(user.id)))).status).toBe(200)
  })

  test('a refresh token given to another app', async () => {
    const token = await refreshTokenOf(someone(simulator).id)
    const foreign = { client_id: otherApp.clientId, client_secret: otherApp.clientSecret }
    expect(await refused(refresh(token, foreign))).toStrictEqual(invalid(70000))
  })

  test('a refresh token unused for 90 days, or that nobody issued', async () => {
    const token = await refreshTokenOf(someone(simulator).id)
    expect(await refused(refresh(`${token.slice(0, -4)}AAAA`))).toStrictEqual(invalid(70000))
    now += 90 * 24 * 60 * 60 * 1000
    expect(await refused(refresh(token))).toStrictEqual(invalid(700082))
  })

  test('a refresh for a user who was disabled, and for one who was deleted', async () => {
    const user = someone(simulator)
    const token = await refreshTokenOf(user.id)
    simulator.tenant.updateUser(user.id, { accountEnabled: false })
    expect(await refused(refresh(token))).toStrictEqual(invalid(50057))
    simulator.tenant.deleteUser(user.id)
    expect(await refused(refresh(token))).toStrictEqual(invalid(50034))
  })

  test('scopes without consent, of no known kind, or of two resources', async () => {
    const token = await refreshTokenOf(someone(simulator).id)
    expect(await refused(refresh(token, { scope: 'Directory.Read.All' }))).toStrictEqual({
      ...invalid(65001),
      suberror: 'consent_required',
    })
    expect(await refused(refresh(token, { scope: 'What.Ever' }))).toStrictEqual(
      invalid(70011, 'invalid_scope'),
    )
    const own = { ...credentials, grant_type: 'client_credentials' }
    expect(await refused({ ...own, scope: 'User.Read' })).toStrictEqual(invalid(1002012, 'invalid_scope'))
    expect(await refused({ ...own, scope: 'a/.default b/.default' })).toStrictEqual(
      invalid(28002, 'invalid_scope'),
    )
  })

  test('a grant type it does not have, and a request without one', async () => {
    expect(await refused({ ...credentials, grant_type: 'password' })).toStrictEqual(
      invalid(70003, 'unsupported_grant_type'),
    )
    expect(await refused(credentials)).toStrictEqual(invalid(900144, 'invalid_request'))
  })

  test('whatever it is told to refuse, with claims, as often as it is told', async () => {
    const token = await refreshTokenOf(someone(simulator).id)
    const claims = '{"access_token":{"polids":{"essential":true,"values":["x"]}}}'
    simulator.faults.tokenError({
      error: 'interaction_required',
      suberror: 'basic_action',
      error_codes: [50076],
      claims,
    })
    const answer = await askToken(simulator, refresh(token))
    expect(tokenError.parse(await answer.json())).toMatchObject({
      error: 'interaction_required',
      error_codes: [50076],
      suberror: 'basic_action',
      claims,
    })
    expect((await askToken(simulator, refresh(token))).status).toBe(200)
  })

  test('nothing the log of issued tokens misses', async () => {
    const code = await codeFor(simulator)
    const answer = z
      .record(z.string(), z.unknown())
      .parse(await (await askToken(simulator, redeem(code))).json())
    expect(simulator.issuedTokens()).toEqual(
      expect.arrayContaining([code, answer['access_token'], answer['refresh_token'], answer['id_token']]),
    )
  })
})
