import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { SourceConfig } from '../src/config.ts'
import {
  defaultClientId,
  defaultClientSecret,
  idTokenFaults,
  startSimulator,
  type IdTokenFault,
  type Simulator,
} from '../src/simulator/index.ts'
import { createBrowser } from './support/browser.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { entraOf, publicUrl, testGateway, testSource } from './support/gateway.ts'

const loginPath = '/source/oauth/login/entra-id/'

let simulator: Simulator
let database: TestDatabase
let source: SourceConfig

beforeAll(async () => {
  simulator = await startSimulator({ users: 5, groups: 10, https: false })
  database = await createTestDatabase()
  source = {
    ...testSource,
    tenant: { kind: 'single', id: simulator.tenant.id },
    clientId: defaultClientId,
    credentials: [{ kind: 'secret', id: 'secret', secret: defaultClientSecret }],
    authorityHost: simulator.entraUrl,
    graphBaseUrl: simulator.graphUrl,
  }
})
beforeEach(() => simulator.faults.clear())
afterAll(async () => {
  await simulator.close()
  await database.close()
})

function setUp(parts: Partial<SourceConfig> = {}) {
  const gateway = testGateway({ db: database.db, configs: [{ ...source, ...parts }] })
  return { ...gateway, browser: createBrowser(gateway.app, publicUrl) }
}

test('a browser that follows every redirect from the button ends signed in as the person it picked', async () => {
  const [person] = simulator.tenant.users()
  const { browser, logins, logLines } = setUp()
  const hint = encodeURIComponent(person?.userPrincipalName ?? '')
  const answer = await browser.open(`${loginPath}?login_hint=${hint}&return_to=/session`)
  expect(await answer.json()).toMatchObject({
    signedIn: true,
    user: {
      tenantId: simulator.tenant.id,
      objectId: person?.id,
      displayName: person?.displayName,
      userPrincipalName: person?.userPrincipalName,
    },
    freshness: { state: 'never', syncedAt: null },
  })
  const [login] = logins
  expect(login?.user.tokens.scopes).toContain('GroupMember.Read.All')
  const me = await fetch(`${simulator.graphUrl}/v1.0/me`, {
    headers: { authorization: `Bearer ${login?.user.tokens.accessToken}` },
  })
  expect(await me.json()).toMatchObject({ id: person?.id })
  const issued = simulator.issuedTokens()
  expect(issued.length).toBeGreaterThanOrEqual(3)
  for (const secret of issued) expect(logLines.join()).not.toContain(secret)
})

test('keys that Entra rotates keep nobody out, not even right after they were read', async () => {
  const [person] = simulator.tenant.users()
  const { browser } = setUp()
  const address = `${loginPath}?login_hint=${person?.userPrincipalName}&return_to=/session`
  expect((await browser.open(address)).status).toBe(200)
  await simulator.rotateSigningKeys()
  browser.cookies().clear()
  expect(await (await browser.open(address)).json()).toMatchObject({ signedIn: true })
})

test.for(Object.entries<IdTokenFault>(idTokenFaults))(
  'an ID token with the fault %s lets nobody in, and is told without being shown',
  async ([, fault]) => {
    const [person] = simulator.tenant.users()
    const { browser, logins, logLines } = setUp()
    const spoilt = simulator.faults.idToken(fault)
    const answer = await browser.open(`${loginPath}?login_hint=${person?.userPrincipalName}`)
    const page = await answer.text()
    expect(spoilt.remaining()).toBe(0)
    expect(answer.status).toBe(400)
    expect(page).toMatch(/<code>(id_token_\w+|unexpected_response|OAUTH_\w+)<\/code>/)
    expect(`${page}${logLines.join()}`).not.toMatch(/eyJ/)
    expect(logLines.join()).toContain('sign-in failed')
    expect(logins).toEqual([])
    expect(await (await browser.open('/session')).json()).toEqual({ signedIn: false })
  },
)

test('a wrong client secret is told to the administrator, with the correlation id', async () => {
  const [person] = simulator.tenant.users()
  const { browser, logins } = setUp({
    credentials: [{ kind: 'secret', id: 'secret', secret: 'not the secret' }],
  })
  const answer = await browser.open(`${loginPath}?login_hint=${person?.userPrincipalName}`)
  expect(answer.status).toBe(400)
  expect(await answer.text()).toMatch(/registration of this application[^]*AADSTS7000215[^]*Correlation id/)
  expect(logins).toEqual([])
})

test('signing out at Entra tells of the person who does, and of nobody before', async () => {
  const entra = entraOf(source)
  const first = await entra.signOutUrl('https://app.example/', 'the hint of Ada')
  expect(first?.searchParams.get('logout_hint')).toBe('the hint of Ada')
  const second = await entra.signOutUrl('https://app.example/', undefined)
  expect(second?.searchParams.has('logout_hint')).toBe(false)
})
