import { randomBytes, randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { insertInvitation } from '../db/admissions.ts'
import { loadConfig } from '../src/config.ts'
import { openContext, type Context } from '../src/context.ts'
import { signIn } from '../src/embedded/browser.ts'
import { freePort } from '../src/embedded/ports.ts'
import { createLog } from '../src/log.ts'
import { refusalOf } from '../src/login/admission.ts'
import { serveGateway } from '../src/serve.ts'
import type { SourceConfig } from '../src/source-config.ts'
import { defaultApp, defaultClientId, startSimulator, type Simulator } from '../src/simulator/index.ts'
import { startWorkers } from '../workers/main.ts'
import { createBrowser } from './support/browser.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const closers: (() => Promise<unknown>)[] = []
let simulator: Simulator
let database: TestDatabase
let context: Context
let url: string
const apiKey = 'a-key-of-an-application-1'
const multiTenantId = '7e1f0a6e-1f5a-4e1c-8a39-0a4f6a5c3b20'

/** One app for the first tenant, and one for the other two, on one gateway and one worker. */
beforeAll(async () => {
  const partners = { ...defaultApp, clientId: multiTenantId, multiTenant: true }
  simulator = await startSimulator({
    users: 0,
    groups: 0,
    https: false,
    apps: [defaultApp, partners],
    otherTenants: [
      { name: 'fabrikam', users: 0, groups: 0 },
      { name: 'woodgrove', users: 0, groups: 0 },
    ],
  })
  closers.push(() => simulator.close())
  database = await createTestDatabase()
  closers.push(database.close)
  const folder = mkdtempSync(path.join(tmpdir(), 'several-sources-'))
  closers.push(async () => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'sources.yaml')
  const [fabrikam] = simulator.otherTenants
  writeFileSync(
    file,
    `sources:
  - slug: staff
    name: Staff
    promoted: true
    tenant: ${simulator.tenant.id}
    clientId: ${defaultClientId}
    credentials: [{ secret: '\${THE_SECRET}' }]
    authorityHost: ${simulator.entraUrl}
    graphBaseUrl: ${simulator.graphUrl}
    filters: { names: ^kept }
  - slug: partners
    name: Partners
    tenant: organizations
    allowedTenants: [${fabrikam!.tenant.id}]
    clientId: ${multiTenantId}
    credentials: [{ secret: '\${THE_SECRET}' }]
    authorityHost: ${simulator.entraUrl}
    graphBaseUrl: ${simulator.graphUrl}
  - slug: closed
    name: Closed
    enabled: false
    tenant: ${simulator.tenant.id}
    clientId: ${defaultClientId}
    credentials: [{ secret: '\${THE_SECRET}' }]
`,
  )
  const config = loadConfig(
    {
      DATABASE_URL: database.url,
      SOURCES_FILE: file,
      THE_SECRET: defaultApp.clientSecret,
      TOKEN_ENCRYPTION_KEYS: `t1:${randomBytes(32).toString('base64')}`,
      SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
      API_KEYS: apiKey,
      PORT: String(await freePort()),
    },
    { gateway: true },
  )
  context = await openContext(config, createLog('silent'))
  closers.push(context.close)
  const workers = await startWorkers(context, { concurrency: 4 })
  closers.push(workers.stop)
  const gateway = await serveGateway(context)
  closers.push(gateway.close)
  url = config.publicUrl
})
afterAll(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

type Home = Pick<Simulator, 'tenant' | 'signIn'>

function personIn({ tenant }: Home, name: string) {
  const person = tenant.addUser({ displayName: name })
  for (const group of ['kept one', 'another'])
    tenant.addMember(tenant.addGroup({ displayName: group, kind: 'security' }).id, person.id)
  return person
}

async function report(home: Home, objectId: string, more: object = {}) {
  const tokens = await home.signIn(objectId, {
    clientId: home === simulator ? defaultClientId : multiTenantId,
  })
  const response = await fetch(`${url}/v1/login-events`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      tenantId: home.tenant.id,
      objectId,
      tokens: {
        accessToken: tokens.access_token,
        expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
        scopes: tokens.scope.split(' '),
      },
      waitUpToMs: 20_000,
      ...more,
    }),
  })
  return { status: response.status, ...((await response.json()) as object) }
}

const groupsOf = async (objectId: string) => {
  const rows = await database.db.$client<{ name: string }[]>`
    select g.display_name as name from memberships m join groups g on g.id = m.group_id
      join users u on u.id = m.user_id where u.object_id = ${objectId} order by 1`
  return rows.map(({ name }) => name)
}

test('people of each source are synced by its own rules, in their own tenant', async () => {
  const [fabrikam] = simulator.otherTenants
  const [ada, ben] = [personIn(simulator, 'Ada'), personIn(fabrikam!, 'Ben')]
  expect(await report(simulator, ada.id)).toMatchObject({ outcome: 'applied' })
  expect(await report(fabrikam!, ben.id)).toMatchObject({ outcome: 'applied' })
  expect(await groupsOf(ada.id)).toEqual(['kept one'])
  expect(await groupsOf(ben.id)).toEqual(['another', 'kept one'])
  const runs = await database.db.$client`
    select r.source, u.tenant_id as tenant from sync_runs r join users u on u.id = r.user_id order by 1`
  expect(runs).toEqual([
    { source: 'partners', tenant: fabrikam!.tenant.id },
    { source: 'staff', tenant: simulator.tenant.id },
  ])
})

test('a source that can not be meant, or does not take the tenant, is a problem of that field', async () => {
  const [fabrikam, woodgrove] = simulator.otherTenants
  const [ben, eve] = [personIn(fabrikam!, 'Ben'), personIn(woodgrove!, 'Eve')]
  for (const [home, person, source, field] of [
    [fabrikam!, ben, 'staff', 'tenantId'],
    [fabrikam!, ben, 'closed', 'source'],
    [fabrikam!, ben, 'nowhere', 'source'],
    [woodgrove!, eve, undefined, 'tenantId'],
  ] as const) {
    const answer = await report(home, person.id, source === undefined ? {} : { source })
    expect(answer).toMatchObject({ status: 400, problems: [{ field }] })
  }
})

test('the page offers what is enabled, the promoted first, and people sign in through each', async () => {
  const [fabrikam, woodgrove] = simulator.otherTenants
  const page = await (await fetch(url)).text()
  expect([...page.matchAll(/source\/oauth\/login\/(\w+)\//g)].map(([, slug]) => slug)).toEqual([
    'staff',
    'partners',
  ])
  expect((await fetch(`${url}/source/oauth/login/closed/`)).status).toBe(404)
  await signIn(url, 'staff', personIn(simulator, 'Ada').userPrincipalName)
  await signIn(url, 'partners', personIn(fabrikam!, 'Ben').userPrincipalName)
  const eve = personIn(woodgrove!, 'Eve').userPrincipalName
  await expect(signIn(url, 'partners', eve)).rejects.toThrow(/400/)
})

test('a sign-in that was begun at one source can not be finished at another', async () => {
  const browser = createBrowser(new Hono(), 'http://unused.invalid')
  const person = personIn(simulator, 'Ada')
  const atCallback = (next: URL) => !next.pathname.includes('/callback/')
  const begun = `${url}/source/oauth/login/staff/?login_hint=${person.userPrincipalName}`
  const answer = await browser.open(begun, atCallback)
  const callback = answer.headers.get('location') ?? ''
  expect(callback).toContain('/callback/staff/')
  const elsewhere = await browser.fetchOnce(callback.replace('/staff/', '/partners/'))
  expect(elsewhere.status).toBe(400)
  expect(await elsewhere.text()).toContain('can’t be finished')
  // Nor afterwards at its own: the state was for one use.
  expect((await browser.fetchOnce(callback)).status).toBe(400)
  for (const step of ['login', 'callback', 'logout'])
    expect((await fetch(`${url}/source/oauth/${step}/closed/`)).status).toBe(404)
})

test('where several tenants give out names, an invitation by name invites nobody', async () => {
  const { db } = database
  const [fabrikam] = simulator.otherTenants
  const person = {
    tenantId: fabrikam!.tenant.id,
    objectId: randomUUID(),
    userPrincipalName: 'ada@contoso.example',
  }
  const source = { slug: 'partners', signUp: { policy: 'invited' } } as const
  const log = createLog('silent')
  const tokens = { accessToken: '', expiresAt: '', refreshToken: undefined, scopes: [] }
  const admit = async (tenant: SourceConfig['tenant']) =>
    await refusalOf({ db, checkGroups: async () => [], log }, { ...source, tenant }, { ...person, tokens })
  await insertInvitation(db, 'partners', { userPrincipalName: person.userPrincipalName })
  expect(await admit({ kind: 'single', id: person.tenantId })).toBeUndefined()
  const several = { kind: 'organizations', allowed: 'any' } as const
  expect(await admit(several)).toMatchObject({ reason: 'not_invited' })
  await insertInvitation(db, 'partners', { objectId: person.objectId })
  expect(await admit(several)).toBeUndefined()
})
