import { expect, test, vi } from 'vitest'
import { closeDatabase, openDatabase } from '../db/client.ts'
import { signIn } from '../src/embedded/browser.ts'
import { loadConfig } from '../src/config.ts'
import { openContext } from '../src/context.ts'
import { freePort } from '../src/embedded/ports.ts'
import { createLog } from '../src/log.ts'
import { serveGateway } from '../src/serve.ts'
import { defaultClientSecret } from '../src/simulator/index.ts'
import { readSourceStatus } from '../src/source-status.ts'
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
    url: config.publicUrl,
    close: async () => {
      await gateway.close()
      await context.close()
    },
  }
}

test('a secret is rotated without one sign-in failing, and each step tells which one is in use', async () => {
  const world = await open({ backend: 'postgres' })
  const { simulator } = world
  const credentials = simulator.credentials()
  const people = Array.from({ length: 6 }, () => simulator.tenant.addUser().userPrincipalName)
  const url = await world.startGateway()
  const status = async () => {
    const [source] = await readSourceStatus(world.db, world.config)
    return source?.credentials.map(({ credential, inUse, refusedWith }) => [credential, inUse, refusedWith])
  }
  await signIn(url, 'entra-id', people[0]!)
  expect(await status()).toEqual([['secret', true, null]])

  // The new one is added, at Entra and here; the old one still counts.
  credentials.addSecret('the second secret')
  const both = await restarted(world, { ENTRA_CLIENT_SECRET_NEXT: 'the second secret' })
  try {
    await signIn(both.url, 'entra-id', people[1]!)
    expect(both.lines.join('')).not.toContain('another credential')
    // Entra takes the old one no longer: the very next sign-in goes on with the new one.
    credentials.removeSecret(defaultClientSecret)
    for (const person of people.slice(2, 4)) await signIn(both.url, 'entra-id', person)
    expect(await status()).toEqual([
      ['next secret', true, null],
      ['secret', false, 'AADSTS7000215'],
    ])
    const told = both.lines.filter((line) => line.includes('another credential of the app is in use'))
    expect(told).toHaveLength(1)
    expect(told[0]).toContain('AADSTS7000215')
    expect(both.lines.join('')).not.toContain('the second secret')
  } finally {
    await both.close()
  }

  const after = await restarted(world, { ENTRA_CLIENT_SECRET: 'the second secret' })
  try {
    for (const person of people.slice(4)) await signIn(after.url, 'entra-id', person)
    expect(await status()).toEqual([['secret', true, null]])
  } finally {
    await after.close()
  }
})

test('a process that starts, or is of an older configuration, takes nothing from what others have learnt', async () => {
  const world = await open({
    backend: 'postgres',
    environment: { ENTRA_CLIENT_SECRET_NEXT: 'not yet there' },
  })
  const person = world.simulator.tenant.addUser().userPrincipalName
  const status = async () => {
    const [source] = await readSourceStatus(world.db, world.config)
    return source?.credentials.map(({ credential, inUse, refusedWith }) => [credential, inUse, refusedWith])
  }
  const older = await restarted(world, {})
  world.simulator.credentials().removeSecret(defaultClientSecret)
  await expect(signIn(older.url, 'entra-id', person)).rejects.toThrow(/400/)
  const noneTaken = [
    ['next secret', false, 'AADSTS7000215'],
    ['secret', false, 'AADSTS7000215'],
  ]
  await vi.waitFor(async () => expect(await status()).toEqual(noneTaken))
  expect(older.lines.join('')).toContain('Entra takes no credential of the app any more')
  expect((await readSourceStatus(world.db, world.config))[0]?.advice[0]).toMatch(/nobody can sign in/)
  const newer = await restarted(world, { ENTRA_CLIENT_SECRET_NEXT: '' })
  expect(await status()).toEqual([['secret', false, 'AADSTS7000215']])
  world.simulator.credentials().addSecret('not yet there')
  await signIn(older.url, 'entra-id', person)
  await older.close()
  await newer.close()
  expect(await status()).toEqual([['secret', false, 'AADSTS7000215']])
})

test('a credential that ends soon, or is refused, is advised on', async () => {
  const world = await open({ backend: 'postgres' })
  const db = openDatabase(world.config.databaseUrl, { max: 1 })
  await db.$client`update source_credentials set expires_at = '2026-03-10', refused_with = null`
  const adviceAt = async (day: string) =>
    (await readSourceStatus(db, world.config, new Date(`${day}T00:00:00Z`)))[0]?.advice
  expect(await adviceAt('2026-01-01')).toEqual([])
  expect((await adviceAt('2026-02-20'))?.join()).toMatch(/"secret" ends on 2026-03-10/)
  expect((await adviceAt('2026-04-01'))?.join()).toMatch(/"secret" has ended/)
  await db.$client`update source_credentials set refused_with = 'AADSTS7000222'`
  expect((await adviceAt('2026-01-01'))?.join()).toMatch(/refuses .*AADSTS7000222/)
  await closeDatabase(db)
})
