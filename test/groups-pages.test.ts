import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { writeCursor } from '../src/api/groups-query.ts'
import { givenDatabase } from './support/database.ts'
import { openApp } from './support/groups-api.ts'
import { clockOf } from './support/log-replay.ts'
import { joinByRun, joinLocally, storeGroup, storeUser, type Stored } from './support/memberships.ts'

const database = givenDatabase()

type App = ReturnType<typeof openApp>
type Body = {
  groups?: { id: string }[]
  members?: { id: string }[]
  asOf: string | null
  next: string | null
}

let app: App
let ada: Stored
let team: Stored
beforeAll(async () => {
  const { db } = database
  app = openApp(db)
  ada = await storeUser(db)
  team = await storeGroup(db)
  const teams = await Promise.all(Array.from({ length: 22 }, () => storeGroup(db)))
  await joinByRun(
    db,
    ada.id,
    [team, ...teams].map(({ id }) => id),
  )
  for (const { id } of teams.slice(0, 7)) await joinLocally(db, ada.id, id)
  const people = await Promise.all(Array.from({ length: 22 }, () => storeUser(db)))
  for (const { id } of people) await joinByRun(db, id, [team.id])
})

const lists = { groups: () => `/v1/users/${ada.id}/groups`, members: () => `/v1/groups/${team.id}/members` }

const entriesOf = ({ groups, members }: Body) => groups ?? members ?? []

/** Follows `next` to the end. */
async function walk(path: string, between: () => Promise<void> = async () => undefined): Promise<Body[]> {
  const pages: Body[] = []
  for (let next: string | null = path; next !== null;) {
    const answer: { status: number; headers: Headers; body: unknown } = await app.get(next)
    expect(answer.status).toBe(200)
    const page = answer.body as Body
    expect(answer.headers.get('link')).toBe(page.next === null ? null : `<${page.next}>; rel="next"`)
    pages.push(page)
    next = page.next
    await between()
  }
  return pages
}

test.each(['groups', 'members'] as const)(
  'all pages of %s together are the whole, whatever the limit',
  async (list) => {
    const now = await clockOf(database.db)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 30 }), fc.boolean(), async (limit, past) => {
        const asOf = past ? `&asOf=${now}` : ''
        const [whole] = await walk(`${lists[list]()}?limit=1000${asOf}`)
        const pages = await walk(`${lists[list]()}?limit=${limit}${asOf}`)
        expect(pages.flatMap(entriesOf)).toEqual(entriesOf(whole!))
        expect(pages.map((page) => entriesOf(page).length)).toEqual(
          pages.map((_, at) => (at < pages.length - 1 ? limit : 23 - limit * (pages.length - 1))),
        )
      }),
      { numRuns: 20 },
    )
  },
)

test('a page has a hundred entries where no limit is given', async () => {
  const { db } = database
  const { id } = await storeUser(db)
  const made = await Promise.all(Array.from({ length: 101 }, () => storeGroup(db)))
  await joinByRun(
    db,
    id,
    made.map((group) => group.id),
  )
  const pages = await walk(`/v1/users/${id}/groups`)
  expect(pages.map((page) => entriesOf(page).length)).toEqual([100, 1])
})

test('pages of a past moment stay with it, whatever changes between them', async () => {
  const { db } = database
  const { id } = await storeUser(db)
  const made = await Promise.all(Array.from({ length: 9 }, () => storeGroup(db)))
  await joinByRun(
    db,
    id,
    made.map((group) => group.id),
  )
  const asOf = await clockOf(db)
  const remaining = [...made]
  const pages = await walk(`/v1/users/${id}/groups?limit=2&asOf=${asOf}`, async () => {
    await joinByRun(db, id, [(await storeGroup(db)).id])
    const gone = remaining.pop()
    await db.$client`
      with removed as (delete from memberships where user_id = ${id} and group_id = ${gone!.id} returning *)
      insert into membership_changes (user_id, group_id, origin, change, run_id)
      select user_id, group_id, origin, 'removed', ${randomUUID()} from removed`
  })
  expect(pages.map((page) => page.asOf)).toEqual(pages.map(() => asOf))
  expect(pages.flatMap(entriesOf).map((one) => one.id)).toEqual(made.map((one) => one.id).toSorted())
})

test('what stays is neither repeated nor skipped while others come and go between pages of now', async () => {
  const { db } = database
  const { id } = await storeUser(db)
  const made = (await Promise.all(Array.from({ length: 12 }, () => storeGroup(db))))
    .map((one) => one.id)
    .toSorted()
  await joinByRun(db, id, made)
  const goes = made.filter((_, at) => at % 3 === 0)
  const pages = await walk(`/v1/users/${id}/groups?limit=2`, async () => {
    await joinByRun(db, id, [(await storeGroup(db)).id])
    await db.$client`delete from memberships where user_id = ${id} and group_id = ${goes.shift() ?? randomUUID()}`
  })
  const told = pages.flatMap(entriesOf).map((one) => one.id)
  expect(new Set(told).size).toBe(told.length)
  expect(told.filter((one) => made.indexOf(one) % 3 > 0)).toEqual(made.filter((_, at) => at % 3 > 0))
})

test('a place carries its moment along, and fits no other list and no other moment', async () => {
  const { db } = database
  const asOf = await clockOf(db)
  const place = (next: string | null) =>
    new URL(next ?? '', 'http://localhost').searchParams.get('after') ?? ''
  const [past] = await walk(`${lists.groups()}?limit=5&asOf=${asOf}`)
  const after = place(past!.next)
  expect((await app.get(`${lists.groups()}?limit=5&after=${after}`)).body).toMatchObject({ asOf })
  const ben = await storeUser(db)
  const current = place((await walk(`${lists.groups()}?limit=5`))[0]!.next)
  for (const path of [
    `${lists.groups()}?after=${after}&asOf=2026-05-01T08:00:00Z`,
    `${lists.groups()}?after=${current}&asOf=${asOf}`,
    `/v1/users/${ben.id}/groups?after=${after}`,
    `${lists.members()}?after=${after}`,
  ]) {
    const answer = await app.get(path)
    expect([path, answer.status, answer.fields]).toEqual([path, 400, ['after']])
  }
})

test('a place that was altered is refused, or is another place in the same list', async () => {
  const good = writeCursor({ of: 'groups', subject: ada.id, last: team.id, asOf: undefined })
  expect((await app.get(`${lists.groups()}?after=${good}`)).status).toBe(200)
  for (const other of ['=', '%20', '.'])
    expect((await app.get(`${lists.groups()}?after=${good}${other}`)).fields).toEqual(['after'])
  await fc.assert(
    fc.asyncProperty(
      fc.nat(good.length),
      fc.nat(3),
      fc.string({
        unit: fc.constantFrom('a', 'Z', '0', '-', '_', '=', '+', '/', ' ', '%', 'é', '\0'),
        maxLength: 3,
      }),
      async (at, cut, text) => {
        const altered = good.slice(0, at) + text + good.slice(at + cut)
        const answer = await app.get(`${lists.groups()}?after=${encodeURIComponent(altered)}`)
        const entries = entriesOf(answer.body as Body).length
        expect([answer.status, answer.fields]).toEqual(
          answer.status === 200 ? [200, undefined] : [400, ['after']],
        )
        expect(entries).toBeLessThanOrEqual(23)
      },
    ),
    { numRuns: 200 },
  )
})

test.each(['2026-13-45T99:99:99.000000Z', '2026-05-01T08:00:00Z', "' or 1=1", '0000-01-01T00:00:00.000000Z'])(
  'a place made up with the moment %j is refused',
  async (asOf) => {
    const after = writeCursor({ of: 'groups', subject: ada.id, last: team.id, asOf })
    expect((await app.get(`${lists.groups()}?after=${after}`)).fields).toEqual(['after'])
  },
)
