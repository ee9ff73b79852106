import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { markGroupsDeleted } from '../db/groups.ts'
import { givenDatabase } from './support/database.ts'
import { openApp } from './support/groups-api.ts'
import { clockOf, momentsOf, readLog, replayTo, type Standing } from './support/log-replay.ts'
import { joinByRun, joinLocally, storeGroup, storeUser, type Stored } from './support/memberships.ts'
import { sync } from './support/reconciled.ts'
import { objectIds, remoteGroup } from './support/remote-memberships.ts'
import { insertUser } from './support/users.ts'

const database = givenDatabase()

type App = ReturnType<typeof openApp>
let app: App
beforeEach(() => void (app = openApp(database.db)))

/** The whole list, and what of it a replay can know. */
async function ask(path: string, asOf?: string) {
  const query = asOf === undefined ? '' : `&asOf=${asOf}`
  const { status, body } = await app.get(`${path}?limit=1000${query}`)
  const { groups, members } = body as { groups?: Standing[]; members?: Standing[] }
  const list = groups ?? members ?? []
  const held = list.map(({ id, origins, since }) => ({ id, origins, since }))
  return { status, list, held }
}

const groupsPath = (id: string) => `/v1/users/${id}/groups`
const membersPath = (id: string) => `/v1/groups/${id}/members`

describe('of any moment', () => {
  test('equals a replay of the change log, for whatever it says and whenever the clock was put back', async () => {
    const { db } = database
    const people = await Promise.all([1, 2, 3].map(() => storeUser(db)))
    const teams = await Promise.all([1, 2, 3].map(() => storeGroup(db)))
    const moment = fc
      .tuple(
        fc.integer({ min: 0, max: 3 }),
        fc.constantFrom('000000', '000001', '000999', '001000', '999999'),
      )
      .map(([second, fraction]) => `2026-05-01T08:00:0${second}.${fraction}Z`)
    const change = fc.record({
      userId: fc.constantFrom(...people.map(({ id }) => id)),
      groupId: fc.constantFrom(...teams.map(({ id }) => id)),
      origin: fc.constantFrom('entra', 'local'),
      change: fc.constantFrom('added', 'removed'),
      at: moment,
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 20 }),
        fc.array(moment, { maxLength: 3 }),
        async (changes, more) => {
          const sql = db.$client
          await sql`alter table membership_changes disable trigger membership_changes_append_only`
          await sql`truncate membership_changes`
          await sql`alter table membership_changes enable trigger membership_changes_append_only`
          for (const one of changes) {
            await sql`insert into membership_changes (user_id, group_id, origin, change, at)
            values (${one.userId}, ${one.groupId}, ${one.origin}, ${one.change}, ${one.at})`
          }
          const log = await readLog(
            db,
            people.map(({ id }) => id),
          )
          const moments = [...momentsOf(log).filter((_, at) => at % 4 === 0), ...more]
          for (const asOf of moments) {
            for (const { id } of people)
              expect((await ask(groupsPath(id), asOf)).held).toEqual(replayTo(log, asOf, { userId: id }))
            for (const { id } of teams)
              expect((await ask(membersPath(id), asOf)).held).toEqual(replayTo(log, asOf, { groupId: id }))
          }
        },
      ),
      { numRuns: 25 },
    )
  })

  test('equals a replay after any series of runs and deletions, and now equals what is stored', async () => {
    const { db } = database
    const read = fc.record({
      kind: fc.constant('read' as const),
      who: fc.nat(1),
      objectIds: fc.subarray(objectIds.slice(0, 5)),
    })
    const deletion = fc.record({
      kind: fc.constant('delete' as const),
      objectId: fc.constantFrom(...objectIds.slice(0, 5)),
    })
    const steps = fc.array(fc.oneof({ weight: 4, arbitrary: read }, { weight: 1, arbitrary: deletion }), {
      minLength: 1,
      maxLength: 9,
    })
    await fc.assert(
      fc.asyncProperty(steps, async (done) => {
        const tenantId = randomUUID()
        const people = [await insertUser(db, tenantId), await insertUser(db, tenantId)]
        for (const step of done) {
          const beganAt = await clockOf(db)
          if (step.kind === 'read')
            await sync(
              db,
              people[step.who]!,
              step.objectIds.map((objectId) => remoteGroup({ objectId })),
              { beganAt },
            )
          else {
            const run = { id: randomUUID() }
            await markGroupsDeleted(db, { tenantId, objectIds: [step.objectId], at: beganAt, run })
          }
        }
        const log = await readLog(
          db,
          people.map(({ userId }) => userId),
        )
        const groupIds = [...new Set(log.map(({ groupId }) => groupId))]
        const now = await clockOf(db)
        for (const { userId } of people) {
          for (const asOf of momentsOf(log))
            expect((await ask(groupsPath(userId), asOf)).held).toEqual(replayTo(log, asOf, { userId }))
          expect((await ask(groupsPath(userId), now)).list).toEqual((await ask(groupsPath(userId))).list)
        }
        for (const groupId of groupIds) {
          for (const asOf of momentsOf(log).slice(-4))
            expect((await ask(membersPath(groupId), asOf)).held).toEqual(replayTo(log, asOf, { groupId }))
          expect((await ask(membersPath(groupId), now)).list).toEqual((await ask(membersPath(groupId))).list)
        }
      }),
      { numRuns: 15 },
    )
  })
})

describe('local memberships, which need not be logged', () => {
  let ada: Stored
  let team: Stored
  beforeEach(async () => {
    ada = await storeUser(database.db)
    team = await storeGroup(database.db)
  })
  const now = async () => await clockOf(database.db)

  test('that are stored hold since they say so, and now equals what is stored', async () => {
    const { db } = database
    const before = await now()
    await joinByRun(db, ada.id, [team.id])
    const between = await now()
    await joinLocally(db, ada.id, team.id)
    const origins = async (asOf: string) =>
      (await ask(groupsPath(ada.id), asOf)).list.map((one) => one.origins)
    expect(await origins(before)).toEqual([])
    expect(await origins(between)).toEqual([['entra']])
    expect(await origins(await now())).toEqual([['entra', 'local']])
    expect((await ask(groupsPath(ada.id), await now())).list).toEqual((await ask(groupsPath(ada.id))).list)
  })

  test('that ended are known only where they were logged', async () => {
    const { db } = database
    const sql = db.$client
    const other = await storeGroup(db)
    await joinLocally(db, ada.id, team.id)
    await sql`with made as (insert into memberships (user_id, group_id, origin) values (${ada.id}, ${other.id}, 'local') returning *)
      insert into membership_changes (user_id, group_id, origin, change, at)
      select user_id, group_id, origin, 'added', since from made`
    const during = await now()
    expect((await ask(groupsPath(ada.id), during)).held.map(({ id }) => id)).toEqual(
      [team.id, other.id].toSorted(),
    )
    await sql`delete from memberships where user_id = ${ada.id}`
    await sql`insert into membership_changes (user_id, group_id, origin, change) values (${ada.id}, ${other.id}, 'local', 'removed')`
    expect((await ask(groupsPath(ada.id), during)).held).toMatchObject([{ id: other.id, origins: ['local'] }])
    expect((await ask(groupsPath(ada.id), await now())).held).toEqual([])
  })

  test('that began again are known of before as well, where they were logged, with the times of then', async () => {
    const { db } = database
    const sql = db.$client
    const times = [1, 2, 3].map((day) => `2026-05-0${day}T08:00:00.000000Z`)
    for (const [at, change] of ['added', 'removed', 'added'].entries()) {
      await sql`insert into membership_changes (user_id, group_id, origin, change, at)
        values (${ada.id}, ${team.id}, 'local', ${change}, ${times[at]!})`
    }
    await sql`insert into memberships (user_id, group_id, origin, since) values (${ada.id}, ${team.id}, 'local', ${times[2]!})`
    const since = async (asOf: string) => (await ask(groupsPath(ada.id), asOf)).held.map((one) => one.since)
    expect(await since('2026-05-01T20:00:00Z')).toEqual([times[0]])
    expect(await since('2026-05-02T20:00:00Z')).toEqual([])
    expect(await since('2026-05-03T20:00:00Z')).toEqual([times[2]])
  })

  test('of a group that is deleted by then are left out, as they are now', async () => {
    const { db } = database
    await joinLocally(db, ada.id, team.id)
    const before = await now()
    await db.$client`update groups set deleted_at = clock_timestamp() where id = ${team.id}`
    expect((await ask(groupsPath(ada.id), before)).held).toHaveLength(1)
    expect((await ask(groupsPath(ada.id), await now())).held).toEqual([])
    expect((await ask(membersPath(team.id), before)).held).toHaveLength(1)
    expect((await ask(membersPath(team.id), await now())).held).toEqual([])
  })
})

test.each([
  ['2026-05-01T12:00:00Z', '2026-05-01T12:00:00.000000Z'],
  ['2026-05-01T14:00:00.5%2B02:00', '2026-05-01T12:00:00.500000Z'],
  ['2026-05-01T00:30:00.123456-11:30', '2026-05-01T12:00:00.123456Z'],
  ['2026-05-01T12:00:00.1234569Z', '2026-05-01T12:00:00.123456Z'],
  ['1970-01-01T23:59:59.999999%2B23:59', '1970-01-01T00:00:59.999999Z'],
])('%s is the moment %s, and one moment has one answer', async (written, moment) => {
  const { id } = await storeUser(database.db)
  const [one, other] = [
    await app.get(`${groupsPath(id)}?asOf=${written}`),
    await app.get(`${groupsPath(id)}?asOf=${moment}`),
  ]
  expect([one.status, (one.body as { asOf: string }).asOf]).toEqual([200, moment])
  expect(one.headers.get('etag')).toBe(other.headers.get('etag'))
})

test('people who are no longer stored are left out of the past, and leave no gap in its pages', async () => {
  const { db } = database
  const team = await storeGroup(db)
  const made = await Promise.all(Array.from({ length: 4 }, () => storeUser(db)))
  const people = made.map(({ id }) => id).toSorted()
  for (const id of people) await joinByRun(db, id, [team.id])
  const asOf = await clockOf(db)
  for (const id of people.slice(0, 3)) await db.$client`delete from users where id = ${id}`
  const page = await app.get(`${membersPath(team.id)}?limit=1&asOf=${asOf}`)
  expect(page.body).toMatchObject({ members: [{ id: people[3] }], next: null })
})
