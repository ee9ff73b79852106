import { randomUUID } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { signIn } from '../src/embedded/browser.ts'
import { givenWorld } from './support/people.ts'
import { runCommand, type Command } from './support/process.ts'
import type { World } from './support/world.ts'

const { open } = givenWorld()
const running: Command[] = []

afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    if (child.exitCode === null) child.kill('SIGTERM')
    await ended
  }
})

/** What a command printed and how it ended. */
async function run({ environment }: World, ...args: string[]) {
  const command = runCommand(args, environment)
  running.push(command)
  return { code: await command.ended, printed: command.printed() }
}

test(
  'a disabled person is kept out and signed out everywhere, and let in again when that is taken back',
  { timeout: 120_000 },
  async () => {
    const world = await open({ backend: 'postgres' })
    const url = await world.startGateway()
    const ada = world.simulator.tenant.addUser().userPrincipalName
    await signIn(url, 'entra-id', ada)
    expect(await world.db.$client`select from sessions`).toHaveLength(1)
    expect(await run(world, 'people', 'disable', ada.toUpperCase())).toMatchObject({
      code: 0,
      printed: expect.stringContaining('is disabled, and signed out everywhere'),
    })
    expect(await world.db.$client`select from sessions`).toHaveLength(0)
    await expect(signIn(url, 'entra-id', ada)).rejects.toThrow(/403/)
    expect(await run(world, 'people', 'enable', ada)).toMatchObject({ code: 0 })
    await signIn(url, 'entra-id', ada)
    expect(await run(world, 'people', 'disable', 'nobody@contoso.example')).toMatchObject({ code: 1 })
    const [tenantId, other] = [world.simulator.tenant.id, randomUUID()]
    await world.db
      .$client`insert into users (tenant_id, object_id, user_principal_name) values (${other}, 'other', ${ada})`
    const several = await run(world, 'people', 'disable', ada)
    expect(several).toMatchObject({ code: 1, printed: expect.stringMatching(/^Nobody is changed: 2 people/) })
    for (const tenant of [tenantId, other]) expect(several.printed).toContain(`--tenant ${tenant}`)
    expect(await world.db.$client`select from users where not enabled`).toHaveLength(0)
    expect(await run(world, 'people', 'disable', ada, '--tenant', other.toUpperCase())).toMatchObject({
      code: 0,
    })
    expect(await world.db.$client`select tenant_id from users where not enabled`).toEqual([
      { tenant_id: other },
    ])
    expect(await run(world, 'people', 'disable', ada, '--tenant', 'contoso')).toMatchObject({
      code: 1,
      printed: expect.stringMatching(/^--tenant: must be the id of a tenant/),
    })
    const malformed = await run(world, 'people', 'disable', 'ada')
    expect(malformed).toMatchObject({
      code: 1,
      printed: expect.stringMatching(/^<person>: must be an object id/),
    })
  },
)

test('a person who is invited gets in where others do not', { timeout: 120_000 }, async () => {
  const world = await open({ backend: 'postgres', environment: { SIGN_UP: 'invited' } })
  const url = await world.startGateway()
  const [ada, ben] = [1, 2].map(() => world.simulator.tenant.addUser().userPrincipalName)
  expect(await run(world, 'invite', ada!)).toMatchObject({ code: 0 })
  expect((await run(world, 'invite', ada!)).printed).toContain('already')
  await signIn(url, 'entra-id', ada!)
  await expect(signIn(url, 'entra-id', ben!)).rejects.toThrow(/403/)
  expect(await run(world, 'invite', ben!, '--source', 'other')).toMatchObject({
    code: 1,
    printed: expect.stringMatching(/^--source: must be one of entra-id/),
  })
})

test('the sources are told, with what to do, and to programs as JSON', { timeout: 120_000 }, async () => {
  const world = await open({ backend: 'postgres', environment: { GROUP_SYNC: 'false' } })
  const told = await run(world, 'sources')
  expect(told.code).toBe(0)
  expect(told.printed).toMatch(/^entra-id {2}Entra ID$/m)
  expect(told.printed).toMatch(/credential +secret: secret, in use, end not known/)
  expect(told.printed).toMatch(/group sync +off: people sign in/)
  const unable = await run(
    { ...world, environment: { ...world.environment, GROUP_SYNC: 'true', ENTRA_SCOPES: 'User.Read' } },
    'sources',
  )
  expect([unable.code, unable.printed]).toEqual([
    1,
    expect.stringMatching(/! Group sync is off, since the scopes/),
  ])
  const json: unknown = JSON.parse((await run(world, 'sources', '--json')).printed)
  expect(json).toMatchObject([
    { slug: 'entra-id', groupSync: false, credentials: [{ credential: 'secret' }] },
  ])
  expect(told.printed).not.toContain(world.environment['ENTRA_CLIENT_SECRET'])
})

test(
  'an administrator sees the same on a page and as metrics, behind the password',
  { timeout: 120_000 },
  async () => {
    const world = await open({ backend: 'postgres', environment: { ADMIN_PASSWORD: 'a long password' } })
    const url = await world.startGateway()
    const authorization = `Basic ${Buffer.from('admin:a long password').toString('base64')}`
    for (const path of ['/admin/sources', '/admin/metrics']) {
      expect((await fetch(url + path)).status).toBe(401)
      expect((await fetch(url + path, { headers: { authorization } })).status).toBe(200)
    }
    const page = await (await fetch(`${url}/admin/sources`, { headers: { authorization } })).text()
    expect(page).toContain('Credentials of the app')
    const metrics = await (await fetch(`${url}/admin/metrics`, { headers: { authorization } })).text()
    expect(metrics).toContain('entra_group_sync_credential_in_use{source="entra-id",credential="secret"} 1')
    expect(metrics).toContain('entra_group_sync_source_group_sync{source="entra-id"} 1')
  },
)
