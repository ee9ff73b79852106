import { describe, expect, test } from 'vitest'
import { signIn } from '../src/embedded/browser.ts'
import { leaksIn } from './support/leaks.ts'
import { givenWorld } from './support/people.ts'
import { availableBackends } from './support/world.ts'

const { open, login, personIn, signedIn, followRuns } = givenWorld()

const apiKey = 'k'.repeat(24)
const adminPassword = 'correct horse battery'

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('the search finds a token wherever it was written, or it would prove nothing', async () => {
    const { db, context, leaks, logged } = await open({ backend })
    const { tokens } = await signedIn(personIn(1))
    const queue = context.backend.openQueue('sync')
    expect(await leaks()).toEqual([])
    logged.push(`{"cause":"Bearer ${tokens.accessToken}"}`)
    await db.$client`insert into sources (slug, name, tenant_id, client_id)
      values ('x', ${`at ${tokens.refreshToken!}`}, 't', 'c')`
    const job = await queue.add('sync-user', JSON.parse(`{"userId":"${tokens.accessToken}"}`))
    const found = (await leaks()).join()
    expect(found).toMatch(/the log,.*public\.sources/)
    expect(found).toMatch(backend === 'redis' ? /the key .*sync:\d/ : /bullmq\.job/)
    logged.splice(0)
    await db.$client`delete from sources where slug = 'x'`
    await job.remove()
    // BullMQ's events told the job too, and stay.
    await db.$client`drop schema if exists bullmq cascade`
    await queue.obliterate({ force: true }).catch(() => undefined)
    expect(await leaks()).toEqual([])
  })

  // Every world of every test is searched when it closes; this one meets all that can go wrong with a token, and asks
  // for every page.
  test('no token is in an answer, a log, a row or a job, whatever goes wrong', async () => {
    const { simulator, startGateway, startWorkers, config } = await open({
      backend,
      environment: { API_KEYS: apiKey, ADMIN_PASSWORD: adminPassword, LOG_LEVEL: 'trace' },
    })
    await startWorkers()
    const url = await startGateway()
    const answers: string[] = []
    const ask = async (path: string, options: RequestInit = {}) => {
      const answer = await fetch(url + path, { redirect: 'manual', ...options })
      answers.push(`${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`)
    }
    const person = personIn(2)
    const { userPrincipalName } = simulator.tenant.user(person)
    await signIn(url, config.sources[0]!.slug, userPrincipalName)

    const event = await signedIn(person)
    const send = (body: object) =>
      ask('/v1/login-events', {
        method: 'POST',
        headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      })
    await send({ ...event, waitUpToMs: 20_000 })
    const { accessToken, ...tokens } = event.tokens
    await send({ ...event, tokens: { ...tokens, [accessToken]: 1, accessToken: [accessToken] } })
    await send({ ...event, userPrincipalName: { [accessToken]: accessToken }, [accessToken]: accessToken })
    await ask(`/v1/login-events?access_token=${accessToken}`)
    await ask(`/source/oauth/callback/entra-id/?code=${accessToken}&state=${accessToken}`)
    await ask(`/source/oauth/login/entra-id/?return_to=/${accessToken}`)

    for (const fault of [
      { status: 401, times: 2, body: { error: { code: accessToken, message: accessToken } } },
      { status: 403, body: { error: { code: accessToken, message: accessToken } } },
      { status: 400, body: accessToken },
      { status: 200, body: `<html>${accessToken}` },
      { rewrite: () => ({ [accessToken]: accessToken }) },
    ]) {
      const handle = simulator.faults.next({ on: { path: /\$batch/ }, ...fault })
      await login(person)
      expect(handle.remaining()).toBe(0)
    }
    // The attempt after it applies; what is told of the first one is what is looked at here.
    for (const cut of ['before-headers', 'mid-body'] as const) {
      const handle = simulator.faults.next({ on: { path: /\$batch/ }, cut })
      await login(person)
      expect(handle.remaining()).toBe(0)
    }
    simulator.revokeUserTokens(person)
    simulator.expireAccessTokens()
    const spent = { ...event, tokens: { ...event.tokens, expiresAt: 1 } }
    const ended = followRuns(1)
    await ended.listening
    await send({ ...spent, waitUpToMs: 20_000 })

    const admin = { Authorization: `Basic ${btoa(`admin:${adminPassword}`)}` }
    const board = '/admin/queues/api/queues?activeQueue=sync'
    for (const path of ['/', '/session', '/healthz', '/readyz', '/nowhere', '/admin/queues'])
      await ask(path, { headers: admin })
    for (const status of ['latest', 'completed', 'failed', 'delayed', 'waiting'])
      await ask(`${board}&status=${status}&jobsPerPage=50`, { headers: admin })
    expect(answers.filter((answer) => answer.startsWith('200')).length).toBeGreaterThan(9)
    expect(simulator.issuedTokens().length).toBeGreaterThan(10)
    const told = answers.filter((answer) => leaksIn(simulator.issuedTokens(), answer).length > 0)
    expect(told).toEqual([])
  })
})
