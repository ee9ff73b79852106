import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../src/embedded/ports.ts'
import { defaultApp, defaultClientId, defaultClientSecret } from '../src/simulator/index.ts'
import { createBrowser } from './support/browser.ts'
import { givenWorld } from './support/people.ts'
import { runScript, type Command } from './support/process.ts'
import type { World } from './support/world.ts'

const { open, personIn, remoteGroups, storedGroups } = givenWorld()
const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** The example as a process of its own, beside a world whose tenant knows its redirect URI. */
async function start(
  settings: Record<string, string> = {},
): Promise<{ world: World; url: string; app: Command }> {
  const port = await freePort()
  const url = `http://localhost:${port}`
  const registered = { ...defaultApp, redirectUris: [`${url}/auth/callback`, `${url}/`] }
  const world = await open({ backend: 'postgres', seed: { https: true, apps: [registered] } })
  const folder = mkdtempSync(path.join(tmpdir(), 'example-express-msal-'))
  closers.push(async () => rmSync(folder, { recursive: true }))
  const ca = path.join(folder, 'ca.pem')
  const { entraUrl = '', caCertificate = '' } = world.simulator.https ?? {}
  writeFileSync(ca, caCertificate)
  const app = runScript('examples/express-msal/main.ts', [], {
    NODE_EXTRA_CA_CERTS: ca,
    APP_URL: url,
    PORT: String(port),
    ENTRA_TENANT_ID: world.simulator.tenant.id,
    ENTRA_CLIENT_ID: defaultClientId,
    ENTRA_CLIENT_SECRET: defaultClientSecret,
    ENTRA_AUTHORITY_HOST: entraUrl,
    DATABASE_URL: world.environment['DATABASE_URL'] ?? '',
    TOKEN_ENCRYPTION_KEYS: world.environment['TOKEN_ENCRYPTION_KEYS'] ?? '',
    ...settings,
  })
  closers.push(async () => {
    app.child.kill('SIGTERM')
    expect(await app.ended, app.printed()).toBe(0)
  })
  await app.line(/^Sign in at /)
  return { world, url, app }
}

/** The page that a person ends on who signs in. Only the example is asked over TLS: the browser uses the tenant's http. */
async function signIn({ simulator }: World, url: string, userPrincipalName: string) {
  const browser = createBrowser(new Hono(), 'http://unused.invalid')
  const away = await browser.fetchOnce(`${url}/sign-in`)
  const authorize = new URL(away.headers.get('location') ?? '')
  expect(authorize.origin).toBe(simulator.https?.entraUrl)
  authorize.searchParams.set('login_hint', userPrincipalName)
  const page = await browser.open(`${simulator.entraUrl}${authorize.pathname}${authorize.search}`)
  return { browser, status: page.status, page: await page.text() }
}

test('a person who signs in there sees the groups that a worker has read', { timeout: 60_000 }, async () => {
  const { world, url } = await start()
  await world.startWorkers()
  const person = personIn(3)
  const { userPrincipalName } = world.simulator.tenant.user(person)
  const { browser, page } = await signIn(world, url, userPrincipalName)
  expect(page).toContain('Hello, Ada')
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
  const shown = async () =>
    [...(await (await browser.fetchOnce(url)).text()).matchAll(/data-id="([^"]+)"/g)].map(([, id]) => id)
  expect((await shown()).toSorted()).toEqual(remoteGroups(person).toSorted())
  // The refresh token came along: a run can renew.
  const tokens = await world.source.tokens.accessTokenOf({
    ...(await identityOf(world, person)),
    source: 'entra-id',
  })
  expect(tokens).not.toBe('')
  await world.db.$client`update delegated_tokens set expires_at = now()`
  const renewed = await world.source.tokens.accessTokenOf({
    ...(await identityOf(world, person)),
    source: 'entra-id',
  })
  expect(renewed).not.toBe(tokens)

  const out = await browser.fetchOnce(`${url}/sign-out`, { method: 'POST' })
  expect(new URL(out.headers.get('location') ?? '').pathname).toMatch(/\/logout$/)
  expect(await (await browser.fetchOnce(url)).text()).toContain('Sign in with Microsoft')
})

async function identityOf({ db, simulator }: World, objectId: string) {
  const [user] = await db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  return { userId: user!.id, tenantId: simulator.tenant.id, objectId }
}

test('a database that is down keeps nobody from signing in', { timeout: 60_000 }, async () => {
  const { world, url, app } = await start({ DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' })
  const { userPrincipalName } = world.simulator.tenant.user(personIn(1))
  const { status, page } = await signIn(world, url, userPrincipalName)
  expect(status).toBe(200)
  expect(page).toContain('Hello, Ada')
  expect(page).toContain('can’t be read at the moment')
  expect(app.printed()).toContain('a sign-in was not reported')
  for (const token of world.simulator.issuedTokens()) expect(app.printed()).not.toContain(token)
})

test(
  'a sign-in that another browser began, or a second use of it, gets nobody in',
  { timeout: 60_000 },
  async () => {
    const { world, url } = await start()
    const { userPrincipalName } = world.simulator.tenant.user(personIn(1))
    const { browser, page } = await signIn(world, url, userPrincipalName)
    expect(page).toContain('Hello')
    const callback = browser.visited.find((address) => address.includes('/auth/callback')) ?? ''
    for (const other of [browser, createBrowser(new Hono(), 'http://unused.invalid')]) {
      const answer = await other.fetchOnce(callback)
      expect(answer.status).toBe(400)
      expect(await answer.text()).toContain('not begun in this browser')
    }
  },
)

test('what is missing in its environment is named, and nothing starts', async () => {
  const app = runScript('examples/express-msal/main.ts', [], { DATABASE_URL: 'postgres://x/y' })
  expect(await app.ended).not.toBe(0)
  expect(app.printed()).toMatch(/missing or wrong in the environment: ENTRA_TENANT_ID.*TOKEN_ENCRYPTION_KEYS/)
})
