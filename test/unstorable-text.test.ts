import { expect, test } from 'vitest'
import { z } from 'zod'
import { syncUser } from '../src/sync.ts'
import { createGraphClient } from '../src/graph/client.ts'
import { createSubscription } from '../src/graph/subscriptions.ts'
import { readBaseline, readChanges } from '../src/graph/delta.ts'
import { storableRequestId } from '../src/storable-text.ts'
import { batchAnswer } from './support/graph-answers.ts'
import { givenWorld } from './support/people.ts'
import type { World } from './support/world.ts'

const { open, signedIn, personIn, storedGroups, remoteGroups } = givenWorld()

/** Somebody who has signed in, and the job that reads them. */
async function known({ context, db, simulator }: World, objectId = personIn(1)) {
  await context.loginSucceeded(await signedIn(objectId))
  const [row] = await db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  const userId = row?.id ?? ''
  const job = { userId, tenantId: simulator.tenant.id, source: 'entra-id', cause: 'login' as const }
  return { objectId, job }
}

/** Changes what Graph tells of who is asking, in the next batch. */
function tellOfMe({ simulator }: World, change: object): void {
  simulator.faults.next({
    on: { path: /\$batch$/ },
    rewrite: (body) => ({
      responses: batchAnswer.parse(body).responses.map((inner) => {
        const told = z.record(z.string(), z.unknown()).parse(inner.body)
        return inner.id === 'me' ? { ...inner, body: { ...told, ...change } } : inner
      }),
    }),
  })
}

test.for([
  ['NUL in a name', { displayName: 'A\u0000da' }, { displayName: 'Ada' }],
  ['half a surrogate pair in a name', { displayName: 'A\ud800da' }, { displayName: 'A\ufffdda' }],
  ['NUL in the name to sign in with', { userPrincipalName: 'a\u0000@b.c' }, { userPrincipalName: 'a@b.c' }],
  ['NUL in an address', { mail: 'a\u0000@b.c' }, { mail: 'a@b.c' }],
  ['NUL in another address', { otherMails: ['a\u0000@b.c', 'd@e.f'] }, { otherMails: ['a@b.c', 'd@e.f'] }],
  ['half a pair in another address', { otherMails: ['a\udc00@b.c'] }, { otherMails: ['a\ufffd@b.c'] }],
] as const)('a person with %s is synced without it', async ([, change, stored]) => {
  const world = await open({ backend: 'postgres' })
  const { objectId, job } = await known(world)
  tellOfMe(world, change)
  expect(await syncUser(world.context, job)).toMatchObject({ outcome: 'applied' })
  expect(await storedGroups(objectId)).toEqual(remoteGroups(objectId))
  const [row] = await world.db.$client`
    select display_name as "displayName", user_principal_name as "userPrincipalName", mail, to_json(other_mails) as "otherMails"
    from users where object_id = ${objectId}`
  expect(row).toMatchObject(stored)
})

test('a name of a person that is longer than any of Entra changes nothing, and they are synced', async () => {
  const world = await open({ backend: 'postgres' })
  const { objectId, job } = await known(world)
  for (const displayName of ['x'.repeat(1024), 'y'.repeat(5000)]) {
    tellOfMe(world, { displayName })
    expect(['applied', 'unchanged']).toContain((await syncUser(world.context, job)).outcome)
  }
  const [row] = await world.db.$client`select display_name as name from users where object_id = ${objectId}`
  expect(row?.['name']).toBe('x'.repeat(1024))
})

test('a 403 whose request id has NUL and no end is a run that ends denied, with what can be stored of the id', async () => {
  const world = await open({ backend: 'postgres' })
  const { job } = await known(world)
  const innerError = { 'request-id': `a\u0000b\ud800${'c'.repeat(100_000)}` }
  world.simulator.faults.next({
    on: { path: /\$batch$/ },
    status: 403,
    headers: { 'request-id': '' },
    body: { error: { code: 'x\u0000', innerError } },
  })
  const end = await syncUser(world.context, job)
  expect(end).toMatchObject({ outcome: 'denied', error: { code: 'access_denied' } })
  const runs = await world.db
    .$client`select outcome, graph_request_id as id from sync_runs where user_id = ${job.userId}`
  expect(runs).toEqual([{ outcome: 'denied', id: `ab\ufffd${'c'.repeat(124)}` }])
})

test('a 401 whose code is no word is a reason of ours', async () => {
  const world = await open({ backend: 'postgres' })
  const { job } = await known(world)
  world.simulator.faults.next({
    on: { path: /\$batch$/ },
    status: 401,
    times: 2,
    body: { error: { code: 'x\u0000' } },
  })
  expect(await syncUser(world.context, job)).toMatchObject({
    outcome: 'needs_login',
    error: { reason: 'unauthorized' },
  })
})

test('the request id of a good answer is bounded as well', async () => {
  const world = await open({ backend: 'postgres' })
  const { job } = await known(world)
  world.simulator.faults.next({
    on: { path: /\$batch$/ },
    rewrite: (body) => ({
      responses: batchAnswer
        .parse(body)
        .responses.map((inner) => ({ ...inner, headers: { 'request-id': 'r'.repeat(9000) } })),
    }),
  })
  expect(await syncUser(world.context, job)).toMatchObject({ outcome: 'applied' })
  const runs = await world.db
    .$client`select graph_request_id as id from sync_runs where user_id = ${job.userId}`
  expect(runs).toEqual([{ id: 'r'.repeat(128) }])
})

test('a request id is what can be stored of what was given, and nothing where nothing can', () => {
  expect(storableRequestId('9d6e0a1c-0000-4000-8000-000000000000')).toBe(
    '9d6e0a1c-0000-4000-8000-000000000000',
  )
  expect(storableRequestId(`${'a'.repeat(127)}😀`)).toBe(`${'a'.repeat(127)}\ufffd`)
  for (const none of [undefined, null, '', '\u0000']) expect(storableRequestId(none)).toBeUndefined()
})

test('a group whose id has NUL makes the page one that is not understood', async () => {
  const world = await open({ backend: 'postgres' })
  const { job } = await known(world)
  world.simulator.faults.next({
    on: { page: 1 },
    rewrite: () => ({ value: [{ id: 'a\u0000b' }], '@odata.count': 1 }),
  })
  await expect(syncUser(world.context, job)).rejects.toMatchObject({ code: 'unexpected_response' })
})

test('a run that the database does not take is an error of the database', async () => {
  const world = await open({ backend: 'postgres' })
  const { job } = await known(world)
  await world.db.$client`alter table sync_runs add constraint nothing_denied check (outcome <> 'denied')`
  world.simulator.faults.next({ on: { path: /\$batch$/ }, status: 403 })
  await expect(syncUser(world.context, job)).rejects.toMatchObject({
    code: 'database_failed',
    message: expect.stringContaining('23514'),
  })
})

const answering = (answer: () => unknown) =>
  createGraphClient({
    baseUrl: 'http://127.0.0.1:9',
    accessToken: 'secret',
    fetch: async () => Response.json(answer()),
  })

test('labels that changes tell are told as they can be stored, and a link that cannot be is none', async () => {
  const link = 'http://127.0.0.1:9/v1.0/groups/delta?$deltatoken=1'
  const entry = { id: 'G', displayName: 'a\u0000b', description: 'c\ud800', mail: 'x'.repeat(5000) }
  const client = (end: string) => answering(() => ({ value: [entry], '@odata.deltaLink': end }))
  const told: unknown[] = []
  await readChanges(client(link), link, async (entries) => void told.push(...entries))
  const labels = { displayName: 'ab', description: 'c\ufffd', mail: 'x'.repeat(5000) }
  expect(told).toMatchObject([{ objectId: 'g', labels }])
  await expect(readBaseline(client(`${link}\u0000`), 'groups')).rejects.toMatchObject({
    code: 'unexpected_response',
  })
})

test('a subscription whose id cannot be stored is none', async () => {
  const expiresAt = '2026-01-01T00:00:00.000Z'
  const wanted = { url: 'https://a.example', clientState: 'x', expiresAt }
  const made = async (id: string) =>
    await createSubscription(
      answering(() => ({ id, expirationDateTime: expiresAt })),
      wanted,
    )
  expect(await made('a')).toEqual({ id: 'a', expiresAt })
  await expect(made('a\u0000')).rejects.toMatchObject({ code: 'unexpected_response' })
})
