import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'
import {
  askToken,
  authorize,
  codeFor,
  credentials,
  redeem,
  someone,
  tokenError,
} from './support/entra-requests.ts'
import { ask } from './support/graph-requests.ts'

const cp1 = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'
const wanted = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
/** As a client merges what it is asked for with what it can do. */
const both =
  '{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"value":"1604106651","essential":true}},"id_token":{}}'

const answered = z.object({ access_token: z.string(), refresh_token: z.string() })

const simulator: Simulator = await startSimulator({ users: 3, groups: 0, https: false })
let user: User

beforeEach(() => {
  simulator.reset()
  user = someone(simulator)
})
afterAll(() => simulator.close())

const me = async (token: string) =>
  await ask({ graphUrl: simulator.graphUrl, token, objectId: user.id, userPrincipalName: '' }, '/me')
const refresh = async (refreshToken: string, more: Record<string, string> = {}) =>
  await askToken(simulator, {
    ...credentials,
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    ...more,
  })
const signIn = async (parameters: Record<string, string>, redeemed: Record<string, string> = {}) =>
  answered.parse(
    await (await askToken(simulator, redeem(await codeFor(simulator, parameters), redeemed))).json(),
  )

describe('a challenged user', () => {
  test('is asked by Graph for the claims, in a header that can be decoded', async () => {
    const { access_token: token } = await signIn({ claims: cp1 })
    expect((await me(token)).status).toBe(200)
    simulator.challenge(user.id, { claims: wanted })
    const { status, headers } = await me(token)
    const [, header, claims = ''] =
      /^(Bearer realm="", authorization_uri="[^"]+", error="insufficient_claims"), claims="([A-Za-z0-9+/=]+)"$/.exec(
        headers.get('www-authenticate') ?? '',
      ) ?? []
    expect([status, header === undefined]).toStrictEqual([401, false])
    expect(Buffer.from(claims, 'base64').toString()).toBe(wanted)
  })

  test('gets no token by refreshing meanwhile, and the claims once more', async () => {
    const { refresh_token: token } = await signIn({ claims: cp1 })
    simulator.challenge(user.id, { claims: wanted })
    const answer = await refresh(token, { claims: both })
    expect(answer.status).toBe(400)
    expect(tokenError.parse(await answer.json())).toMatchObject({
      error: 'interaction_required',
      suberror: 'basic_action',
      error_codes: [50076],
      claims: wanted,
    })
  })

  test('is not asked any more once signed in with the claims, others among them', async () => {
    const before = await signIn({ claims: cp1 })
    simulator.challenge(user.id, { claims: wanted })
    const without = await signIn({ claims: cp1 })
    expect((await me(without.access_token)).status).toBe(401)
    const after = await signIn({ claims: both })
    expect((await me(after.access_token)).status).toBe(200)
    expect((await refresh(before.refresh_token)).status).toBe(200)
  })

  test('cannot be signed in silently', async () => {
    const signedIn = await authorize(simulator, { login_hint: user.userPrincipalName })
    const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? ''
    simulator.challenge(user.id)
    const answer = await authorize(simulator, { prompt: 'none' }, { cookie })
    expect(new URL(answer.headers.get('location') ?? '').searchParams.get('error')).toBe(
      'interaction_required',
    )
  })

  test('is left alone by Graph where the client did not declare to understand it, unless told otherwise', async () => {
    const { access_token: token } = await signIn({})
    simulator.challenge(user.id)
    expect((await me(token)).status).toBe(200)
    simulator.challenge(user.id, { always: true })
    expect((await me(token)).status).toBe(401)
  })

  test('is the only one', async () => {
    const other = simulator.tenant.users()[1]?.id ?? ''
    simulator.challenge(user.id, { always: true })
    expect((await me((await simulator.signIn(other, { claims: cp1 })).access_token)).status).toBe(200)
  })
})

test('a client may declare cp1 when it redeems a code, when it refreshes, and does not have to repeat it', async () => {
  const redeemed = await signIn({}, { claims: cp1 })
  const plain = await signIn({})
  const declared = answered.parse(await (await refresh(plain.refresh_token, { claims: cp1 })).json())
  const kept = answered.parse(await (await refresh(declared.refresh_token)).json())
  simulator.challenge(user.id)
  const statuses = await Promise.all([redeemed, plain, declared, kept].map((each) => me(each.access_token)))
  expect(statuses.map(({ status }) => status)).toStrictEqual([401, 200, 401, 401])
})

test('claims that are not JSON are refused', async () => {
  const { refresh_token: token } = await signIn({})
  const { error_codes: codes } = tokenError.parse(await (await refresh(token, { claims: '{' })).json())
  expect(codes).toStrictEqual([9002313])
})
