import { randomUUID, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { jwtVerify, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createGraphClient } from '../src/graph/client.ts'
import { createAppTokens, type AppTokens } from '../src/login/app-tokens.ts'
import { createAppCredentials } from '../src/login/credentials.ts'
import { defaultApp, defaultClientId, defaultClientSecret, startSimulator } from '../src/simulator/index.ts'
import type { Credential } from '../src/source-config.ts'
import { givenCredentials, secret, thrownBy } from './support/app-credentials.ts'
import { clientId, newCertificate } from './support/client-entra.ts'
import { startOboEntra, type OboEntra } from './support/obo-entra.ts'

const given = givenCredentials()
const tenantId = randomUUID()
let entra: OboEntra

beforeAll(async () => {
  entra = await startOboEntra(tenantId)
})
afterAll(() => entra.close())
beforeEach(() => {
  entra.forms.length = 0
  entra.next(() => taken())
})

let made = 0
const taken = (accessToken = `token ${(made += 1)}`, lifetime = 3600) =>
  Response.json({ token_type: 'Bearer', expires_in: lifetime, access_token: accessToken })

const refused = (code: number, status = 401, error = 'invalid_client', headers = {}) =>
  Response.json({ error, error_codes: [code], error_description: `AADSTS${code}: no.` }, { status, headers })

const source = () => ({
  authorityHost: entra.origin,
  clientId,
  graphBaseUrl: 'https://graph.microsoft.com',
})

function givenTokens(...credentials: Credential[]): AppTokens & { changes: unknown[] } {
  const { app, changes } = given.app(...(credentials.length > 0 ? credentials : [secret('one')]))
  return { ...createAppTokens(source(), app), changes }
}

test('the app asks for what was agreed to for itself, with its secret and for nobody', async () => {
  await givenTokens().tokenFor(tenantId)
  expect(entra.forms).toMatchObject([
    {
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: 'the secret one',
      scope: expect.stringContaining('https://graph.microsoft.com/.default'),
    },
  ])
  expect(entra.forms[0]).not.toHaveProperty('assertion')
})

test('a certificate proves the app by an assertion for the token endpoint of that tenant', async () => {
  const credential = newCertificate('certificate')
  await givenTokens(credential).tokenFor(tenantId)
  const [form] = entra.forms
  expect(form).not.toHaveProperty('client_secret')
  const { publicKey } = new X509Certificate(credential.certificate)
  await jwtVerify(form?.['client_assertion'] ?? '', publicKey, {
    algorithms: ['PS256'],
    audience: `${entra.origin}/${tenantId}/oauth2/v2.0/token`,
    issuer: clientId,
    subject: clientId,
  })
})

test('the federated token goes out that the file holds by then', async () => {
  const token = await given.entra().federatedToken()
  await writeFile(given.tokenFile(), token)
  await givenTokens(given.federated()).tokenFor(tenantId)
  expect(entra.forms[0]?.['client_assertion']).toBe(token)
})

test('where Entra refuses a credential the next takes over, and stays', async () => {
  entra.next(() =>
    entra.forms.at(-1)?.['client_secret'] === 'the secret old' ? refused(7_000_222) : taken('t', 60),
  )
  const { tokenFor, changes } = givenTokens(secret('old'), secret('new'))
  await tokenFor(tenantId)
  await tokenFor(tenantId)
  expect(entra.forms.map((form) => form['client_secret'])).toEqual([
    'the secret old',
    'the secret new',
    'the secret new',
  ])
  expect(changes).toEqual([{ from: 'old', to: 'new', refusedWith: 'AADSTS7000222' }])
})

test('a token is kept until it has five minutes left', async () => {
  const { tokenFor } = givenTokens()
  const first = await tokenFor(tenantId)
  expect(await tokenFor(tenantId)).toBe(first)
  entra.next(() => taken(undefined, 299))
  const short = await tokenFor(tenantId, { refused: first.accessToken })
  expect((await tokenFor(tenantId)).accessToken).not.toBe(short.accessToken)
  expect(entra.forms).toHaveLength(3)
})

test('however many wait for a token, Entra is asked once, and again after a failure that all of them hear', async () => {
  const { tokenFor } = givenTokens()
  entra.next(() => new Response(null, { status: 500 }))
  const failures = await Promise.all([thrownBy(tokenFor(tenantId)), thrownBy(tokenFor(tenantId))])
  expect(failures).toMatchObject([{ code: 'graph_unavailable' }, { code: 'graph_unavailable' }])
  expect(entra.forms).toHaveLength(1)
  entra.next(() => taken())
  const tokens = await Promise.all([tokenFor(tenantId), tokenFor(tenantId), tokenFor(tenantId)])
  expect(new Set(tokens).size).toBe(1)
  expect(entra.forms).toHaveLength(2)
})

test('a token that Graph has refused is given to nobody again, also where no other can be had', async () => {
  const { tokenFor } = givenTokens()
  const { accessToken } = await tokenFor(tenantId)
  entra.next(() => new Response(null, { status: 500 }))
  await expect(tokenFor(tenantId, { refused: accessToken })).rejects.toMatchObject({
    code: 'graph_unavailable',
  })
  await expect(tokenFor(tenantId)).rejects.toMatchObject({ code: 'graph_unavailable' })
  entra.next(() => taken(accessToken))
  await expect(tokenFor(tenantId, { refused: accessToken })).rejects.toMatchObject({
    code: 'unexpected_response',
  })
  entra.next(() => taken())
  const other = await tokenFor(tenantId)
  expect(other.accessToken).not.toBe(accessToken)
  // Who had the first one hears of its end later than others, and gets what they got.
  expect(await tokenFor(tenantId, { refused: accessToken })).toBe(other)
})

test.for([
  ['{"roles":["User.Read.All"]}', ['User.Read.All']],
  ['{}', []],
  ['{"roles":"all"}', []],
  [undefined, []],
] as const)('of a token with the payload %s the roles %j are told', async ([payload, roles]) => {
  const claims: unknown = payload === undefined ? undefined : JSON.parse(payload)
  const token = claims === undefined ? 'opaque' : new UnsecuredJWT(claims as { roles?: unknown }).encode()
  entra.next(() => taken(token))
  expect(await givenTokens().tokenFor(tenantId)).toMatchObject({ accessToken: token, roles })
})

test.for([
  ['a secret that has ended', () => refused(7_000_222), { code: 'config_invalid', reason: 'AADSTS7000222' }],
  ['an app unknown to the tenant', () => refused(700_016, 400), { code: 'config_invalid' }],
  [
    'a policy',
    () => refused(53_003, 400, 'invalid_grant'),
    { code: 'access_denied', reason: 'AADSTS53003', message: expect.not.stringContaining('account') },
  ],
  [
    'consent that is missing',
    () => refused(65_001, 400, 'invalid_grant'),
    { code: 'access_denied', reason: 'AADSTS65001' },
  ],
  [
    'a pause',
    () => refused(90_055, 429, 'temporarily_unavailable', { 'retry-after': '7' }),
    { code: 'throttled', retryAfterMs: 7000, by: 'entra' },
  ],
  ['an Entra that is unwell', () => new Response('<html>', { status: 502 }), { code: 'graph_unavailable' }],
] as const)('%s is told as what it is, and asked for once', async ([, answer, error]) => {
  entra.next(answer)
  await expect(givenTokens().tokenFor(tenantId)).rejects.toMatchObject(error)
  expect(entra.forms).toHaveLength(1)
})

test('over http nothing is sent, and an operator reads why', async () => {
  const { app } = given.app(secret('one'))
  const http = createAppTokens({ ...source(), authorityHost: 'http://localhost:1' }, app)
  await expect(http.tokenFor(tenantId)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining('tokens of the app itself'),
  })
})

test("each tenant has a token of its own, which reads that tenant's people", async () => {
  const simulator = await startSimulator({
    users: 2,
    groups: 0,
    apps: [{ ...defaultApp, multiTenant: true }],
    otherTenants: [{ users: 3, groups: 0 }],
  })
  const trusted = getCACertificates('default')
  try {
    const { entraUrl = '', graphUrl = '', caCertificate = '' } = simulator.https ?? {}
    // Without the other authority's, which has the same name.
    setDefaultCACertificates([...getCACertificates('bundled'), caCertificate])
    const credentials: Credential[] = [{ kind: 'secret', id: 'one', secret: defaultClientSecret }]
    const app = { slug: 'main', clientId: defaultClientId, credentials }
    const { tokenFor } = createAppTokens(
      { authorityHost: entraUrl, clientId: defaultClientId, graphBaseUrl: graphUrl },
      createAppCredentials(app, { onChange: () => undefined }),
    )
    for (const { tenant } of [simulator, ...simulator.otherTenants, simulator]) {
      const { accessToken } = await tokenFor(tenant.id)
      const client = createGraphClient({ baseUrl: graphUrl, accessToken })
      const { json } = await client.request({ path: '/users?$select=id' })
      const ids = tenant.users().map(({ id }) => ({ id }))
      expect(json).toMatchObject({ value: expect.arrayContaining(ids) })
    }
    expect(simulator.requests.all({ path: /\/token$/ })).toHaveLength(2)
  } finally {
    setDefaultCACertificates(trusted)
    await simulator.close()
  }
})
