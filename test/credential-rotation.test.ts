import { expect, test, vi } from 'vitest'
import { signIn } from '../src/embedded/browser.ts'
import { loadConfig, type Config } from '../src/config.ts'
import { openContext } from '../src/context.ts'
import { freePort } from '../src/embedded/ports.ts'
import { createLog } from '../src/log.ts'
import { serveGateway } from '../src/serve.ts'
import { defaultClientSecret } from '../src/simulator/index.ts'
import { readSourceStatus, recordSourceCredentials } from '../src/source-status.ts'
import { givenWorld } from './support/people.ts'
import type { World } from './support/world.ts'

const { open } = givenWorld()

/** A gateway as a new process has it: the same database, other settings. */
async function restarted(world: World, environment: Record<string, string>) {
  const port = String(await freePort())
  const config = loadConfig({ ...world.environment, PORT: port, ...environment }, { gateway: true })
  const lines: string[] = []
  const context = await openContext(config, createLog('info', { write: (line) => void lines.push(line) }), {
    queuePrefix: world.queuePrefix,
  })
  const gateway = await serveGateway(context)
  return {
    lines,
    config,
    url: config.publicUrl,
    close: async () => {
      await gateway.close()
      await context.close()
    },
  }
}

/** As whoever has this configuration sees it. */
async function statusOf({ db }: World, config: Config) {
  const [source] = await readSourceStatus(db, config)
  return source?.credentials.map(({ credential, inUse, refusedWith }) => [credential, inUse, refusedWith])
}

test('a secret is rotated without one sign-in failing, and each step tells which one is in use', async () => {
  const world = await open({ backend: 'postgres' })
  const { simulator } = world
  const credentials = simulator.credentials()
  const people = Array.from({ length: 6 }, () => simulator.tenant.addUser().userPrincipalName)
  const url = await world.startGateway()
  await signIn(url, 'entra-id', people[0]!)
  expect(await statusOf(world, world.config)).toEqual([['secret', true, null]])

  // The new one is added, at Entra and here; the old one still counts.
  credentials.addSecret('the second secret')
  const both = await restarted(world, { ENTRA_CLIENT_SECRET_NEXT: 'the second secret' })
  try {
    await signIn(both.url, 'entra-id', people[1]!)
    expect(both.lines.join('')).not.toContain('another credential')
    // Entra takes the old one no longer: the very next sign-in goes on with the new one.
    credentials.removeSecret(defaultClientSecret)
    for (const person of people.slice(2, 4)) await signIn(both.url, 'entra-id', person)
    await vi.waitFor(async () =>
      expect(await statusOf(world, both.config)).toEqual([
        ['secret', false, 'AADSTS7000215'],
        ['next secret', true, null],
      ]),
    )
    const told = both.lines.filter((line) => line.includes('another credential of the app is in use'))
    expect(told).toHaveLength(1)
    expect(told[0]).toContain('AADSTS7000215')
    expect(both.lines.join('')).not.toContain('the second secret')
  } finally {
    await both.close()
  }

  const after = await restarted(world, { ENTRA_CLIENT_SECRET: 'the second secret' })
  try {
    // It has the name of the old one, and is another.
    expect(await statusOf(world, after.config)).toEqual([['secret', true, null]])
    for (const person of people.slice(4)) await signIn(after.url, 'entra-id', person)
    expect(await statusOf(world, after.config)).toEqual([['secret', true, null]])
  } finally {
    await after.close()
  }
})

test('processes of two configurations take nothing from what the other has learnt', async () => {
  const world = await open({ backend: 'postgres' })
  const { simulator } = world
  const person = simulator.tenant.addUser().userPrincipalName
  const older = await restarted(world, {})
  simulator.credentials().removeSecret(defaultClientSecret)
  await expect(signIn(older.url, 'entra-id', person)).rejects.toThrow(/400/)
  const refused = ['secret', false, 'AADSTS7000215']
  await vi.waitFor(async () => expect(await statusOf(world, older.config)).toEqual([refused]))
  expect(older.lines.join('')).toContain('Entra takes no credential of the app any more')
  expect((await readSourceStatus(world.db, older.config))[0]?.advice[0]).toMatch(/nobody can sign in/)
  simulator.credentials().addSecret('the second secret')
  const newer = await restarted(world, { ENTRA_CLIENT_SECRET_NEXT: 'the second secret' })
  await signIn(newer.url, 'entra-id', person)
  const good = [refused, ['next secret', true, null]]
  await vi.waitFor(async () => expect(await statusOf(world, newer.config)).toEqual(good))
  const late = await restarted(world, {})
  await expect(signIn(late.url, 'entra-id', person)).rejects.toThrow(/400/)
  await vi.waitFor(() => expect(late.lines.join('')).toContain('Entra takes no credential'))
  for (const process of [late, older, newer]) await process.close()
  expect(await statusOf(world, newer.config)).toEqual(good)
  expect(await statusOf(world, older.config)).toEqual([refused])
})

test('a credential that ends soon, or is refused, is advised on', async () => {
  const world = await open({ backend: 'postgres' })
  const [source] = world.config.sources
  const [credential] = source!.credentials
  const ending = { ...credential!, expiresAt: '2026-03-10T00:00:00.000Z' }
  const config = { ...world.config, sources: [{ ...source!, credentials: [ending] }] }
  const adviceAt = async (day: string) =>
    (await readSourceStatus(world.db, config, new Date(`${day}T00:00:00Z`)))[0]?.advice
  expect(await adviceAt('2026-01-01')).toEqual([])
  expect((await adviceAt('2026-02-20'))?.join()).toMatch(/"secret" ends on 2026-03-10/)
  expect((await adviceAt('2026-04-01'))?.join()).toMatch(/"secret" has ended/)
  const refused = { ...ending, asked: true, refusedWith: 'AADSTS7000222', refusedAt: '2026-01-01T00:00:00Z' }
  await recordSourceCredentials(world.db, source!, { inUse: undefined, credentials: [refused] })
  expect((await adviceAt('2026-01-01'))?.join()).toMatch(/refuses .*AADSTS7000222/)
})
