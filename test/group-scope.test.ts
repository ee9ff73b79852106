import { expect, test } from 'vitest'
import { approveHeldRun } from '../src/approve.ts'
import { syncUser } from '../src/sync.ts'
import { readSourceStatus } from '../src/source-status.ts'
import { givenWorld } from './support/people.ts'

const { open, storedGroups, remoteGroups, personIn, signedIn } = givenWorld()

const without = 'openid profile email offline_access User.Read'

test('a source without the scope lets people sign in, reads nothing, and says so', async () => {
  const world = await open({ backend: 'postgres', environment: { ENTRA_SCOPES: 'User.Read' } })
  const { context, db, simulator, startWorkers } = world
  await startWorkers({ relay: { intervalMs: 20, lostIntervalMs: 20, notRunAfter: 0 } })
  const person = personIn(2)
  expect(await context.loginSucceeded(await signedIn(person), { waitUpToMs: 20_000 })).toMatchObject({
    outcome: 'off',
  })
  expect(simulator.requests.all({ origin: 'graph' })).toEqual([])
  const [status] = await readSourceStatus(db, world.config)
  expect(status).toMatchObject({ groupSync: false })
  expect(status?.advice.join()).toMatch(/add GroupMember\.Read\.All/)
  expect(world.logged.join()).toContain('group sync is off for this source')
  // Nor does the relay find work in it, and a job from before the change removes nothing.
  expect(await db.$client`select from login_events where enqueued_at is null`).toHaveLength(0)
  const [user] = await db.$client<{ id: string }[]>`select id from users where object_id = ${person}`
  const job = { userId: user!.id, tenantId: simulator.tenant.id, source: 'entra-id', cause: 'login' as const }
  expect(await syncUser(context, job)).toMatchObject({ outcome: 'denied', error: { code: 'group_sync_off' } })
})

test('a token that lost the permission removes nobody from a group until somebody agrees', async () => {
  const world = await open({ backend: 'postgres' })
  const { context, simulator, startWorkers } = world
  await startWorkers()
  const person = personIn(3)
  const login = async (scope?: string) => {
    const tokens = await simulator.signIn(person, scope === undefined ? {} : { scope })
    const event = await signedIn(person)
    return await context.loginSucceeded(
      {
        ...event,
        tokens: { ...event.tokens, accessToken: tokens.access_token, scopes: tokens.scope.split(' ') },
      },
      { waitUpToMs: 20_000 },
    )
  }
  expect(await login()).toMatchObject({ outcome: 'applied' })
  expect(await login(without)).toMatchObject({ outcome: 'unchanged' })
  const [left] = remoteGroups(person)
  simulator.tenant.removeMember(left!, person)
  const held = await login(without)
  expect(held).toMatchObject({ outcome: 'held' })
  expect(await storedGroups(person)).toContain(left)
  const runId = 'runId' in held ? held.runId : ''
  expect(await approveHeldRun(context, runId, 20_000)).toMatchObject({ outcome: 'applied', removed: 1 })
  expect((await storedGroups(person)).toSorted()).toEqual(remoteGroups(person).toSorted())
})

test('people whose tenant has not consented are counted, and the address to consent at is told', async () => {
  const world = await open({ backend: 'postgres' })
  const { context, db, simulator } = world
  const person = personIn(1)
  const event = await signedIn(person)
  await context.loginSucceeded({ ...event, tokens: { ...event.tokens, scopes: without.split(' ') } })
  const [status] = await readSourceStatus(db, world.config)
  expect(status?.tenants).toEqual([{ tenantId: simulator.tenant.id, people: 1, withoutGroupScope: 1 }])
  const advice = status?.advice.join() ?? ''
  expect(advice).toContain('GroupMember.Read.All')
  const url = new URL(/https?:\S+/.exec(advice)?.[0] ?? '')
  expect(url.pathname).toBe(`/${simulator.tenant.id}/adminconsent`)
  expect(url.searchParams.get('client_id')).toBe(world.source.config.clientId)
})

test('a read tells what the person is called by now, and a name that is not told stays', async () => {
  const world = await open({ backend: 'postgres' })
  const { context, db, simulator, startWorkers } = world
  await startWorkers()
  const person = simulator.tenant.addUser({
    displayName: 'Ada Lovelace',
    userPrincipalName: 'ada@contoso.example',
    otherMails: ['ada@home.example'],
  })
  const profile = async () => {
    const [row] = await db.$client`
      select display_name as name, user_principal_name as upn, mail, to_json(other_mails) as others from users
      where object_id = ${person.id}`
    return row
  }
  const login = async () => await context.loginSucceeded(await signedIn(person.id), { waitUpToMs: 20_000 })
  expect(await login()).toMatchObject({ outcome: 'applied' })
  expect(await profile()).toMatchObject({
    name: 'Ada Lovelace',
    upn: 'ada@contoso.example',
    others: ['ada@home.example'],
  })
  simulator.tenant.updateUser(person.id, { userPrincipalName: 'king@contoso.example' })
  expect(await login()).toMatchObject({ outcome: 'unchanged' })
  expect(await profile()).toMatchObject({ name: 'Ada Lovelace', upn: 'king@contoso.example' })
  expect(await db.$client`select from users`).toHaveLength(1)
})
