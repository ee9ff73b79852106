import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterEach, expect, test, vi } from 'vitest'
import { freePort } from '../src/embedded/ports.ts'
import { tokenBinding } from '../src/login/login-succeeded.ts'
import { createVault } from '../src/login/vault.ts'
import { defaultApp, defaultClientId, defaultClientSecret, idTokenFaults } from '../src/simulator/index.ts'
import { leaksIn } from './support/leaks.ts'
import { givenWorld } from './support/people.ts'
import { runScript } from './support/process.ts'
import { simulatedBrowser, type Shown, type SimulatedBrowser } from './support/simulated-browser.ts'
import type { World } from './support/world.ts'

const { open, storedGroups, remoteGroups, personIn } = givenWorld()
const closers: (() => unknown)[] = []
// Each test starts a process that loads MSAL, Express and the library.
vi.setConfig({ testTimeout: 90_000 })

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Before any simulator's: their authorities share a name, and only one may be trusted at a time. */
const trusted = getCACertificates('default')

const registered = { ...defaultApp, redirectUris: ['http://localhost/auth/callback'] }

/** The queue is in Postgres: there it is this test's alone, by the names an application gives it. */
async function openTenant(): Promise<World> {
  return await open({ backend: 'postgres', seed: { https: true, apps: [registered] } })
}

/** The example as its README starts it, trusting the simulator's certificate; the page it is at. */
async function startExample({ simulator, environment }: World, settings: Record<string, string> = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-msal-'))
  closers.push(() => rmSync(folder, { recursive: true, force: true }))
  const certificate = path.join(folder, 'ca.pem')
  writeFileSync(certificate, simulator.https?.caCertificate ?? '')
  const port = await freePort()
  const example = runScript('examples/express-msal/main.ts', [], {
    APP_URL: `http://localhost:${port}`,
    PORT: String(port),
    ENTRA_TENANT_ID: simulator.tenant.id,
    ENTRA_CLIENT_ID: defaultClientId,
    ENTRA_CLIENT_SECRET: defaultClientSecret,
    ENTRA_AUTHORITY_HOST: simulator.https?.entraUrl ?? '',
    DATABASE_URL: environment['DATABASE_URL'] ?? '',
    TOKEN_ENCRYPTION_KEYS: environment['TOKEN_ENCRYPTION_KEYS'] ?? '',
    NODE_EXTRA_CA_CERTS: certificate,
    ...settings,
  })
  closers.push(() => {
    if (example.child.exitCode !== null || example.child.signalCode !== null) return undefined
    example.child.kill('SIGKILL')
    return example.ended
  })
  const [, url = ''] = await example.line(/^Sign in at (\S+)$/)
  return { url, ...example }
}

/** A browser that trusts the simulator, and has pressed the person's button on Entra's page; `back` is where it is sent. */
async function pickedAt(url: string, { simulator }: World, displayName: string) {
  setDefaultCACertificates([...trusted, simulator.https?.caCertificate ?? ''])
  const browser = simulatedBrowser()
  const { location } = await browser.open(`${url}/sign-in`)
  const picked = await browser.press(await browser.open(location?.href ?? ''), displayName)
  return { browser, asked: location, back: picked.location?.href ?? '' }
}

/** All the way to the example's first page. */
async function signedInAt(url: string, world: World, displayName: string) {
  const { browser, back } = await pickedAt(url, world, displayName)
  const { status, location } = await browser.open(back)
  expect({ status, location: location?.href }).toEqual({ status: 302, location: `${url}/` })
  return { browser, page: await browser.open(`${url}/`) }
}

const listed = (page: string) => [...page.matchAll(/data-id="([^"]+)"/g)].map(([, id = '']) => id).toSorted()

test("a person's groups are in Postgres and on the page after signing in, and signing out ends both sessions", async () => {
  const world = await openTenant()
  await world.startWorkers()
  const person = personIn(3)
  const [first] = world.simulator.tenant.groupsOf(person)
  const odd = world.simulator.tenant.addGroup({ displayName: '<b>Odd</b>', kind: 'security' })
  world.simulator.tenant.addMember(odd.id, person)
  const { url, printed, child, ended } = await startExample(world)
  const { browser, page } = await signedInAt(url, world, 'Ada')
  expect(page.text).toContain('Hello, Ada')
  const shown = await expectGroups(browser, url, page)
  expect(listed(shown)).toEqual(remoteGroups(person).toSorted())
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
  expect(shown).toContain(first?.displayName ?? 'none')
  expect(shown).toContain('&lt;b&gt;Odd&lt;/b&gt;')

  const out = await browser.press(page, 'Sign out')
  expect(out.location?.href).toContain(`${world.simulator.https?.entraUrl}/`)
  const { location } = await browser.open(out.location?.href ?? '')
  expect(location?.href).toBe(`${url}/`)
  expect((await browser.open(`${url}/`)).text).toContain('Sign in with Microsoft')
  expect(leaksIn(world.simulator.issuedTokens(), printed() + shown)).toEqual([])
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})

/** The page once a run has ended: the first one, unless the machine was too busy for the example's short wait. */
async function expectGroups(browser: SimulatedBrowser, url: string, first: Shown): Promise<string> {
  let { text } = first
  while (text.includes('being read')) ({ text } = await browser.open(`${url}/`))
  return text
}

test('the refresh token is handed over with the access token, those of the person who signed in', async () => {
  const world = await openTenant()
  const people = [personIn(1), personIn(1)]
  world.simulator.tenant.updateUser(people[1] ?? '', { displayName: 'Grace' })
  const { url } = await startExample(world)
  await signedInAt(url, world, 'Ada')
  await signedInAt(url, world, 'Grace')
  const { id: tenantId } = world.simulator.tenant
  for (const objectId of people) {
    const [row] = await world.db.$client<{ sealed: string; scopes: string[] }[]>`
      select t.sealed, t.scopes from delegated_tokens t join users u on u.id = t.user_id where u.object_id = ${objectId}`
    const vault = createVault(world.config.tokenKeys)
    const { accessToken, refreshToken } = await vault.unseal(
      row?.sealed ?? '',
      tokenBinding(tenantId, objectId),
    )
    expect(row?.scopes).toContain('GroupMember.Read.All')
    const token = await fetch(`${world.simulator.entraUrl}/${tenantId}/oauth2/v2.0/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        client_id: defaultClientId,
        client_secret: defaultClientSecret,
        refresh_token: refreshToken ?? '',
        scope: 'User.Read',
      }),
    })
    const renewed = (await token.json()) as { access_token: string }
    for (const each of [accessToken, renewed.access_token]) {
      const me = await fetch(`${world.simulator.graphUrl}/v1.0/me`, {
        headers: { authorization: `Bearer ${each}` },
      })
      expect(await me.json()).toMatchObject({ id: objectId })
    }
  }
})

test('a database that is down keeps nobody out', async () => {
  const world = await openTenant()
  personIn(1)
  const { url, line } = await startExample(world, { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' })
  const { page } = await signedInAt(url, world, 'Ada')
  expect(page.text).toContain('Hello, Ada')
  expect(page.text).toContain('can’t be read at the moment')
  await line(/not reported.*database_failed/)
})

test('a database that takes connections and says nothing keeps nobody out, nor waiting for its end', async () => {
  const world = await openTenant()
  personIn(1)
  const silent = await openSilentServer()
  const { url, printed } = await startExample(world, { DATABASE_URL: `postgres://nobody@${silent}/none` })
  const { browser, back } = await pickedAt(url, world, 'Ada')
  expect(await browser.open(back)).toMatchObject({ status: 302 })
  // The report hasn't failed yet: nobody waited for that.
  expect(printed()).not.toContain('not reported')
  expect((await browser.open(`${url}/`)).text).toContain('Hello, Ada')
})

async function openSilentServer(): Promise<string> {
  const sockets: Socket[] = []
  const server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return `127.0.0.1:${typeof address === 'object' ? address?.port : undefined}`
}

test('a sign-in is finished once, by the browser that began it, with what Entra answered to it', async () => {
  const world = await openTenant()
  personIn(1)
  const { url } = await startExample(world)
  const { browser, asked, back } = await pickedAt(url, world, 'Ada')
  expect(asked?.searchParams.get('code_challenge_method')).toBe('S256')
  expect(asked?.searchParams.get('nonce')).toMatch(/^[\w-]{43}$/)
  const stranger = simulatedBrowser()
  expect((await stranger.open(back)).status).toBe(400)
  await stranger.open(`${url}/sign-in`)
  expect((await stranger.open(back)).status).toBe(400)
  expect((await browser.open(back)).status).toBe(302)
  expect((await browser.open(back)).status).toBe(400)

  const refused = simulatedBrowser()
  const state = (await refused.open(`${url}/sign-in`)).location?.searchParams.get('state')
  const query = new URLSearchParams({ state: state ?? '', error: '<script>access_denied' })
  const page = await refused.open(`${url}/auth/callback?${query.toString()}`)
  expect(page).toMatchObject({ status: 400 })
  expect(page.text).toContain('&lt;script&gt;access_denied')
})

test('an ID token that is not for this sign-in signs nobody in', async () => {
  const world = await openTenant()
  personIn(1)
  const { url } = await startExample(world)
  const spoiled = [
    'wrongNonce',
    'wrongAudience',
    'wrongIssuer',
    'wrongTenant',
    'expired',
    'noObjectId',
  ] as const
  for (const name of spoiled) {
    const { browser, back } = await pickedAt(url, world, 'Ada')
    world.simulator.faults.idToken(idTokenFaults[name])
    expect([name, (await browser.open(back)).status]).toEqual([name, 400])
    expect((await browser.open(`${url}/`)).text).toContain('Sign in with Microsoft')
  }
  expect(await world.db.$client`select 1 from login_events`).toHaveLength(0)
})

test('an Entra that is out of reach is told by a code, on a page without a trace', async () => {
  const world = await openTenant()
  const { url } = await startExample(world, { ENTRA_AUTHORITY_HOST: 'https://127.0.0.1:9' })
  const page = await simulatedBrowser().open(`${url}/sign-in`)
  expect(page.status).toBe(400)
  expect(page.text).toMatch(/did not sign you in \(\w+\)/)
  expect(page.text).not.toMatch(/\bat .*\.(ts|mjs)/)
})
