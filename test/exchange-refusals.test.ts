import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  defaultApp,
  defaultClientId,
  type Fault,
  type IdTokenFault,
  type SimulatedApp,
} from '../src/simulator/index.ts'
import { idTokenFaults } from '../src/simulator/index.ts'
import { application, claiming, daemonApp, openExchange } from './support/exchange-world.ts'

type Exchange = Awaited<ReturnType<typeof openExchange>>

let exchange: Exchange
let strict: Exchange

beforeAll(async () => {
  exchange = await openExchange()
  strict = await openExchange(
    { EXCHANGE_VERSIONS: 'v2' },
    { ownRoles: ['Orders.Read'], accessTokenVersion: 1 },
  )
})

afterAll(async () => {
  await exchange.close()
  await strict.close()
})

const another = crypto.randomUUID()
const hour = 3600
const spoiled = idTokenFaults
const seconds = (claim: string, change: number): IdTokenFault => ({
  claims: (claims) => ({ ...claims, [claim]: Number(claims[claim]) + change }),
})

/** What is wrong, and what whoever sent it is told. */
const bad: [name: string, fault: IdTokenFault, told: RegExp][] = [
  ['alg none', spoiled.algNone, /not a signed JWT/],
  ['alg NONE', spoiled.algNoneUpperCase, /not a signed JWT/],
  ['alg none, with something as the signature', spoiled.algNoneWithSignature, /RS256/],
  ['HS256 with the public key', spoiled.hs256WithPublicKey, /RS256/],
  ['a key that is not published', spoiled.unpublishedKey, /signature/],
  ['an unknown key', spoiled.unknownKid, /key that the tenant does not publish/],
  ['a key that the header leads to', spoiled.keyInHeader, /signature/],
  ['no key id', { header: (header) => ({ ...header, kid: undefined }) }, /key/],
  ['another content than was signed', spoiled.tamperedClaims, /signature/],
  ['half a signature', spoiled.cutSignature, /signature/],
  ['no signature', spoiled.emptySignature, /not a signed JWT/],
  ['two parts', spoiled.twoParts, /not a signed JWT/],
  ['five parts', spoiled.fiveParts, /not a signed JWT/],
  ['no token', spoiled.notAToken, /not a signed JWT/],
  ['a payload that is no JSON', { raw: (token) => token.replace(/\.[^.]+\./, '.AAAA.') }, /payload/],
  ['blanks within', { raw: (token) => `${token.slice(0, 40)} ${token.slice(40)}` }, /not a signed JWT/],
  ['more than a token has', { raw: (token) => `${token}${'A'.repeat(40_000)}` }, /longer/],
  ['another API', spoiled.wrongAudience, /scope=api:\/\/.+\/\.default/],
  ['several APIs', spoiled.severalAudiences, /scope=api/],
  ['no API', spoiled.noAudience, /scope=api/],
  ['Microsoft Graph', claiming({ aud: 'https://graph.microsoft.com' }), /Microsoft Graph.+scope=api/],
  ['Graph by its id', claiming({ aud: '00000003-0000-0000-c000-000000000000' }), /Microsoft Graph/],
  ['Graph of a national cloud', claiming({ aud: 'https://dod-graph.microsoft.us/' }), /Microsoft Graph/],
  ['an issuer that is nobody', spoiled.wrongIssuer, /another authority/],
  ['the issuer of another tenant', spoiled.issuerOfAnotherTenant, /another tenant/],
  ['the issuer of the other version', spoiled.issuerOfFirstVersion, /another authority/],
  ['the issuer with a slash', spoiled.issuerWithSlash, /another authority/],
  ['no issuer', spoiled.noIssuer, /claim iss/],
  ['another tenant than its issuer', spoiled.wrongTenant, /tenant/],
  ['another tenant altogether', spoiled.anotherTenant, /authority|tenant/],
  ['no tenant', spoiled.noTenant, /claim tid/],
  ['a tenant that is no id', spoiled.tenantThatIsNoId, /claim tid/],
  ['an end that is over', seconds('exp', -3 * hour), /expired/],
  ['no end', spoiled.noExpiry, /claim exp/],
  ['an end that is text', spoiled.expiryThatIsText, /claim exp/],
  ['a beginning to come', seconds('nbf', 600), /not valid yet/],
  ['no beginning', claiming({ nbf: undefined }), /claim nbf/],
  ['no time of issue', spoiled.noIssueTime, /claim iat/],
  ['no object id', spoiled.noObjectId, /claim oid/],
  ['an object id that is no id', spoiled.objectIdThatIsNoId, /claim oid/],
  ['no subject', spoiled.noSubject, /claim sub/],
  ['a version of its own', claiming({ ver: '3.0' }), /claim ver/],
  ['no version', claiming({ ver: undefined }), /claim ver/],
  ['no app', claiming({ azp: undefined }), /which app/],
  ['an app that is no id', claiming({ azp: 'x' }), /claim azp/],
  ['neither an app nor a person', claiming({ sub: 'somebody', idtyp: undefined }), /neither/],
  ['a device', claiming({ idtyp: 'device' }), /neither/],
  ['an app and a person', claiming({ idtyp: 'app', scp: 'access_as_user' }), /neither/],
  ['roles that are no list', claiming({ roles: 'Orders.Read' }), /claim roles/],
]

test.for(bad)('a token with %s is refused, and told why', async ([, fault, told]) => {
  const token = await exchange.entraToken({ fault })
  const answers = [await exchange.asAssertion(token), await exchange.asSubject(token)]
  for (const [index, answer] of answers.entries()) {
    const body = JSON.parse(await answer.text())
    const expected = [
      [401, 'invalid_client'],
      [400, 'invalid_request'],
    ][index]
    expect([answer.status, body.error]).toEqual(expected)
    expect(body.error_description).toMatch(told)
    expect(body.error_description).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]{10,300}$/)
    expect(Object.keys(body)).toEqual(['error', 'error_description'])
  }
})

test('none of them has left anything behind', async () => {
  expect(await exchange.world.db.$client`select from users`).toHaveLength(0)
  expect(exchange.world.logged.join('')).toMatch(/"check":"graph_token"/)
})

test.for<[name: string, fault: IdTokenFault | undefined, clientId: string | undefined, told: RegExp]>([
  ['of a person', claiming({ scp: 'access_as_user' }), undefined, /grant_type=client_credentials/],
  ['of another app', undefined, defaultClientId, /EXCHANGE_CALLERS/],
])(
  'a good token %s is refused where only those of the daemon are taken',
  async ([, fault, clientId, told]) => {
    const token = await exchange.entraToken({ ...(fault && { fault }), ...(clientId && { clientId }) })
    for (const answer of [await exchange.asAssertion(token), await exchange.asSubject(token)]) {
      expect(answer.status).toBe(400)
      expect(await answer.json()).toMatchObject({
        error: 'unauthorized_client',
        error_description: expect.stringMatching(told),
      })
    }
  },
)

test('a token of version 1.0 is refused where only 2.0 is taken', async () => {
  const answer = await strict.asAssertion(await strict.entraToken())
  expect([answer.status, await answer.json()]).toMatchObject([
    401,
    { error: 'invalid_client', error_description: expect.stringMatching(/requestedAccessTokenVersion to 2/) },
  ])
})

test.for<[what: string, form: Record<string, string>, status: number, error: string]>([
  ['no grant', { grant_type: '' }, 400, 'invalid_request'],
  ['a grant of another kind', { grant_type: 'password' }, 400, 'unsupported_grant_type'],
  ['no assertion', { client_assertion: '' }, 401, 'invalid_client'],
  ['an assertion of another kind', { client_assertion_type: 'saml' }, 401, 'invalid_client'],
  ['no application', { client_id: '' }, 400, 'invalid_request'],
  ['an unknown application', { client_id: 'payroll' }, 401, 'invalid_client'],
  ['an unknown scope', { scope: 'everything' }, 400, 'invalid_scope'],
])('a request with %s is refused', async ([, form, status, error]) => {
  const answer = await exchange.asAssertion(await exchange.entraToken(), form)
  expect([answer.status, JSON.parse(await answer.text()).error]).toEqual([status, error])
  expect(answer.headers.get('cache-control')).toBe('no-store')
})

test.for<[what: string, form: Record<string, string>, error: string]>([
  [
    'a token of another kind',
    { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
    'invalid_request',
  ],
  ['no kind', { subject_token_type: '' }, 'invalid_request'],
  ['an actor', { actor_token: 'x' }, 'invalid_request'],
  [
    'a wish for another kind',
    { requested_token_type: 'urn:ietf:params:oauth:token-type:id_token' },
    'invalid_request',
  ],
  ['another audience than its application', { audience: 'billing' }, 'invalid_target'],
  ['a resource', { resource: 'https://orders.example' }, 'invalid_target'],
  ['an unknown audience', { client_id: '', audience: 'payroll' }, 'invalid_target'],
])('an exchange with %s is refused', async ([, form, error]) => {
  const answer = await exchange.asSubject(await exchange.entraToken(), form)
  expect([answer.status, JSON.parse(await answer.text()).error]).toEqual([400, error])
})

test('what is sent twice, as JSON or in a body without end is refused', async () => {
  const send = async (body: string, type = 'application/x-www-form-urlencoded') => {
    const headers = { 'content-type': type }
    const answer = await fetch(`${exchange.url}/application/o/token/`, { method: 'POST', body, headers })
    return [answer.status, JSON.parse(await answer.text()).error]
  }
  const form = `grant_type=client_credentials&client_id=${application}`
  expect(await send(`${form}&client_id=billing`)).toEqual([400, 'invalid_request'])
  expect(await send('{}', 'application/json')).toEqual([400, 'invalid_request'])
  expect(await send(`${form}&client_assertion=${'A'.repeat(200_000)}`)).toEqual([400, 'invalid_request'])
  for (const path of ['token', 'token/', 'introspect', 'introspect/']) {
    const get = await fetch(`${exchange.url}/application/o/${path}`)
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
  }
})

test('the slash at the end of an address may be left out', async () => {
  const withoutIt = async (path: string, form?: Record<string, string>) => {
    const body = form && { method: 'POST', body: new URLSearchParams(form) }
    return (await fetch(`${exchange.url}/application/o/${path}`, body)).status
  }
  expect(await withoutIt('token', { grant_type: 'client_credentials' })).toBe(401)
  expect(await withoutIt('introspect', { token: 'x' })).toBe(401)
  expect(await withoutIt('jwks')).toBe(200)
})

test('any app with a role may where any may, and none without one', async () => {
  const open = await openExchange({ EXCHANGE_CALLERS: 'any' })
  try {
    const stranger: SimulatedApp = { ...defaultApp, clientId: another }
    expect(stranger.clientId).not.toBe(daemonApp.clientId)
    expect((await open.asAssertion(await open.entraToken({ clientId: defaultClientId }))).status).toBe(200)
    const without = await open.asAssertion(await open.entraToken({ clientId: defaultClientId, roles: [] }))
    expect([without.status, await without.json()]).toMatchObject([400, { error: 'unauthorized_client' }])
  } finally {
    await open.close()
  }
})

test('while Entra or Postgres is out of reach whoever asks is told to come back', async () => {
  const cut = await openExchange({ ENTRA_AUTHORITY_HOST: 'http://127.0.0.1:9' })
  try {
    const answer = await cut.asAssertion(await cut.entraToken())
    expect([answer.status, answer.headers.get('retry-after'), await answer.json()]).toMatchObject([
      503,
      '5',
      { error: 'temporarily_unavailable' },
    ])
  } finally {
    await cut.close()
  }
})

test.for<[what: string, fault: Fault]>([
  ['cannot be reached', { cut: 'before-headers' }],
  ['are none', { status: 200, body: 'keys' }],
  ['are not answered with', { status: 404, body: 'no' }],
])('while the keys of Entra %s whoever asks is told to come back', async ([, fault]) => {
  const cut = await openExchange()
  try {
    cut.world.simulator.faults.next({ on: { path: /\/keys$/ }, times: 100, ...fault })
    const answer = await cut.asAssertion(await cut.entraToken())
    expect([answer.status, await answer.json()]).toMatchObject([503, { error: 'temporarily_unavailable' }])
    cut.world.simulator.faults.clear()
    expect((await cut.asAssertion(await cut.entraToken())).status).toBe(200)
  } finally {
    await cut.close()
  }
})
