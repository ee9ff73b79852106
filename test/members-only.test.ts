import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { createBrowser } from './support/browser.ts'
import { addUser, givenSignIn, loginOf } from './support/sign-in-flow.ts'

const { given, login, storedGroups, remoteGroups, followRuns } = givenSignIn()

describe('a source that takes only members of certain groups', () => {
  const groupId = '5d6b5e0c-6a3e-4b6e-9a55-0d4e6a5c3b29'
  const environment = { SIGN_UP: 'members', SIGN_UP_GROUPS: groupId }

  test('takes them, through groups within groups, and nobody else, until they leave', async () => {
    const { world, signIn, session } = await given(environment)
    const { tenant } = world.simulator
    const [ada, ben] = [addUser(world), addUser(world)]
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    const inner = tenant.addGroup({ displayName: 'Inner', kind: 'security' }).id
    tenant.addMember(groupId, inner)
    tenant.addMember(inner, ada.id)
    const refused = await signIn(ben.userPrincipalName)
    expect(refused.status).toBe(403)
    expect(await refused.text()).toContain('in none of the groups')
    expect(await (await signIn(ada.userPrincipalName)).json()).toMatchObject({ signedIn: true })
    await world.startWorkers()
    await login(ada.id)
    expect(await session()).toMatchObject({ signedIn: true })
    tenant.removeMember(inner, ada.id)
    expect(await login(ada.id)).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(ada.id)).toEqual(remoteGroups(ada.id))
    expect(await session()).toEqual({ signedIn: false })
  })

  test('ends what a person has in other browsers when they are found to have left', async () => {
    const { world, url, signIn } = await given(environment)
    const { tenant } = world.simulator
    const ada = addUser(world)
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    tenant.addMember(groupId, ada.id)
    const elsewhere = createBrowser(new Hono(), 'http://unused.invalid')
    await elsewhere.open(loginOf(url, ada.userPrincipalName))
    const there = async () => await (await elsewhere.fetchOnce(`${url}/session`)).json()
    expect(await there()).toMatchObject({ signedIn: true })
    tenant.removeMember(groupId, ada.id)
    expect((await signIn(ada.userPrincipalName)).status).toBe(403)
    expect(await there()).toEqual({ signedIn: false })
  })

  test('takes what is stored of a person who is refused, and stores nobody new', async () => {
    const { world, signIn } = await given(environment)
    const { tenant } = world.simulator
    const [ada, ben] = [addUser(world), addUser(world)]
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    tenant.addMember(groupId, ada.id)
    await world.startWorkers()
    expect(await login(ada.id)).toMatchObject({ outcome: 'applied' })
    tenant.removeMember(groupId, ada.id)
    const run = followRuns(1)
    await run.listening
    for (const { userPrincipalName } of [ben, ada]) expect((await signIn(userPrincipalName)).status).toBe(403)
    await run.done
    expect(await storedGroups(ada.id)).toEqual([])
    expect(await world.db.$client`select object_id as id from users`).toEqual([{ id: ada.id }])
  })

  const wanted = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c1' } } })
  const challenge = {
    on: { path: /checkMemberGroups/ },
    status: 401,
    headers: {
      'WWW-Authenticate': `Bearer error="insufficient_claims", claims="${Buffer.from(wanted).toString('base64')}"`,
    },
  }

  test('meets the claims that Graph wants before it tells, by one more trip to Entra', async () => {
    const { world, signIn, browser } = await given(environment)
    const { tenant, faults } = world.simulator
    const ada = addUser(world)
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    tenant.addMember(groupId, ada.id)
    faults.next(challenge)
    const answer = await signIn(ada.userPrincipalName)
    expect(await answer.json()).toMatchObject({ signedIn: true })
    const asked = browser.visited.flatMap((address) => new URL(address).searchParams.getAll('claims'))
    expect(asked.map((text) => text.includes('c1'))).toEqual([false, true])
  })

  test('tells who cannot meet them so, after one try', async () => {
    const { world, signIn, browser } = await given(environment)
    world.simulator.faults.next({ ...challenge, times: 2 })
    const answer = await signIn(addUser(world).userPrincipalName)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([403, null])
    expect(await answer.text()).toMatch(/wants more of you[^]*claims_unmet/)
    expect(browser.visited.filter((address) => address.includes('/authorize?'))).toHaveLength(2)
  })

  test('names the permission that is missing where Graph may not be asked', async () => {
    const { world, signIn } = await given(environment)
    world.simulator.faults.next({ on: { path: /checkMemberGroups/ }, status: 403 })
    const answer = await signIn(addUser(world).userPrincipalName)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([403, null])
    expect(await answer.text()).toContain('GroupMember.Read.All')
    expect(world.logged.join()).toContain('membership_forbidden')
  })

  const failure = {
    body: { error: { code: 'SomeCode', message: 'not for the log' } },
    headers: { 'request-id': 'r-1' },
  }

  test.for([
    ['a token refused', { ...failure, status: 401 }, /"token_rejected".* SomeCode.*"requestId":"r-1"/],
    ['a request refused', { ...failure, status: 400 }, /"unexpected_response".* SomeCode.*"requestId":"r-1"/],
    ['an answer of another shape', { rewrite: () => ({ value: 'all' }) }, /"unexpected_response"/],
  ] as const)(
    'leads from %s by Graph to the administrator, and logs what it said',
    async ([, fault, said]) => {
      const { world, signIn } = await given(environment)
      world.simulator.faults.next({ on: { path: /checkMemberGroups/ }, ...fault })
      const answer = await signIn(addUser(world).userPrincipalName)
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([403, null])
      expect(await answer.text()).toMatch(/Tell your administrator[^]*membership_failed/)
      const logged = world.logged.filter((line) => line.includes('membership_failed'))
      expect(logged).toEqual([expect.stringMatching(said)])
      expect(logged.join()).not.toContain('not for the log')
    },
  )

  test('does not go by the last read where Graph has answered something else: who has left could do that for ever', async () => {
    const { world, signIn } = await given(environment)
    const { tenant, faults } = world.simulator
    const ada = addUser(world)
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    tenant.addMember(groupId, ada.id)
    await world.startWorkers()
    expect(await login(ada.id)).toMatchObject({ outcome: 'applied' })
    tenant.removeMember(groupId, ada.id)
    for (const fault of [
      { ...challenge, times: 2 },
      { on: { path: /checkMemberGroups/ }, status: 401 },
      { on: { path: /checkMemberGroups/ }, status: 403, headers: { 'request-id': 'r-2' } },
    ]) {
      faults.next(fault)
      expect((await signIn(ada.userPrincipalName)).status).toBe(403)
    }
    expect(world.logged.join()).toMatch(/membership_forbidden.*"requestId":"r-2"/)
  })

  test('goes by the last read while Graph does not answer, and asks others to wait', async () => {
    const { world, signIn } = await given(environment)
    const { tenant, faults } = world.simulator
    const [ada, ben] = [addUser(world), addUser(world)]
    tenant.addGroup({ id: groupId, displayName: 'May sign in', kind: 'security' })
    for (const person of [ada, ben]) tenant.addMember(groupId, person.id)
    await world.startWorkers()
    expect(await login(ada.id)).toMatchObject({ outcome: 'applied' })
    faults.next({ on: { path: /checkMemberGroups/ }, status: 503, times: 2 })
    expect((await signIn(ada.userPrincipalName)).status).toBe(200)
    const answer = await signIn(ben.userPrincipalName)
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).not.toBeNull()
    expect((await signIn(ben.userPrincipalName)).status).toBe(200)
  })
})
