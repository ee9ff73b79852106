import {
  createLocalJWKSet,
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JWK,
} from 'jose'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultClientId, idTokenFaults, startSimulator, type IdTokenFault } from '../src/simulator/index.ts'
import { askToken, authorityOf, codeFor, redeem, refresh, someone } from './support/entra-requests.ts'

const simulator = await startSimulator({ users: 2, groups: 0, https: false })
const nonce = 'n-0S6_WzA2Mj'
const guid = z.guid()
const keySet = z.object({ keys: z.array(z.looseObject({ kid: z.string(), issuer: z.string() })) })
const answered = z.object({
  access_token: z.string(),
  id_token: z.string().optional(),
  refresh_token: z.string(),
})

beforeEach(() => simulator.reset())
afterAll(() => simulator.close())

const signIn = async () =>
  answered.parse(await (await askToken(simulator, redeem(await codeFor(simulator, { nonce })))).json())
const keysOf = async (name: string) =>
  keySet.parse(await (await fetch(`${simulator.entraUrl}/${name}/discovery/v2.0/keys`)).json()).keys

/** What is wrong with a token, of all that a multi-tenant client has to check (Entra docs: access-tokens, claims-validation). */
async function wrongIn(token: string | undefined): Promise<string | undefined> {
  const keys = await keysOf('common')
  try {
    const { payload, protectedHeader } = await jwtVerify(
      token ?? '',
      createLocalJWKSet({ keys: keys.map((key): JWK => ({ kty: 'RSA', ...key })) }),
      {
        algorithms: ['RS256'],
        audience: defaultClientId,
        requiredClaims: ['exp', 'iat', 'sub', 'iss', 'aud'],
      },
    )
    const tid = String(payload['tid'])
    const key = keys.find(({ kid }) => kid === protectedHeader.kid)
    const truths = {
      audience: typeof payload.aud === 'string',
      ids: guid.safeParse(tid).success && guid.safeParse(payload['oid']).success,
      issuer: payload.iss === `${simulator.entraUrl}/${tid}/v2.0`,
      keyIssuer: payload.iss === key?.issuer.replace('{tenantid}', tid),
      tenant: tid === simulator.tenant.id,
      nonce: payload['nonce'] === nonce,
    }
    return Object.entries(truths).find(([, true_]) => !true_)?.[0]
  } catch (error) {
    if (error instanceof errors.JOSEError) return error.code
    throw error
  }
}

test('a true ID token passes all checks', async () => {
  const { id_token: token } = await signIn()
  expect(await wrongIn(token)).toBeUndefined()
})

test.each(Object.entries<IdTokenFault>(idTokenFaults))('%s passes not all of them', async (_, fault) => {
  const handle = simulator.faults.idToken(fault)
  const { id_token: token, access_token: access } = await signIn()
  expect([handle.remaining(), decodeJwt(access)['oid']]).toStrictEqual([0, someone(simulator).id])
  expect(await wrongIn(token)).toBeTypeOf('string')
  expect(await wrongIn((await signIn()).id_token)).toBeUndefined()
})

describe('an ordered ID token', () => {
  test('waits for the person it is meant for, and comes as often as it is told', async () => {
    const [first, second] = simulator.tenant.users()
    const claims = () => ({ mine: true })
    simulator.faults.idToken({ claims }, { user: second?.userPrincipalName ?? '', times: 2 })
    const claimsFor = async (id = '') => decodeJwt((await simulator.signIn(id)).id_token ?? '')
    expect(await claimsFor(first?.id)).not.toHaveProperty('mine')
    for (const expected of [{ mine: true }, { mine: true }])
      expect(await claimsFor(second?.id)).toStrictEqual(expected)
    expect(await claimsFor(second?.id)).not.toHaveProperty('mine')
  })

  test('may come with a refresh, and not at all', async () => {
    const { refresh_token: token } = await signIn()
    simulator.faults.idToken({ raw: () => undefined })
    const renewed = await (await askToken(simulator, refresh(token))).json()
    expect(answered.parse(renewed).id_token).toBeUndefined()
    simulator.faults.idToken({ raw: () => 'x' })
    simulator.faults.clear()
    expect((await signIn()).id_token).not.toBe('x')
  })
})

test('a key may be published for one issuer, sign when told, and be withdrawn', async () => {
  const issuer = 'https://other.example/v2.0'
  const key = await simulator.publishSigningKey({ issuer })
  expect((await keysOf(simulator.tenant.id)).find(({ kid }) => kid === key.kid)?.issuer).toBe(issuer)
  simulator.faults.idToken({ signedBy: key.kid })
  const { id_token: token = '' } = await signIn()
  expect(decodeProtectedHeader(token).kid).toBe(key.kid)
  expect(await wrongIn(token)).toBe('keyIssuer')
  key.withdraw()
  expect((await keysOf(simulator.tenant.id)).some(({ kid }) => kid === key.kid)).toBe(false)
})

test('how often the key set was asked for shows in the log', async () => {
  const { id_token: token = '' } = await signIn()
  const keys = createRemoteJWKSet(new URL(`${authorityOf(simulator)}/discovery/v2.0/keys`))
  for (let each = 0; each < 3; each++) await jwtVerify(token, keys)
  expect(simulator.requests.all({ origin: 'entra', path: '/discovery/v2.0/keys' })).toHaveLength(1)
})
