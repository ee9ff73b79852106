import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { decodeJwt } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, startSimulator, type Simulator, type User } from '../src/simulator/index.ts'
import {
  askToken,
  codeFor,
  credentials,
  otherApp,
  redeem,
  someone,
  tokenError,
} from './support/entra-requests.ts'
import { ask } from './support/graph-requests.ts'

const ownApi = `api://${defaultApp.clientId}/access_as_user`
const graphScope = 'https://graph.microsoft.com/User.Read'
const answered = z.object({
  access_token: z.string(),
  scope: z.string(),
  refresh_token: z.string().optional(),
})

let simulator: Simulator
let user: User
let now = Date.now()

beforeAll(async () => {
  simulator = await startSimulator({ users: 3, groups: 2, apps: [defaultApp, otherApp], now: () => now })
})
beforeEach(() => {
  user = someone(simulator)
})
afterEach(() => {
  simulator.reset()
  now = Date.now()
})
afterAll(() => simulator.close())

const exchange = async (assertion: string, more: Record<string, string> = {}) =>
  await askToken(simulator, {
    ...credentials,
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    requested_token_use: 'on_behalf_of',
    assertion,
    scope: `${graphScope} offline_access`,
    ...more,
  })
const refused = async (assertion: string, more: Record<string, string> = {}) => {
  const answer = await exchange(assertion, more)
  const { error, error_codes: codes, claims } = tokenError.parse(await answer.json())
  return { status: answer.status, error, code: codes[0], ...(claims === undefined ? {} : { claims }) }
}
const apiToken = async () =>
  (await simulator.signIn(user.id, { scope: `openid profile ${ownApi}` })).access_token

describe("a token for the app's own API", () => {
  test('is what signing in with its scope gives: a v2 token that names app, user and scope', async () => {
    const code = await codeFor(simulator, { scope: `openid profile ${ownApi}` })
    const { access_token: token, scope } = answered.parse(
      await (await askToken(simulator, redeem(code))).json(),
    )
    expect(scope).toBe(`openid profile ${ownApi}`)
    expect(decodeJwt(token)).toMatchObject({
      aud: defaultApp.clientId,
      azp: defaultApp.clientId,
      iss: `${simulator.entraUrl}/${simulator.tenant.id}/v2.0`,
      oid: user.id,
      scp: 'access_as_user',
      ver: '2.0',
    })
  })

  test('does not open Graph', async () => {
    const target = {
      graphUrl: simulator.graphUrl,
      token: await apiToken(),
      objectId: '',
      userPrincipalName: '',
    }
    expect((await ask(target, '/me')).status).toBe(401)
  })

  test('cannot be had together with one for Graph, or for a scope the API does not have', async () => {
    const asked = async (scope: string) => {
      const token = (await simulator.signIn(user.id)).refresh_token ?? ''
      const parameters = { ...credentials, grant_type: 'refresh_token', refresh_token: token, scope }
      return tokenError.parse(await (await askToken(simulator, parameters)).json()).error_codes
    }
    expect(await asked(`${ownApi} User.Read`)).toStrictEqual([28002])
    expect(await asked(`api://${defaultApp.clientId}/nothing`)).toStrictEqual([70011])
  })
})

describe('exchanging it on behalf of its user', () => {
  test("gives the user's token for Graph, and the scopes as they were asked for", async () => {
    const answer = answered.parse(await (await exchange(await apiToken())).json())
    expect(answer.scope).toBe(graphScope)
    expect(decodeJwt(answer.access_token)).toMatchObject({ oid: user.id, scp: 'User.Read' })
    const target = {
      graphUrl: simulator.graphUrl,
      token: answer.access_token,
      objectId: '',
      userPrincipalName: '',
    }
    expect((await ask(target, '/me')).json).toMatchObject({ id: user.id })
    expect(answer.refresh_token).toBeTypeOf('string')
    const without = answered.parse(await (await exchange(await apiToken(), { scope: graphScope })).json())
    expect(without.refresh_token).toBeUndefined()
  })

  test('is refused for every other token', async () => {
    const signedIn = await simulator.signIn(user.id)
    const foreign = await simulator.signIn(user.id, { scope: `api://${otherApp.clientId}/access_as_user` })
    const own = { grant_type: 'client_credentials', scope: `api://${defaultApp.clientId}/.default` }
    const appOnly = answered
      .omit({ scope: true })
      .parse(await (await askToken(simulator, { ...credentials, ...own })).json())
    const invalid = { status: 400, error: 'invalid_grant' }
    expect(await refused(signedIn.access_token)).toStrictEqual({ ...invalid, code: 50013 })
    expect(await refused(signedIn.id_token ?? '')).toStrictEqual({ ...invalid, code: 50013 })
    expect(await refused('not.a.token')).toStrictEqual({ ...invalid, code: 50013 })
    expect(await refused(foreign.access_token)).toStrictEqual({ ...invalid, code: 500131 })
    expect(await refused(appOnly.access_token)).toStrictEqual({ ...invalid, code: 7000114 })
  })

  test('is refused for a token that another tenant signed, and for one that is too old', async () => {
    const elsewhere = await startSimulator({ users: 3, groups: 2, https: false })
    const { access_token: foreign } = await elsewhere.signIn(someone(elsewhere).id, { scope: ownApi })
    await elsewhere.close()
    expect(await refused(foreign)).toMatchObject({ code: 50013 })
    const token = await apiToken()
    now += 2 * 60 * 60 * 1000
    expect(await refused(token)).toMatchObject({ code: 500133 })
  })

  test('is refused for users who may not sign in, and for those asked for more', async () => {
    const token = await apiToken()
    simulator.challenge(user.id, { claims: '{"access_token":{"acrs":{"value":"c1"}}}' })
    expect(await refused(token)).toStrictEqual({
      status: 400,
      error: 'interaction_required',
      code: 50076,
      claims: '{"access_token":{"acrs":{"value":"c1"}}}',
    })
    simulator.tenant.updateUser(user.id, { accountEnabled: false })
    expect(await refused(token)).toMatchObject({ code: 50057 })
    simulator.tenant.deleteUser(user.id)
    expect(await refused(token)).toMatchObject({ code: 50034 })
  })

  test('is refused for scopes without consent, and without saying what the token is used for', async () => {
    expect(await refused(await apiToken(), { scope: 'Directory.Read.All' })).toMatchObject({ code: 65001 })
    expect(await refused(await apiToken(), { requested_token_use: '' })).toMatchObject({ code: 900144 })
  })

  test('can be made to fail for one user', async () => {
    simulator.faults.tokenError(70043, { user: user.id })
    expect(await refused(await apiToken())).toMatchObject({ code: 70043 })
  })

  test.each([graphScope, 'https://graph.microsoft.com/.default'])(
    'works with the OnBehalfOfCredential of @azure/identity, which asks once for %s',
    async (scope) => {
      const folder = await mkdtemp(path.join(tmpdir(), 'simulator-'))
      await writeFile(path.join(folder, 'ca.pem'), simulator.https?.caCertificate ?? '')
      const script = fileURLToPath(new URL('support/on-behalf-of-client.ts', import.meta.url))
      simulator.requests.clear()
      const { stdout } = await promisify(execFile)(process.execPath, [script], {
        env: {
          ...process.env,
          NODE_EXTRA_CA_CERTS: path.join(folder, 'ca.pem'),
          AUTHORITY: simulator.https?.entraUrl,
          TENANT: simulator.tenant.id,
          CLIENT_ID: credentials.client_id,
          CLIENT_SECRET: credentials.client_secret,
          ASSERTION: await apiToken(),
          SCOPE: scope,
        },
      })
      await rm(folder, { recursive: true })
      const { token, same } = z.object({ token: z.string(), same: z.boolean() }).parse(JSON.parse(stdout))
      expect([decodeJwt(token)['oid'], same]).toStrictEqual([user.id, true])
      expect(simulator.requests.all({ origin: 'entra', path: '/oauth2/v2.0/token' })).toHaveLength(1)
    },
  )
})
