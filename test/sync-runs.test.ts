import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { findRunSince, listRuns, recordRun, type EndedRun } from '../db/sync-runs.ts'
import type { Subject } from '../src/reconcile/reconcile.ts'
import { changesOf, groupsOf, nextMoment, statementsOf, sync } from './support/reconciled.ts'
import { remoteGroup } from './support/remote-memberships.ts'
import { givenUser } from './support/users.ts'

let db: Database
let user: Subject

givenUser((given) => ({ db, user } = given))

function ended(known: Partial<EndedRun> = {}): EndedRun {
  const startedAt = nextMoment()
  const run = { id: randomUUID(), source: 'entra-id', cause: 'resync' as const, startedAt }
  return { ...run, userId: user.userId, outcome: 'needs_login', errorCode: 'token_rejected', ...known }
}

async function stateOf(): Promise<unknown> {
  const [row] = await db.$client`select sync_state from users where id = ${user.userId}`
  return row?.['sync_state']
}

test('a run that ends early is recorded with the state of its user in one statement and touches no membership', async () => {
  const group = remoteGroup()
  await sync(db, user, [group])
  const startedAt = new Date(Date.now() + 60_000).toISOString()
  const run = ended({ startedAt, outcome: 'denied', errorCode: 'access_denied', graphRequestId: 'request-1' })
  expect(await statementsOf(db, () => recordRun(db, run))).toHaveLength(1)
  expect(await stateOf()).toBe('denied')
  expect(await groupsOf(db, user)).toEqual([group.objectId])
  expect(await changesOf(db, user)).toHaveLength(1)
  const [newest] = await listRuns(db, user.userId, 1)
  expect(newest).toMatchObject({
    id: run.id,
    outcome: 'denied',
    errorCode: 'access_denied',
    graphRequestId: 'request-1',
  })
})

test('a user who was synced after a failed run had started stays synced', async () => {
  const run = ended()
  await sync(db, user, [remoteGroup()])
  await recordRun(db, run)
  expect(await stateOf()).toBe('synced')
})

test('a user who has signed in again and was synced is no longer in need of it', async () => {
  await recordRun(db, ended())
  expect(await stateOf()).toBe('needs_login')
  await sync(db, user, [])
  expect(await stateOf()).toBe('synced')
})

test('a run of a user who is gone is dropped without an error', async () => {
  const run = ended({ userId: randomUUID() })
  await recordRun(db, run)
  expect(await listRuns(db, run.userId, 1)).toEqual([])
})

test('runs are listed newest first, up to the limit, with ISO times', async () => {
  const runs = [ended(), ended(), ended()]
  for (const run of runs) await recordRun(db, run)
  const listed = await listRuns(db, user.userId, 2)
  expect(listed.map(({ id }) => id)).toEqual([runs[2]?.id, runs[1]?.id])
  expect(new Date(listed[0]?.startedAt ?? '').toISOString()).toMatch(/^2026-05-01T08:00:00\./)
  expect(listed[0]?.startedAt).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/)
})

test('the newest run since a moment is found, and one that had started before it is not', async () => {
  const [before, after] = [ended(), ended()]
  await recordRun(db, before)
  expect(await findRunSince(db, user.userId, after.startedAt)).toBeUndefined()
  await recordRun(db, after)
  expect(await findRunSince(db, user.userId, after.startedAt)).toMatchObject({ id: after.id })
  expect(await findRunSince(db, user.userId, before.startedAt)).toMatchObject({ id: after.id })
})
