import { expect, test } from 'vitest'
import { approveHeldRun } from '../src/approve.ts'
import { defaultApp } from '../src/simulator/index.ts'
import { givenWorld } from './support/people.ts'

const { open, storedGroups } = givenWorld()

const usual = 'openid profile email offline_access User.Read GroupMember.Read.All'
const withHidden = `${usual} Member.Read.Hidden`

test('a token that lost the permission for hidden groups removes nothing until somebody agrees to it', async () => {
  const { simulator, context, startWorkers } = await open({
    backend: 'postgres',
    seed: { apps: [{ ...defaultApp, delegatedScopes: withHidden.split(' ') }] },
  })
  await startWorkers()
  const { tenant } = simulator
  const person = tenant.addUser().id
  const seen = ['Staff', 'Choir'].map((displayName) => tenant.addGroup({ displayName, kind: 'security' }).id)
  const hidden = tenant.addGroup({
    displayName: 'Board',
    kind: 'microsoft365',
    visibility: 'HiddenMembership',
  }).id
  for (const group of [...seen, hidden]) tenant.addMember(group, person)
  const login = async (scope: string) => {
    const tokens = await simulator.signIn(person, { scope })
    const event = {
      tenantId: tenant.id,
      objectId: person,
      tokens: {
        accessToken: tokens.access_token,
        expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
        scopes: tokens.scope.split(' '),
      },
    }
    return await context.loginSucceeded(event, { waitUpToMs: 20_000 })
  }
  expect(await login(withHidden)).toMatchObject({ outcome: 'applied' })
  expect((await storedGroups(person)).toSorted()).toEqual([...seen, hidden].toSorted())

  const held = await login(usual)
  expect(held).toMatchObject({ outcome: 'held' })
  expect(await storedGroups(person)).toHaveLength(3)
  expect(await login(withHidden)).toMatchObject({ outcome: 'unchanged' })
  tenant.removeMember(seen[0]!, person)
  expect(await login(withHidden)).toMatchObject({ outcome: 'applied' })

  const again = await login(usual)
  const runId = 'runId' in again ? again.runId : ''
  expect(await approveHeldRun(context, runId, 20_000)).toMatchObject({ outcome: 'applied', removed: 1 })
  expect(await storedGroups(person)).toEqual([seen[1]])
  // From here on nothing is stored that this token can't see.
  tenant.removeMember(seen[1]!, person)
  expect(await login(usual)).toMatchObject({ outcome: 'applied' })
  expect(await storedGroups(person)).toEqual([])
})
