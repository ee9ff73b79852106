import { randomUUID, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { ExchangedToken } from '../src/login/exchanged-tokens.ts'
import { createExchange } from '../src/login/on-behalf-of.ts'
import type { Credential } from '../src/source-config.ts'
import { givenCredentials, secret } from './support/app-credentials.ts'
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
  entra.next(taken)
})

const taken = () => Response.json({ token_type: 'Bearer', expires_in: 3600, access_token: 'a-graph-token' })

const refused = (code: number, status = 401, error = 'invalid_client') =>
  Response.json({ error, error_codes: [code], error_description: `AADSTS${code}: no.` }, { status })

function givenExchange(...credentials: Credential[]) {
  const { app, changes } = given.app(...credentials)
  const source = { authorityHost: entra.origin, clientId, graphBaseUrl: 'https://graph.microsoft.com' }
  const exchange = createExchange(source, app)
  return { changes, exchange: async (): Promise<ExchangedToken> => await exchange('theirs', { tenantId }) }
}

test('an exchange proves itself with a certificate by an assertion for the token endpoint of that tenant', async () => {
  const credential = newCertificate('certificate')
  expect(await givenExchange(credential).exchange()).toMatchObject({ accessToken: 'a-graph-token' })
  const [form] = entra.forms
  expect(form).toMatchObject({ assertion: 'theirs', client_id: clientId })
  expect(form).not.toHaveProperty('client_secret')
  const { publicKey } = new X509Certificate(credential.certificate)
  await jwtVerify(form?.['client_assertion'] ?? '', publicKey, {
    algorithms: ['PS256'],
    audience: `${entra.origin}/${tenantId}/oauth2/v2.0/token`,
    issuer: clientId,
    subject: clientId,
  })
  expect(decodeProtectedHeader(form?.['client_assertion'] ?? '')).toHaveProperty('x5t#S256')
})

test('an exchange sends the federated token that the file holds by then', async () => {
  const tokens = [await given.entra().federatedToken(), await given.entra().federatedToken()]
  const { exchange } = givenExchange(given.federated())
  for (const token of tokens) {
    await writeFile(given.tokenFile(), token)
    await exchange()
  }
  expect(entra.forms.map((form) => form['client_assertion'])).toEqual(tokens)
})

test('an exchange whose secret has ended goes on with the next, and the one after begins with it', async () => {
  entra.next(() =>
    entra.forms.at(-1)?.['client_secret'] === 'the secret old' ? refused(7_000_222) : taken(),
  )
  const { exchange, changes } = givenExchange(given.federated(), secret('old'), secret('new'))
  await exchange()
  await exchange()
  expect(entra.forms.map((form) => form['client_secret'])).toEqual([
    'the secret old',
    'the secret new',
    'the secret new',
  ])
  expect(changes).toEqual([{ from: 'federated', to: 'new', refusedWith: 'token_file_unreadable' }])
})

test('an exchange that is refused for the person is not tried with another credential', async () => {
  entra.next(() => refused(50_013, 400, 'invalid_grant'))
  const { exchange, changes } = givenExchange(secret('one'), secret('two'))
  await expect(exchange()).rejects.toMatchObject({ code: 'token_rejected', reason: 'AADSTS50013' })
  expect(entra.forms).toHaveLength(1)
  expect(changes).toEqual([])
})

test('an exchange for which no credential is taken is a matter of the configuration', async () => {
  entra.next(() => refused(7_000_222))
  await expect(givenExchange(secret('one'), secret('two')).exchange()).rejects.toMatchObject({
    code: 'config_invalid',
    reason: 'AADSTS7000222',
  })
  expect(entra.forms).toHaveLength(2)
})
