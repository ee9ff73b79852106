import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startSimulator, type AadstsCode, type Simulator } from '../src/simulator/index.ts'
import {
  askToken,
  authorize,
  codeFor,
  invalid,
  redeem,
  refresh,
  refusedToken,
  someone,
  tokenError,
} from './support/entra-requests.ts'

let simulator: Simulator

beforeAll(async () => {
  simulator = await startSimulator({ users: 10, https: false })
})
afterEach(() => simulator.reset())
afterAll(() => simulator.close())

const refused = (parameters: Record<string, string>) => refusedToken(simulator, parameters)
const refreshTokenOf = async (id: string) => (await simulator.signIn(id)).refresh_token ?? ''

describe('the token endpoint can be told to refuse', () => {
  test.each<[AadstsCode, string, string | undefined, number?]>([
    [50173, 'invalid_grant', 'bad_token'],
    [700082, 'invalid_grant', undefined],
    [70008, 'invalid_grant', undefined],
    [700084, 'invalid_grant', undefined],
    [70043, 'invalid_grant', 'token_expired'],
    [50076, 'interaction_required', 'basic_action'],
    [50079, 'interaction_required', 'basic_action'],
    [50074, 'interaction_required', 'basic_action'],
    [50078, 'interaction_required', 'basic_action'],
    [65001, 'invalid_grant', 'consent_required'],
    [65004, 'access_denied', undefined],
    [90094, 'access_denied', undefined],
    [53003, 'invalid_grant', 'message_only'],
    [53000, 'invalid_grant', 'additional_action'],
    [50057, 'invalid_grant', undefined],
    [50034, 'invalid_grant', undefined],
    [50105, 'invalid_grant', undefined],
    [50013, 'invalid_grant', undefined],
    [500133, 'invalid_grant', undefined],
    [700016, 'unauthorized_client', undefined],
    [7000112, 'unauthorized_client', undefined],
    [90002, 'invalid_tenant', undefined],
    [50020, 'invalid_grant', undefined],
    [7000215, 'invalid_client', undefined, 401],
    [7000222, 'invalid_client', undefined, 401],
    [700027, 'invalid_client', undefined, 401],
    [7000218, 'invalid_client', undefined, 401],
    [70011, 'invalid_scope', undefined],
    [28002, 'invalid_scope', undefined],
    [700022, 'invalid_scope', undefined],
    [54005, 'invalid_grant', undefined],
    [501481, 'invalid_grant', undefined],
    [50196, 'invalid_grant', undefined],
    [90055, 'temporarily_unavailable', undefined, 429],
    [90033, 'temporarily_unavailable', undefined, 503],
    [90006, 'temporarily_unavailable', undefined, 503],
    [90024, 'temporarily_unavailable', undefined, 503],
    [50033, 'temporarily_unavailable', undefined, 503],
  ])('with %i when told its number: %s, %s', async (code, error, suberror, status = 400) => {
    const token = await refreshTokenOf(someone(simulator).id)
    simulator.faults.tokenError(code)
    expect(await refused(refresh(token))).toStrictEqual({
      ...invalid(code, error, status),
      ...(suberror === undefined ? {} : { suberror }),
    })
  })

  test.each([50074, 50076, 50078, 50079, 53000, 53003] as const)(
    'with claims for the next sign-in when it is told %i',
    async (code) => {
      const token = await refreshTokenOf(someone(simulator).id)
      simulator.faults.tokenError(code)
      const { claims = '' } = tokenError.parse(await (await askToken(simulator, refresh(token))).json())
      expect(JSON.parse(claims)).toHaveProperty('access_token')
    },
  )

  test('too many requests with a time to wait, given or its own', async () => {
    const token = await refreshTokenOf(someone(simulator).id)
    simulator.faults.tokenError(90055)
    simulator.faults.tokenError({
      error: 'temporarily_unavailable',
      error_codes: [90055],
      status: 429,
      retryAfter: '3',
    })
    const told = async () => {
      const answer = await askToken(simulator, refresh(token))
      return [answer.status, answer.headers.get('retry-after')]
    }
    expect([await told(), await told()]).toStrictEqual([
      [429, '10'],
      [429, '3'],
    ])
  })

  test('one user and no other, whether by refresh token or by code', async () => {
    const [one, other] = simulator.tenant.users()
    const tokens = [await refreshTokenOf(one?.id ?? ''), await refreshTokenOf(other?.id ?? '')]
    const fault = simulator.faults.tokenError(70043, { user: one?.userPrincipalName ?? '', times: 2 })
    expect((await askToken(simulator, refresh(tokens[1] ?? ''))).status).toBe(200)
    expect(await refused(refresh(tokens[0] ?? ''))).toMatchObject({ code: 70043 })
    expect(await refused(redeem(await codeFor(simulator)))).toMatchObject({ code: 70043 })
    expect(fault.remaining()).toBe(0)
  })

  test('a user who is not assigned to the app, at sign-in on a page of its own', async () => {
    const user = someone(simulator)
    const token = await refreshTokenOf(user.id)
    simulator.assign(user.id, false)
    expect(await refused(refresh(token))).toStrictEqual(invalid(50105))
    const answer = await authorize(simulator, { login_hint: user.userPrincipalName })
    expect([answer.status, answer.headers.get('location')]).toStrictEqual([400, null])
    expect(await answer.text()).toContain('AADSTS50105')
    simulator.assign(user.id, true)
    expect((await askToken(simulator, refresh(token))).status).toBe(200)
  })
})
