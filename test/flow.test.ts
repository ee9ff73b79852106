import { describe, expect, test, vi } from 'vitest'
import { describeJob } from '../src/queue/catalogue.ts'
import { approveHeldRun } from '../src/approve.ts'
import { signIn } from '../src/embedded/browser.ts'
import { faultsOf } from '../src/simulator/index.ts'
import { syncUser } from '../src/sync.ts'
import { givenWorld } from './support/people.ts'
import { insertUser } from './support/users.ts'
import { availableBackends } from './support/world.ts'

const { open, storedGroups, remoteGroups, signedIn, login, personIn, followRuns } = givenWorld()

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('a browser signs in, and the memberships Entra knows become rows', async () => {
    const { simulator, startGateway, startWorkers, config } = await open({ backend, seed: { users: 5 } })
    await startWorkers()
    const url = await startGateway()
    for (const person of simulator.tenant.users())
      await signIn(url, config.sources[0]!.slug, person.userPrincipalName)
    for (const person of simulator.tenant.users()) {
      const { outcome } = await login(person.id)
      expect(['applied', 'unchanged']).toContain(outcome)
      expect(await storedGroups(person.id)).toEqual(remoteGroups(person.id))
    }
  })

  test('a second sign-in without changes is unchanged, and a change at Entra is applied by the next', async () => {
    const { simulator, startWorkers } = await open({ backend })
    await startWorkers()
    const person = personIn(3)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await login(person)).toMatchObject({ outcome: 'unchanged' })
    const [first] = simulator.tenant.groupsOf(person)
    simulator.tenant.removeMember(first!.id, person)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
    expect(await storedGroups(person)).toHaveLength(2)
  })

  test('a person in 2,500 groups gets all of them, and keeps exactly those while page 2 of 3 fails', async () => {
    const { simulator, startWorkers } = await open({ backend })
    await startWorkers()
    const person = personIn(2500)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    const before = await storedGroups(person)
    expect(before).toEqual(remoteGroups(person))
    expect(before).toHaveLength(2500)

    simulator.tenant.removeMember(before[0]!, person)
    const fault = simulator.faults.next({ on: { page: 2 }, status: 403, times: Number.POSITIVE_INFINITY })
    expect(await login(person)).toMatchObject({ outcome: 'denied' })
    expect(await storedGroups(person)).toEqual(before)
    fault.clear()
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(person)).toEqual(before.slice(1))
  })

  test('a failing Graph is tried again and the run after it applies', async () => {
    const { simulator, startWorkers, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 500, times: 2 })
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    const runs = await db.$client`select outcome, error_code, retried from sync_runs order by started_at`
    expect(runs.map((run) => [run['outcome'], run['error_code'], run['retried']])).toEqual([
      ['failed', 'graph_unavailable', true],
      ['failed', 'graph_unavailable', true],
      ['applied', null, false],
    ])
  })

  test('a throttled job waits as long as Graph says and spends no attempt', async () => {
    const { simulator, startWorkers, context, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 429, headers: { 'Retry-After': '1' }, times: 2 })
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    // The run is stored before its job completes.
    const attempts = async () =>
      (await context.backend.openQueue('sync').getCompleted()).map(({ attemptsMade }) => attemptsMade)
    await vi.waitFor(async () => expect(await attempts()).toEqual([1]), 20_000)
    expect(await db.$client`select outcome from sync_runs`).toEqual([{ outcome: 'applied' }])
  })

  test('a token of another person applies nothing and the run says why', async () => {
    const { startWorkers, simulator, db, context } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    const other = simulator.tenant.addUser({ displayName: 'Eve' })
    expect(await login(other.id, person)).toMatchObject({ outcome: 'failed' })
    expect(await storedGroups(other.id)).toEqual([])
    expect(await db.$client`select outcome, error_code from sync_runs`).toEqual([
      { outcome: 'failed', error_code: 'wrong_user' },
    ])
    // Nor is it ever renewed: what Entra says of its owner would be held against this person.
    expect(await db.$client`select state, reason from delegated_tokens`).toEqual([
      { state: 'needs_login', reason: 'wrong_user' },
    ])
    const [failed] = await context.backend.openQueue('sync').getFailed()
    expect(failed?.failedReason).toBe('wrong_user: the token belongs to another user than the job')
  })

  test('an expired access token is renewed, a revoked person must sign in again and keeps the groups', async () => {
    const { simulator, startWorkers, context } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    const event = await signedIn(person)
    const spent = { ...event, tokens: { ...event.tokens, expiresAt: 1 } }
    expect(await context.loginSucceeded(spent, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'applied',
    })

    simulator.expireAccessTokens()
    expect(await context.loginSucceeded(event, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'unchanged',
    })

    simulator.revokeUserTokens(person)
    expect(await context.loginSucceeded(spent, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'needs_login',
    })
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('sign-ins at the same time to the same new groups all end, each with its own memberships', async () => {
    const { simulator, startWorkers } = await open({ backend, seed: { users: 30 } })
    await startWorkers()
    const people = simulator.tenant.users().map(({ id }) => id)
    const ends = await Promise.all(people.map((person) => login(person)))
    expect(ends.filter(({ outcome }) => outcome !== 'applied' && outcome !== 'unchanged')).toEqual([])
    for (const person of people) expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('a stopping worker cuts off a Graph that hangs, and another worker runs the job', async () => {
    const { simulator, startWorkers } = await open({ backend })
    const person = personIn(2)
    const hanging = simulator.faults.next({ on: { path: /\$batch/ }, hang: true })
    const first = await startWorkers({ stopWithinMs: 50 })
    const outcome = login(person)
    while (hanging.remaining() > 0) await new Promise((resolve) => setImmediate(resolve))
    await first.stop()
    await startWorkers()
    expect(await outcome).toMatchObject({ outcome: 'applied' })
  })

  test('a resync asks Graph with low priority, a sign-in with high, and the run keeps the id that support asks for', async () => {
    const { simulator, startWorkers, context, db } = await open({ backend })
    await startWorkers()
    const person = personIn(1)
    await login(person)
    const [user] = await db.$client<{ id: string }[]>`select id from users`
    const ended = followRuns(1)
    const job = describeJob('sync-user', {
      userId: user!.id,
      tenantId: simulator.tenant.id,
      source: 'entra-id',
      cause: 'resync',
    })
    await ended.listening
    // A resync's job leaves nothing when it completes, and that is what is waited for.
    await context.backend.openQueue('sync').add(job.name, job.data, { ...job.opts, removeOnComplete: false })
    await ended.done
    const asked = simulator.requests
      .all({ path: /\$batch$/ })
      .map(({ headers }) => headers['x-ms-throttle-priority'])
    expect(asked).toEqual(['high', 'low'])
    expect(await db.$client`select graph_request_id is not null as kept from sync_runs`).toEqual([
      { kept: true },
      { kept: true },
    ])
  })

  test("a person of another tenant than the source's is not synced", async () => {
    const { db, context } = await open({ backend })
    const person = personIn(1)
    const tenantId = '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b29'
    const foreign = { ...(await signedIn(person)), tenantId }
    await expect(context.loginSucceeded(foreign)).rejects.toMatchObject({ code: 'invalid_login_event' })
    // Nor where a sign-in flow with a producer of its own has stored the event.
    const { userId } = await insertUser(db, tenantId)
    const job = { userId, tenantId, source: 'entra-id', cause: 'login' as const }
    await expect(syncUser(context, job)).rejects.toMatchObject({ code: 'wrong_tenant' })
    await expect(syncUser(context, { ...job, source: 'nowhere' })).rejects.toMatchObject({
      code: 'source_unknown',
    })
    expect(await db.$client`select distinct error_code from sync_runs order by 1`).toEqual([
      { error_code: 'source_unknown' },
      { error_code: 'wrong_tenant' },
    ])
    expect(await storedGroups(person)).toEqual([])
  })

  test('a label with a character Postgres refuses does not break the sign-in', async () => {
    const { startWorkers, db, context } = await open({ backend })
    await startWorkers()
    const event = { ...(await signedIn(personIn(1))), displayName: 'A\u0000da' }
    expect(await context.loginSucceeded(event, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'applied',
    })
    expect(await db.$client`select display_name from users`).toEqual([{ display_name: 'Ada' }])
  })
})

test('a removal that is too large is held, and after approval a worker reads again and applies it', async () => {
  const { simulator, startWorkers, context, db } = await open({ backend: 'postgres' })
  await startWorkers()
  const person = personIn(25)
  expect(await login(person)).toMatchObject({ outcome: 'applied' })
  for (const group of simulator.tenant.groupsOf(person)) simulator.tenant.removeMember(group.id, person)
  const held = await login(person)
  expect(held).toMatchObject({ outcome: 'held' })
  expect(await storedGroups(person)).toHaveLength(25)
  const runId = 'runId' in held ? held.runId : ''
  const approved = await approveHeldRun(context, runId, 20_000)
  expect(approved).toMatchObject({ cause: 'approve', outcome: 'applied', removed: 25 })
  expect(await storedGroups(person)).toEqual([])
  await expect(approveHeldRun(context, runId, 0)).rejects.toMatchObject({ code: 'run_not_held' })
  expect(await db.$client`select sync_state from users`).toEqual([{ sync_state: 'synced' }])
})

test('a complete answer of which most is missing, with a count that agrees, is held, and the next true one is clean', async () => {
  const { simulator, startWorkers } = await open({ backend: 'postgres' })
  await startWorkers()
  const person = personIn(40)
  expect(await login(person)).toMatchObject({ outcome: 'applied' })
  simulator.faults.next({ ...faultsOf.membersMissing(30), on: { page: 1 } })
  expect(await login(person)).toMatchObject({ outcome: 'held' })
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
  expect(await login(person)).toMatchObject({ outcome: 'unchanged' })
  expect(await storedGroups(person)).toHaveLength(40)
})
