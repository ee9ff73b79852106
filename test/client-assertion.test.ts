import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import { inspect } from 'node:util'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { createAppCredentials } from '../src/login/credentials.ts'
import { CredentialRefused } from '../src/login/entra-error.ts'
import { renewTokens } from '../src/login/renew.ts'
import type { Credential } from '../src/source-config.ts'
import { givenCredentials, secret, thrownBy } from './support/app-credentials.ts'
import { clientId, newCertificate } from './support/client-entra.ts'

const given = givenCredentials()

test('a secret is posted in the body', async () => {
  given.secretsAre({ one: 'good' })
  await given.app(secret('one')).renew()
  expect(given.entra().requests).toEqual([
    {
      grant_type: 'refresh_token',
      refresh_token: 'the refresh token',
      client_id: clientId,
      client_secret: 'the secret one',
    },
  ])
})

test.for(['pkcs8', 'pkcs1'] as const)(
  'a certificate with a %s key signs an assertion of its own for each request',
  async (type) => {
    const credential = newCertificate('certificate', type)
    given.entra().known.certificates = [new X509Certificate(credential.certificate)]
    const { renew, app } = given.app(credential)
    await renew()
    await renew()
    const [first, second] = given.entra().requests.map((form) => form['client_assertion'] ?? '')
    expect(Object.keys(given.entra().requests[0] ?? {}).toSorted()).toEqual(
      ['client_assertion', 'client_assertion_type', 'client_id', 'grant_type', 'refresh_token'].toSorted(),
    )
    expect(given.entra().requests[0]?.['client_assertion_type']).toBe(
      'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    )
    expect(decodeProtectedHeader(first!)).toMatchObject({ alg: 'PS256', typ: 'JWT' })
    const { iat = 0, nbf = 0, exp = 0, jti, ...claims } = decodeJwt(first!)
    expect(claims).toEqual({ aud: given.entra().tokenEndpoint, iss: clientId, sub: clientId })
    expect([nbf - iat, exp - iat <= 600, exp > iat]).toEqual([0, true, true])
    expect(decodeJwt(second!).jti).not.toBe(jti)
    expect(app.status().credentials[0]?.expiresAt).toMatch(/^\d{4}-/)
  },
)

test('a federated token is read anew for each request, so that it can be replaced meanwhile', async () => {
  const tokens = [await given.entra().federatedToken(), await given.entra().federatedToken()]
  const { renew } = given.app(given.federated())
  for (const token of tokens) {
    await writeFile(`${given.tokenFile()}.next`, `${token}\n`)
    await rename(`${given.tokenFile()}.next`, given.tokenFile())
    await renew()
  }
  expect(given.entra().requests.map((form) => form['client_assertion'])).toEqual(tokens)
})

test.for([
  ['missing', undefined],
  ['empty', '\n'],
  ['not a JWT', 'postgres://somebody:password@host'],
  ['too large', `e30.e30.${'a'.repeat(20_000)}`],
] as const)(
  'a federated token file that is %s is a refusal that names it, and the next credential is used',
  async ([, content]) => {
    if (content !== undefined) await writeFile(given.tokenFile(), content)
    given.secretsAre({ one: 'good' })
    const { renew, changes, app } = given.app(given.federated(), secret('one'))
    await renew()
    const refusedWith = 'token_file_unreadable'
    expect(changes).toEqual([{ from: 'federated', to: 'one', refusedWith }])
    expect(app.status()).toMatchObject({ inUse: 'one', credentials: [{ refusedWith }, {}] })
    const alone = await thrownBy(
      given.app(given.federated()).app.withCredential((prove) => prove(given.entra().tokenEndpoint)),
    )
    expect(alone).toMatchObject({
      code: 'config_invalid',
      reason: refusedWith,
      message: expect.stringContaining(given.tokenFile()),
    })
    const hidden = content?.trim() || 'nothing'
    expect(inspect(alone)).not.toContain(hidden)
    expect(given.entra().requests).toHaveLength(1)
  },
)

test('credentials that can not be used are named at the start, all at once, and nothing of them is told', () => {
  const good = newCertificate('good')
  const { privateKey: elliptic } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const locked = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'pass' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const bad = [
    { ...good, id: 'garbled key', privateKey: good.privateKey.replaceAll(/[A-Z]/g, 'x') },
    { ...good, id: 'locked key', privateKey: locked.privateKey },
    { ...good, id: 'elliptic key', privateKey: elliptic.export({ type: 'pkcs8', format: 'pem' }).toString() },
    { ...good, id: "another's key", privateKey: newCertificate('another').privateKey },
    { ...good, id: 'garbled certificate', certificate: good.certificate.slice(0, 200) },
  ]
  const start = (credentials: Credential[]) => () =>
    createAppCredentials({ slug: 'main', clientId, credentials }, { onChange: () => undefined })
  let error: unknown
  try {
    start([good, ...bad])()
  } catch (thrown) {
    error = thrown
  }
  expect(error).toMatchObject({
    name: 'ConfigInvalid',
    problems: bad.map(({ id }) => ({ setting: 'main', message: expect.stringContaining(id) })),
  })
  const text = inspect(error, { depth: 10 })
  for (const { privateKey } of bad)
    for (const line of privateKey.split('\n').slice(1, 4)) expect(text).not.toContain(line)
  expect(start([])).toThrow('main')
})

test('neither an error nor the status nor what is told of a change holds a secret, a key or an assertion', async () => {
  const certificate = newCertificate('certificate')
  await writeFile(given.tokenFile(), await given.entra().federatedToken('somebody else'))
  const { renew, app, changes, endings } = given.app(
    given.federated(),
    certificate,
    secret('one'),
    secret('two'),
  )
  given.secretsAre({})
  const raw = await thrownBy(renew())
  const own = await thrownBy(
    app.withCredential(() => renewTokens(given.entra().configuration(app), 'refresh')),
  )
  expect(own).toBeInstanceOf(CredentialRefused)
  given.secretsAre({ two: 'good' })
  await renew()
  const text = inspect([raw, own, app, app.status(), changes, endings], { depth: 20, showHidden: true })
  expect(text).toContain('AADSTS7000215')
  const assertions = given.entra().requests.flatMap((form) => form['client_assertion'] ?? [])
  expect(assertions).toHaveLength(6)
  const keyLines = certificate.privateKey.split('\n').slice(1, 4)
  for (const hidden of ['the secret', ...keyLines, ...assertions]) expect(text).not.toContain(hidden)
})

test('a federated token of another subject is refused, although Entra calls it a bad request', async () => {
  await writeFile(given.tokenFile(), await given.entra().federatedToken('somebody else'))
  given.secretsAre({ one: 'good' })
  const { renew, changes } = given.app(given.federated(), secret('one'))
  await renew()
  expect(changes).toEqual([{ from: 'federated', to: 'one', refusedWith: 'AADSTS70021' }])
})
