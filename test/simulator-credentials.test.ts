import { generateKeyPairSync } from 'node:crypto'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { ClientAssertionCredential, ClientCertificateCredential } from '@azure/identity'
import { decodeJwt, exportJWK, SignJWT } from 'jose'
import * as openId from 'openid-client'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, defaultClientId, startSimulator } from '../src/simulator/index.ts'
import { assertionType, clientAssertion, ownCertificate, thumbprint } from './support/client-assertions.ts'
import { askToken, authorityOf, invalid, refusedToken } from './support/entra-requests.ts'

const day = 24 * 60 * 60 * 1000
const scope = 'https://graph.microsoft.com/.default'
const bare = { grant_type: 'client_credentials', client_id: defaultClientId, scope }
const certificate = ownCertificate()
const issuerKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
const cluster = {
  issuer: 'https://cluster.example/',
  subject: 'system:serviceaccount:default:sync',
  jwks: { keys: [await exportJWK(issuerKey.publicKey)] },
}

let now = Date.now()
const app = {
  ...defaultApp,
  clientSecrets: [{ value: 'second' }, { value: 'ending', expiresAt: new Date(now + day) }],
  certificates: [certificate.pem],
  federated: [cluster],
}
const simulator = await startSimulator({ users: 1, groups: 0, apps: [app], now: () => now })

beforeEach(() => {
  simulator.reset()
  now = Date.now()
})
afterAll(() => simulator.close())

const client = (code: number) => invalid(code, 'invalid_client', 401)
const withSecret = (value: string) => ({ ...bare, client_secret: value })
const withAssertion = (assertion: string) => ({
  ...bare,
  client_assertion_type: assertionType,
  client_assertion: assertion,
})
const refused = async (parameters: Record<string, string>) => await refusedToken(simulator, parameters)
const accepted = async (parameters: Record<string, string>) =>
  (await askToken(simulator, parameters)).status === 200

describe('client secrets', () => {
  test('are several, each good until its end', async () => {
    for (const value of [defaultApp.clientSecret ?? '', 'second', 'ending'])
      expect(await accepted(withSecret(value))).toBe(true)
    expect(await refused(withSecret('never'))).toStrictEqual(client(7000215))
    now += day
    expect(await refused(withSecret('ending'))).toStrictEqual(client(7000222))
    expect(await accepted(withSecret('second'))).toBe(true)
  })

  test('rotate while the simulator runs, and an app that lost its last one is still asked for one', async () => {
    const credentials = simulator.credentials()
    credentials.addSecret('new')
    expect(await accepted(withSecret('new'))).toBe(true)
    for (const value of [defaultApp.clientSecret ?? '', 'second', 'ending', 'new'])
      credentials.removeSecret(value)
    expect(await refused(withSecret('second'))).toStrictEqual(client(7000215))
    expect(await refused(bare)).toStrictEqual(client(7000218))
    simulator.reset()
    expect(await accepted(withSecret('second'))).toBe(true)
  })
})

describe('a client assertion', () => {
  test.each([
    ['RS256 and x5t', { alg: 'RS256' }],
    [
      'PS256 and x5t#S256',
      { alg: 'PS256', x5t: undefined, 'x5t#S256': thumbprint(certificate.pem, 'sha256') },
    ],
  ])('of the registered certificate is accepted with %s', async (_, header) => {
    const answer = await askToken(
      simulator,
      withAssertion(await clientAssertion(simulator, certificate, { header })),
    )
    const { access_token: token } = z.object({ access_token: z.string() }).parse(await answer.json())
    expect(decodeJwt(token)).toMatchObject({ appidacr: '2' })
  })

  test('may be meant for the issuer, or for the token endpoint under the verified domain', async () => {
    for (const aud of [
      `${authorityOf(simulator)}/v2.0`,
      `${simulator.entraUrl}/${simulator.tenant.domain}/oauth2/v2.0/token`,
    ])
      expect(
        await accepted(withAssertion(await clientAssertion(simulator, certificate, { claims: { aud } }))),
      ).toBe(true)
  })

  test.each([
    ['for another tenant', { claims: { aud: 'http://127.0.0.1/other/oauth2/v2.0/token' } }, 700023],
    ['about another app', { claims: { sub: crypto.randomUUID() } }, 700021],
    ['that is over', { now: Date.now() - 900_000 }, 700024],
    ['of the future', { now: Date.now() + 900_000 }, 700024],
    ['that lives too long', { claims: { exp: Math.floor(Date.now() / 1000) + 3600 } }, 700024],
    ['without an id', { claims: { jti: undefined } }, 50027],
    ['that names no certificate', { header: { x5t: undefined } }, 5002723],
    ['that names an unknown one', { header: { x5t: 'AAAA' } }, 700027],
  ])('%s is refused', async (_, parts, code) => {
    const assertion = await clientAssertion(simulator, certificate, parts)
    expect(await refused(withAssertion(assertion))).toStrictEqual(client(code))
  })

  test('signed by another key, or used twice, is refused', async () => {
    const { privateKey } = ownCertificate()
    const forged = await clientAssertion(simulator, { ...certificate, privateKey })
    expect(await refused(withAssertion(forged))).toStrictEqual(client(700027))
    const good = withAssertion(await clientAssertion(simulator, certificate))
    expect(await accepted(good)).toBe(true)
    expect(await refused(good)).toStrictEqual(client(50027))
    expect(await refused({ ...good, client_assertion: 'x' })).toStrictEqual(client(50027))
  })

  test('follows a certificate that is replaced', async () => {
    const next = ownCertificate()
    const assertion = async (by: typeof next) => withAssertion(await clientAssertion(simulator, by))
    expect(await refused(await assertion(next))).toStrictEqual(client(700027))
    simulator.credentials().addCertificate(next.pem)
    expect([await accepted(await assertion(next)), await accepted(await assertion(certificate))]).toEqual([
      true,
      true,
    ])
    simulator.credentials().removeCertificate(certificate.pem)
    expect(await refused(await assertion(certificate))).toStrictEqual(client(700027))
  })
})

describe('the token of another issuer', () => {
  const issued = async (claims: Record<string, unknown> = {}, key = issuerKey.privateKey) =>
    new SignJWT({
      iss: cluster.issuer,
      sub: cluster.subject,
      aud: 'api://AzureADTokenExchange',
      exp: Math.floor(Date.now() / 1000) + 3600,
      ...claims,
    })
      .setProtectedHeader({ alg: 'RS256' })
      .sign(key)

  test('proves an app that trusts it, as often as it is shown', async () => {
    const good = withAssertion(await issued())
    expect([await accepted(good), await accepted(good)]).toEqual([true, true])
    simulator.credentials(defaultClientId).removeFederated(cluster)
    expect(await refused(good)).toStrictEqual(client(700021))
  })

  test.each([
    ['issuer', { iss: 'https://cluster.example' }, 700211],
    ['subject', { sub: 'System:serviceaccount:default:sync' }, 700213],
    ['audience', { aud: 'api://other' }, 700212],
    ['time', { exp: 1 }, 700024],
  ])('is refused when its %s is another', async (_, claims, code) => {
    expect(await refused(withAssertion(await issued(claims)))).toStrictEqual(client(code))
  })

  test('is refused when another key signed it', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await refused(withAssertion(await issued({}, privateKey)))).toStrictEqual(client(700027))
  })

  test('is accepted from @azure/identity, as is the certificate assertion it makes', async () => {
    const { entraUrl = '', caCertificate = '' } = simulator.https ?? {}
    setDefaultCACertificates([...getCACertificates('default'), caCertificate])
    const options = { authorityHost: entraUrl, disableInstanceDiscovery: true }
    const { id } = simulator.tenant
    const workload = new ClientAssertionCredential(id, defaultClientId, async () => await issued(), options)
    const own = new ClientCertificateCredential(
      id,
      defaultClientId,
      { certificate: certificate.pemWithKey },
      options,
    )
    for (const credential of [workload, own])
      expect(decodeJwt((await credential.getToken(scope)).token)).toMatchObject({ appidacr: '2' })
  })

  test('or the assertion of openid-client, told the thumbprint of its key, is accepted', async () => {
    const key = await crypto.subtle.importKey(
      'pkcs8',
      certificate.privateKey.export({ type: 'pkcs8', format: 'der' }),
      { name: 'RSA-PSS', hash: 'SHA-256' },
      false,
      ['sign'],
    )
    const kid = thumbprint(certificate.pem, 'sha1')
    const config = await openId.discovery(
      new URL(`${authorityOf(simulator)}/v2.0`),
      defaultClientId,
      undefined,
      openId.PrivateKeyJwt({ key, kid }),
      { execute: [openId.allowInsecureRequests] },
    )
    expect((await openId.clientCredentialsGrant(config, { scope })).access_token).toBeTruthy()
  })
})
