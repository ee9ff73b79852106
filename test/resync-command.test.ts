import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { cancelResync, findResync, listResyncs } from '../db/resyncs.ts'
import { beginResync } from '../src/resync.ts'
import { givenWorld } from './support/people.ts'
import { runCommand, type Command } from './support/process.ts'
import { fastResync } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenWorld()
const running: Command[] = []
const slow = { timeout: 120_000 }

afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    if (child.exitCode === null) child.kill('SIGTERM')
    await ended
  }
})

/** A command on the world's tenant, database and queue; its workers are those of the test. */
function begin({ environment }: World, ...args: string[]): Command {
  const command = runCommand(['resync', ...args], {
    ...environment,

    LOG_LEVEL: 'error',
  })
  running.push(command)
  return command
}

async function run(world: World, ...args: string[]) {
  const command = begin(world, ...args)
  return { code: await command.ended, printed: command.printed() }
}

test('brings everybody up to date and waits for it, with what it came to', slow, async () => {
  const world = await open({ backend: 'postgres' })
  await world.startWorkers(fastResync)
  const [ada, ben] = [personIn(1), personIn(1)]
  for (const person of [ada, ben]) await login(person)
  world.simulator.tenant.removeMember(remoteGroups(ada)[0]!, ada)
  const dry = await run(world, '--dry-run')
  expect(dry).toMatchObject({
    code: 0,
    printed: expect.stringMatching(/^2 people of entra-id would be taken[^]*about \d+ minutes/),
  })
  expect(await listResyncs(world.db, 9)).toEqual([])
  const waited = await run(world, '--wait')
  expect(waited.printed).toMatch(/begins: 2 people[^]*2\/2 done[^]*: done\.\n {2}2 people, 1 changed, 0 held/)
  expect(waited.code).toBe(0)
  expect(await storedGroups(ada)).toEqual([])
  expect((await run(world, '--list')).printed).toMatch(
    /entra-id {2}full {2}done {2}manual[^]*2\/2 done, 1 changed/,
  )
  const [listed] = JSON.parse((await run(world, '--list', '--json')).printed) as unknown[]
  expect(listed).toMatchObject({ state: 'done', done: 2 })
})

test(
  'where the app reads, nobody has to sign in first, and options that make no sense together are told',
  slow,
  async () => {
    const world = await open({ backend: 'postgres' })
    const workers = await world.startWorkers(fastResync)
    await login(personIn(1))
    await workers.stop()
    await world.db.$client`update delegated_tokens set state = 'needs_login', reason = 'AADSTS50173'`
    const app = { RESYNC_READ: 'app', ENTRA_AUTHORITY_HOST: 'https://login.example' }
    const ofApp = { ...world, environment: { ...world.environment, ...app } }
    expect(await run(ofApp, '--dry-run')).toMatchObject({
      code: 0,
      printed: expect.stringMatching(/^1 people of entra-id would be taken\.\n.*about 1 minutes/),
    })
    for (const [told, ...args] of [
      [/^--mode: must be full here/, '--mode', 'delta', '--dry-run'],
      [/^--mode: must be full here/, '--mode', 'delta', '--user', 'ada@contoso.example'],
      [/^--json: goes with --list/, '--json'],
      [/'--dry-run' cannot be used with option '--wait'/, '--dry-run', '--wait'],
      [/cannot be used with option '--list'/, '--cancel', 'x', '--list'],
    ] as const)
      expect(await run(ofApp, ...args)).toMatchObject({ code: 1, printed: expect.stringMatching(told) })
    expect(await listResyncs(world.db, 9)).toEqual([])
  },
)

test('one person is brought up to date by name, and an unknown one is told', slow, async () => {
  const world = await open({ backend: 'postgres' })
  await world.startWorkers(fastResync)
  const ada = world.simulator.tenant.addUser()
  await login(ada.id)
  await world.db
    .$client`update users set user_principal_name = ${ada.userPrincipalName} where object_id = ${ada.id}`
  const group = world.simulator.tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  world.simulator.tenant.addMember(group, ada.id)
  const done = await run(world, '--user', ada.userPrincipalName.toUpperCase())
  expect(done).toMatchObject({ code: 0, printed: expect.stringMatching(/applied, 1 added/) })
  expect(await storedGroups(ada.id)).toEqual([group])
  const unknown = await run(world, '--user', 'nobody@contoso.example')
  expect(unknown).toMatchObject({
    code: 1,
    printed: expect.stringMatching(/^--user: nobody of entra-id is called/),
  })
})

test('one that goes on is joined, told of when no worker takes it up, and ended', slow, async () => {
  const world = await open({ backend: 'postgres' })
  const { resync } = await beginResync(world.db, world.source, { mode: 'full', cause: 'manual' })
  const joined = await run(world)
  expect(joined).toMatchObject({ code: 0, printed: expect.stringMatching(/goes on already/) })
  expect(joined.printed).toContain(resync.id)
  const waiting = begin(world, '--wait')
  await waiting.line(/goes on already/)
  waiting.child.kill('SIGINT')
  expect(await waiting.ended).toBe(130)
  expect(waiting.printed()).toContain(`resync --cancel ${resync.id}`)
  expect(await findResync(world.db, resync.id)).toMatchObject({ state: 'running' })
  expect(await run(world, '--cancel', resync.id)).toMatchObject({ code: 0 })
  expect(await findResync(world.db, resync.id)).toMatchObject({ state: 'cancelled' })
  const again = await run(world, '--cancel', resync.id)
  expect(again).toMatchObject({ code: 1, printed: expect.stringMatching(/had ended already: cancelled/) })
  expect(await run(world, '--cancel', 'x')).toMatchObject({
    code: 1,
    printed: expect.stringMatching(/^--cancel: must be/),
  })
  expect(await run(world, '--mode', 'delta')).toMatchObject({
    code: 1,
    printed: expect.stringMatching(/^--mode: delta needs/),
  })
  expect(await run(world, '--source', 'x')).toMatchObject({
    code: 1,
    printed: expect.stringMatching(/^--source: must be one of entra-id/),
  })
})

test('an administrator sees how resyncs do, on a page and as metrics', slow, async () => {
  const world = await open({ backend: 'postgres', environment: { ADMIN_PASSWORD: 'a long password' } })
  const url = await world.startGateway()
  const { resync } = await beginResync(world.db, world.source, { mode: 'full', cause: 'manual' })
  await world.db
    .$client`update resyncs set state = 'held', due = 1500, done = 1200, held = 7, ended_at = now()`
  const authorization = `Basic ${btoa('admin:a long password')}`
  const page = await (await fetch(`${url}/admin/resyncs`, { headers: { authorization } })).text()
  expect(page).toMatch(/1,200 of 1,500\s+people/)
  expect(page).toContain(`approve ${resync.id}`)
  expect((await fetch(`${url}/admin/resyncs`)).status).toBe(401)
  const metrics = await (await fetch(`${url}/admin/metrics`, { headers: { authorization } })).text()
  expect(metrics).toContain('entra_group_sync_resync_people{source="entra-id",mode="full",outcome="held"} 7')
  expect(metrics).toContain('entra_group_sync_resync_running{source="entra-id",mode="full"} 0')
})

test(
  'hundreds of rounds of changes hide no resync of everybody, and the page goes back to the oldest',
  slow,
  async () => {
    const world = await open({ backend: 'postgres', environment: { ADMIN_PASSWORD: 'a long password' } })
    const url = await world.startGateway()
    await world.db.$client`
    insert into resyncs (source, mode, cause, state, started_at, ended_at, due, done)
    select 'entra-id', 'full', 'schedule', 'done', now() - interval '9 hours', now() - interval '8 hours', 9, 9
    union all
    select 'entra-id', 'delta', 'schedule', 'done', moment, moment, told, told
    from (select now() - back * interval '1 minute' as moment, back % 10 / 9 as told
      from generate_series(1, 480) back) rounds`
    const authorization = `Basic ${btoa('admin:a long password')}`
    const get = async (path: string) => await fetch(`${url}${path}`, { headers: { authorization } })
    const metrics = await (await get('/admin/metrics')).text()
    expect(metrics).toContain(
      'entra_group_sync_resync_people{source="entra-id",mode="full",outcome="done"} 9',
    )
    expect(metrics).toMatch(/resync_done_timestamp_seconds\{source="entra-id",mode="full"\} \d+/)
    const seen: string[] = []
    let next: string | undefined = '/admin/resyncs'
    while (next !== undefined) {
      const page = await (await get(next)).text()
      for (const [, title] of page.matchAll(/<h2 id="[^"]+">(.+?)<\/h2>/g)) seen.push(title ?? '')
      next = /href="(\/admin\/resyncs[?]before=[^"]+)"/.exec(page)?.[1]
    }
    // The latest, those that told of somebody, and the one of everybody.
    expect(seen).toHaveLength(1 + 48 + 1)
    expect(seen.at(-1)).toBe('entra-id: full, done')
    expect((await get('/admin/resyncs?before=x')).status).toBe(404)
    expect((await run(world, '--list')).printed.match(/ {2}delta {2}done/g)).toHaveLength(20)
  },
)

test(
  'a worker takes over what the file of sources says now at SIGHUP, and goes on where that is wrong',
  slow,
  async () => {
    const world = await open({ backend: 'postgres' })
    const folder = await mkdtemp(join(tmpdir(), 'entra-group-sync-reload-'))
    const file = join(folder, 'sources.yaml')
    const isOfSource = /^(ENTRA_|GRAPH_|SOURCE_|TENANT_)/
    const {
      ENTRA_TENANT_ID: tenant,
      ENTRA_CLIENT_ID: clientId,
      ENTRA_CLIENT_SECRET: secret,
    } = world.environment
    const { ENTRA_AUTHORITY_HOST: authorityHost, GRAPH_BASE_URL: graphBaseUrl } = world.environment
    const told = {
      slug: 'entra-id',
      name: 'Entra ID',
      tenant,
      clientId,
      credentials: [{ secret }],
      authorityHost,
      graphBaseUrl,
    }
    const say = async (schedule: string) =>
      await writeFile(file, JSON.stringify({ sources: [{ ...told, resync: { schedule } }] }))
    await say('every 6h')
    const others = Object.entries(world.environment).filter(([name]) => !isOfSource.test(name))
    const worker = runCommand(['worker'], {
      ...Object.fromEntries(others),
      SOURCES_FILE: file,
      LOG_LEVEL: 'info',
    })
    running.push(worker)
    await worker.line(/worker started/)
    const queue = world.context.backend.openResyncQueue()
    const every = async () => (await queue.getJobSchedulers()).map((each) => Number(each.every) / 3_600_000)
    expect(await every()).toEqual([6])
    await say('every 12h')
    worker.child.kill('SIGHUP')
    await worker.line(/resync settings reloaded/)
    expect(await every()).toEqual([12])
    await say('whenever')
    worker.child.kill('SIGHUP')
    await worker.line(/settings not reloaded/)
    expect(await every()).toEqual([12])
    worker.child.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
    await rm(folder, { recursive: true })
  },
)

test(
  'a worker takes over what its settings file says now, also at a SIGHUP while it waits for its queue',
  slow,
  async () => {
    const world = await open({ backend: 'postgres' })
    const folder = await mkdtemp(join(tmpdir(), 'entra-group-sync-settings-'))
    const own = { ...world.environment, RESYNC_TIME_ZONE: 'Europe/Berlin', LOG_LEVEL: 'info' }
    const say = async (...lines: string[]) =>
      await writeFile(join(folder, '.env'), [...lines, 'RESYNC_TIME_ZONE=Asia/Tokyo'].join('\n'))
    const queueless = runCommand(['worker'], { ...own, QUEUE_URL: 'redis://127.0.0.1:1' }, folder)
    running.push(queueless)
    await queueless.line(/ECONNREFUSED/)
    queueless.child.kill('SIGHUP')
    await say('RESYNC_SCHEDULE=every 6h')
    const worker = runCommand(['worker'], own, folder)
    running.push(worker)
    await worker.line(/worker started/)
    const queue = world.context.backend.openResyncQueue()
    const repeats = async () =>
      (await queue.getJobSchedulers()).map(({ every, pattern, tz }) => pattern ?? `${every} ${tz ?? ''}`)
    expect(await repeats()).toEqual(['21600000 '])
    for (const [lines, repeat] of [
      [['RESYNC_SCHEDULE=every 12h'], '43200000 '],
      [[], '0 3 * * *'],
    ] as const) {
      await say(...lines)
      worker.child.kill('SIGHUP')
      await vi.waitFor(async () => expect(await repeats()).toEqual([repeat]), 20_000)
    }
    // What the process was started with comes first.
    expect((await queue.getJobSchedulers())[0]?.tz).toBe('Europe/Berlin')
    for (const each of [queueless, worker]) each.child.kill('SIGTERM')
    expect(await Promise.all([queueless.ended, worker.ended])).toEqual([143, 0])
    await rm(folder, { recursive: true })
  },
)

test('says of a resync that does not get on what is in its way', slow, async () => {
  const world = await open({ backend: 'postgres' })
  const { resync } = await beginResync(world.db, world.source, { mode: 'full', cause: 'manual' })
  await world.db.$client`update resyncs set error_code = 'config_invalid'`
  const why = /^ *It does not get on: config_invalid\. The log of the worker says what is wrong\.$/m
  expect((await run(world, '--list')).printed).toMatch(why)
  const waiting = begin(world, '--wait')
  await waiting.line(why)
  await cancelResync(world.db, resync.id)
  expect(await waiting.ended).toBe(1)
  expect(waiting.printed().match(new RegExp(why, 'gm'))).toHaveLength(1)
})

test('ends in order where nobody reads what it prints', slow, async () => {
  const world = await open({ backend: 'postgres' })
  const listing = begin(world, '--list')
  listing.child.stdout?.destroy()
  expect(await listing.ended).toBe(0)
  expect(listing.printed()).toBe('')
})
