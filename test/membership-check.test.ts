import { beforeEach, expect, test } from 'vitest'
import { SyncError, Throttled } from '../src/errors.ts'
import { refusalOf } from '../src/login/admission.ts'
import { givenWorld } from './support/people.ts'
import type { World } from './support/world.ts'

const { open, login, signedIn } = givenWorld()

let world: World
let ada: string
let group: string
beforeEach(async () => {
  world = await open({ backend: 'postgres' })
  const { tenant } = world.simulator
  ada = tenant.addUser({ displayName: 'Ada' }).id
  group = tenant.addGroup({ displayName: 'May sign in', kind: 'security' }).id
  tenant.addMember(group, ada)
})

const asked = () => world.simulator.requests.all({ path: /checkMemberGroups/ }).length

/** The groups that Graph tells, or what it refuses with. */
async function check(): Promise<readonly string[] | string> {
  const { tenantId, tokens } = await signedIn(ada)
  const told = world.source.checkGroups(tokens.accessToken, tenantId, [group])
  return await told.catch((error: unknown) => (error instanceof SyncError ? error.code : 'unknown'))
}

test('one refusal of the membership question pauses the tenant for everybody, and nobody asks before the pause is over', async () => {
  const refused = { status: 429, headers: { 'Retry-After': '60' } }
  world.simulator.faults.next({ on: { path: /checkMemberGroups/ }, times: 5, ...refused })
  for (let times = 0; times < 5; times += 1) expect(await check()).toBe('throttled')
  expect(asked()).toBe(1)
  expect((await world.budget.state())?.pausedMs).toBeGreaterThan(50_000)
  await world.db.$client`delete from tenant_budgets`
  world.simulator.faults.clear()
  expect(await check()).toEqual([group])
})

test('a failure that is no refusal pauses nobody', async () => {
  world.simulator.faults.next({ on: { path: /checkMemberGroups/ }, status: 500 })
  expect(await check()).toBe('graph_unavailable')
  expect((await world.budget.state())?.pausedMs ?? 0).toBe(0)
  expect(await check()).toEqual([group])
})

test('while the tenant is paused a member signs in by the last read, and a stranger is told to come back', async () => {
  await world.startWorkers()
  expect(await login(ada)).toMatchObject({ outcome: 'applied' })
  await world.budget.pause('high', new Throttled(60_000, 'told a resync'))
  const { db, source } = world
  const parts = { db, checkGroups: source.checkGroups, log: { warn: () => undefined } }
  const config = { ...source.config, signUp: { policy: 'members' as const, groupIds: [group] } }
  const ben = world.simulator.tenant.addUser({ displayName: 'Ben' }).id
  const refusal = async (objectId: string) => {
    const { tokens, ...person } = await signedIn(objectId)
    const expiresAt = new Date(tokens.expiresAt * 1000).toISOString()
    const proven = { ...person, tokens: { ...tokens, expiresAt }, userPrincipalName: undefined }
    return await refusalOf(parts, config, proven)
  }
  expect(await refusal(ada)).toBeUndefined()
  expect(await refusal(ben)).toMatchObject({ reason: 'membership_unknown' })
  expect(asked()).toBe(0)
})
