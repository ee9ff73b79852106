import { decodeJwt } from 'jose'
import * as openId from 'openid-client'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, startSimulator, type KnownTenant } from '../src/simulator/index.ts'
import { assertionType, clientAssertion, ownCertificate } from './support/client-assertions.ts'
import { credentials, invalid, otherApp, redirectUri, scope, tokenError } from './support/entra-requests.ts'

const certificate = ownCertificate()
/** It stands still, so that a limit that is used up stays so. */
const now = Date.now()
const simulator = await startSimulator({
  now: () => now,
  users: 3,
  groups: 4,
  apps: [
    { ...defaultApp, multiTenant: true, certificates: [certificate.pem] },
    { ...otherApp, redirectUris: [redirectUri] },
  ],
  otherTenants: [{ domain: 'Fabrikam.example', name: 'Fabrikam', users: 2, groups: 3 }],
})
const fabrikam = simulator.otherTenants[0] as KnownTenant

beforeEach(() => simulator.reset())
afterAll(() => simulator.close())

const consumers = '9188040d-6c67-4c5b-b112-36a304b66dad'
const tokens = z.object({
  access_token: z.string(),
  id_token: z.string().optional(),
  refresh_token: z.string().optional(),
})

const json = async (path: string): Promise<unknown> => (await fetch(`${simulator.entraUrl}/${path}`)).json()
const issuersOf = async (name: string) => {
  const { keys } = z
    .object({ keys: z.array(z.object({ kid: z.string(), issuer: z.string() })) })
    .parse(await json(`${name}/discovery/v2.0/keys`))
  return { kid: keys[0]?.kid, issuers: keys.map(({ issuer }) => issuer) }
}
const authorize = async (name: string, parameters: Record<string, string>) =>
  await fetch(
    `${simulator.entraUrl}/${name}/oauth2/v2.0/authorize?${new URLSearchParams({
      client_id: credentials.client_id,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope,
      ...parameters,
    }).toString()}`,
    { redirect: 'manual' },
  )
const ask = async (name: string, parameters: Record<string, string>) =>
  await fetch(`${simulator.entraUrl}/${name}/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams({ ...credentials, ...parameters }),
  })
const refusal = async (name: string, parameters: Record<string, string>) => {
  const answer = await ask(name, parameters)
  const { error, error_codes: codes } = tokenError.parse(await answer.json())
  return { status: answer.status, error, code: codes[0] }
}
const codeOf = async (name: string, login: string) => {
  const answer = await authorize(name, { login_hint: login })
  return new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? ''
}
const redeem = async (name: string, code: string) =>
  tokens.parse(
    await (
      await ask(name, { grant_type: 'authorization_code', code, redirect_uri: redirectUri, scope })
    ).json(),
  )
const refresh = (token: string | undefined) => ({ grant_type: 'refresh_token', refresh_token: token ?? '' })
const graph = async (token: string, path: string) =>
  await fetch(`${simulator.graphUrl}/v1.0/${path}`, { headers: { authorization: `Bearer ${token}` } })

test('discovery and keys of a tenant name its issuer, those of all tenants the template', async () => {
  const { entraUrl, tenant } = simulator
  for (const [name, of] of [
    ['organizations', '{tenantid}'],
    ['common', '{tenantid}'],
    ['FABRIKAM.example', fabrikam.tenant.id],
    [tenant.id, tenant.id],
  ] as const) {
    const issuer = `${entraUrl}/${of}/v2.0`
    expect(await json(`${name}/v2.0/.well-known/openid-configuration`)).toMatchObject({ issuer })
    const personal = name === 'common' ? [`${entraUrl}/${consumers}/v2.0`] : []
    expect((await issuersOf(name)).issuers).toStrictEqual([issuer, ...personal])
  }
  expect((await issuersOf('common')).kid).toBe((await issuersOf(fabrikam.tenant.id)).kid)
  expect(await json('organizations/v2.0/.well-known/openid-configuration')).toMatchObject({
    token_endpoint: `${entraUrl}/organizations/oauth2/v2.0/token`,
    jwks_uri: `${entraUrl}/organizations/discovery/v2.0/keys`,
  })
})

describe.each(['organizations', 'common'] as const)('at %s', (name) => {
  test('a person of any tenant gets tokens of their own, and Graph answers from it', async () => {
    for (const { tenant } of [simulator, fabrikam]) {
      const [user] = tenant.users()
      const got = await redeem(name, await codeOf(name, user?.userPrincipalName ?? ''))
      expect(decodeJwt(got.id_token ?? '')).toMatchObject({
        tid: tenant.id,
        iss: `${simulator.entraUrl}/${tenant.id}/v2.0`,
        oid: user?.id,
      })
      expect(decodeJwt(got.access_token)['tid']).toBe(tenant.id)
      expect(await (await graph(got.access_token, 'me')).json()).toMatchObject({ id: user?.id })
      const ids = z.object({ value: z.array(z.object({ id: z.string() })) })
      const groups = ids.parse(await (await graph(got.access_token, 'me/transitiveMemberOf')).json()).value
      const groupsOf = tenant.groupsOf(user?.id ?? '').map(({ id }) => id)
      expect(groups.map(({ id }) => id)).toEqual(expect.arrayContaining(groupsOf))
      for (const at of [name, tenant.id]) {
        const renewed = tokens.parse(await (await ask(at, refresh(got.refresh_token))).json())
        expect(decodeJwt(renewed.access_token)).toMatchObject({ tid: tenant.id, oid: user?.id })
      }
    }
  })

  test('the page offers the people of all tenants', async () => {
    const page = await (await authorize(name, {})).text()
    for (const { tenant } of [simulator, fabrikam])
      for (const user of tenant.users()) expect(page).toContain(user.userPrincipalName)
  })

  test('an app of one tenant is refused, on the page and by the token endpoint', async () => {
    const page = await authorize(name, { client_id: otherApp.clientId, login_hint: 'x' })
    expect([page.status, await page.text()]).toStrictEqual([400, expect.stringContaining('AADSTS50194')])
    const own = { client_id: otherApp.clientId, client_secret: otherApp.clientSecret }
    expect(await refusal(name, { ...own, ...refresh('x') })).toStrictEqual(invalid(50194, 'invalid_request'))
  })

  test('an app that asks for itself is told to name a tenant', async () => {
    const own = { grant_type: 'client_credentials', scope: 'https://graph.microsoft.com/.default' }
    const code = name === 'common' ? 9001023 : 50059
    expect(await refusal(name, own)).toStrictEqual(invalid(code, 'invalid_request'))
    expect((await ask(fabrikam.tenant.id, own)).status).toBe(200)
  })
})

test('a client may take the token endpoint that all tenants share for the audience of its assertion', async () => {
  const [user] = fabrikam.tenant.users()
  const aud = `${simulator.entraUrl}/organizations/oauth2/v2.0/token`
  const answer = await fetch(aud, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: credentials.client_id,
      client_assertion_type: assertionType,
      client_assertion: await clientAssertion(simulator, certificate, { claims: { aud } }),
      grant_type: 'authorization_code',
      code: await codeOf('organizations', user?.id ?? ''),
      redirect_uri: redirectUri,
    }),
  })
  expect(answer.status).toBe(200)
})

test('a code or a refresh token is no good at a tenant that does not know its person', async () => {
  const [user] = fabrikam.tenant.users()
  const code = await codeOf('organizations', user?.id ?? '')
  const wanted = { grant_type: 'authorization_code', code, redirect_uri: redirectUri }
  expect(await refusal(simulator.tenant.id, wanted)).toStrictEqual(invalid(700005))
  const { refresh_token: token } = await fabrikam.signIn(user?.id ?? '')
  expect(await refusal(simulator.tenant.id, refresh(token))).toStrictEqual(invalid(50020))
})

test('a guest signs in at the tenant that invited them with the name they have at home', async () => {
  const [person] = fabrikam.tenant.users()
  const login = person?.userPrincipalName ?? ''
  const stranger = await authorize(simulator.tenant.id, { login_hint: login })
  expect([stranger.status, await stranger.text()]).toStrictEqual([
    400,
    expect.stringContaining('AADSTS50020'),
  ])
  const userPrincipalName = `${login.replace('@', '_')}#EXT#@${simulator.tenant.domain}`
  const guest = simulator.tenant.addUser({ guest: true, userPrincipalName })
  const got = await redeem(simulator.tenant.id, await codeOf(simulator.tenant.id, login))
  expect(decodeJwt(got.id_token ?? '')).toMatchObject({
    tid: simulator.tenant.id,
    oid: guest.id,
    idp: `https://sts.windows.net/${fabrikam.tenant.id}/`,
  })
  const home = await fabrikam.signIn(login)
  const here = tokens.parse(await (await ask(simulator.tenant.id, refresh(home.refresh_token))).json())
  expect(decodeJwt(here.access_token)).toMatchObject({ tid: simulator.tenant.id, oid: guest.id })
})

test('an app of one tenant does not exist in another', async () => {
  const page = await authorize(fabrikam.tenant.id, { client_id: otherApp.clientId })
  expect(await page.text()).toContain('AADSTS700016')
  await expect(fabrikam.signIn(fabrikam.tenant.users()[0]?.id ?? '', otherApp)).rejects.toMatchObject({
    code: 700016,
  })
})

test('tenants share neither ids nor limits, and start again together', async () => {
  const [user] = fabrikam.tenant.users()
  const { access_token: token } = await fabrikam.signIn(user?.id ?? '')
  expect(fabrikam.tenant.id).not.toBe(simulator.tenant.id)
  fabrikam.throttle.set({ size: 'S' })
  fabrikam.throttle.drain()
  expect((await graph(token, 'me')).status).toBe(429)
  const home = await simulator.signIn(simulator.tenant.users()[0]?.id ?? '')
  expect((await graph(home.access_token, 'me')).status).toBe(200)
  fabrikam.tenant.deleteUser(user?.id ?? '')
  simulator.reset()
  expect(fabrikam.tenant.user(user?.id ?? '')).toStrictEqual(user)
})

test('an OpenID client that knows one tenant signs a person of it in', async () => {
  const config = await openId.discovery(
    new URL(`${simulator.entraUrl}/${fabrikam.tenant.id}/v2.0`),
    credentials.client_id,
    undefined,
    openId.ClientSecretPost(credentials.client_secret),
    { execute: [openId.allowInsecureRequests] },
  )
  const callback = new URL(redirectUri)
  callback.searchParams.set(
    'code',
    await codeOf(fabrikam.tenant.domain, fabrikam.tenant.users()[0]?.id ?? ''),
  )
  const got = await openId.authorizationCodeGrant(config, callback)
  expect(got.claims()?.['tid']).toBe(fabrikam.tenant.id)
})
