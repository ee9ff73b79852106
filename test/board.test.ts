import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openQueueBackend, type QueueBackend, type SyncQueue } from '../src/queue/backend.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { publicUrl, testGateway } from './support/gateway.ts'

const jwt = `eyJhbGciOiJSUzI1NiJ9.${Buffer.from('{"secret":1}').toString('base64url')}.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg`
const jwe = 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXYtaXYtaXY.Y2lwaGVydGV4dA.dGFnLXRhZw'
const opaque = `1.${'AVYA_opaque-refresh-token'.repeat(8)}`
const secrets = [jwt, jwe, opaque, 'c2lnbmF0dXJl', 'Y2lwaGVydGV4dA', 'hunter2hunter2']
const admin = `Basic ${Buffer.from('admin:a long password').toString('base64')}`
const sameOrigin = { authorization: admin, 'sec-fetch-site': 'same-origin' }

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())

const redisUrl = inject('redisUrl')
const backends = { redis: () => redisUrl ?? '', postgres: () => database.url }

describe.skipIf(redisUrl === undefined)('a queue in Redis', () => {
  boardShows('redis')
})
describe('a queue in Postgres', () => {
  boardShows('postgres')
})

function boardShows(kind: keyof typeof backends) {
  let backend: QueueBackend
  let queue: SyncQueue
  let jobId = ''
  let ask: (path: string, init?: RequestInit) => Promise<Response>

  beforeAll(async () => {
    backend = await openQueueBackend({
      url: backends[kind](),
      use: 'worker',
      prefix: `{test-board-${process.pid}}`,
    })
    await backend.prepare({ allowEviction: true })
    queue = backend.openQueue('sync')
    jobId = await failOneJob(backend, queue)
    const { app } = testGateway({ db: database.db, queues: [queue] })
    ask = async (path, init) => app.request(`/admin/queues${path}`, { headers: sameOrigin, ...init })
  })
  afterAll(async () => {
    await queue.obliterate({ force: true })
    await backend.close()
  })

  test('is listed with its failed job', async () => {
    const listed = await (
      await ask('/api/queues?activeQueue=sync&status=failed&page=1&jobsPerPage=10')
    ).json()
    expect(listed).toMatchObject({
      queues: [{ name: 'sync', counts: { failed: 1 }, jobs: [{ id: jobId, isFailed: true }] }],
    })
    expect((await ask('/api/redis/stats')).status).toBe(200)
  })

  test('shows the ids of a job and hides every other field', async () => {
    const { job } = (await (await ask(`/api/queues/sync/${jobId}`)).json()) as { job: { data: unknown } }
    expect(job.data).toEqual({
      userId: 'u-1',
      tenantId: 't-1',
      source: 'entra-id',
      cause: 'login',
      note: '[hidden]',
    })
  })

  test('leaks no token in list, detail or log of a job that failed with tokens in its error', async () => {
    const paths = [
      '/api/queues?activeQueue=sync&status=failed&page=1&jobsPerPage=10',
      `/api/queues/sync/${jobId}`,
      `/api/queues/sync/${jobId}/logs`,
      `/api/queues/sync/${jobId}/flow`,
    ]
    for (const path of paths) {
      const text = await (await ask(path)).text()
      for (const secret of secrets) expect(text).not.toContain(secret)
    }
    const { job } = (await (await ask(`/api/queues/sync/${jobId}`)).json()) as {
      job: { failedReason: string }
    }
    expect(job.failedReason).toContain('Graph said no to [token]')
  })

  test('answers an error of the store without its message, and logs it redacted', async () => {
    const broken = backend.openQueue('sync')
    broken.getJob = () => Promise.reject(new Error(`connect failed: password=hunter2hunter2 ${jwt}`))
    const { app, logLines } = testGateway({ db: database.db, queues: [broken] })
    const answer = await app.request('/admin/queues/api/queues/sync/1', { headers: sameOrigin })
    expect(answer.status).toBe(500)
    expect(await answer.text()).not.toContain('connect failed')
    expect(logLines.join()).toContain('connect failed')
    for (const secret of secrets) expect(logLines.join()).not.toContain(secret)
  })

  test('can be retried from the board, but not from another site', async () => {
    const foreign = { authorization: admin, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    for (const headers of [foreign, { authorization: admin }]) {
      expect((await ask(`/api/queues/sync/${jobId}/retry`, { method: 'PUT', headers })).status).toBe(403)
    }
    expect(await queue.getJobState(jobId)).toBe('failed')
    const withOrigin = { authorization: admin, origin: publicUrl }
    const answer = await ask(`/api/queues/sync/${jobId}/retry`, { method: 'PUT', headers: withOrigin })
    expect(answer.status).toBeLessThan(300)
    expect(await queue.getJobState(jobId)).toBe('waiting')
  })

  test('takes neither a made-up job nor other data for a job', async () => {
    const json = { ...sameOrigin, 'content-type': 'application/json' }
    const body = JSON.stringify({ name: 'sync-user', data: { userId: 'x' }, options: {} })
    expect((await ask('/api/queues/sync/add', { method: 'POST', headers: json, body })).status).toBe(403)
    const edit = await ask(`/api/queues/sync/${jobId}/update-data`, {
      method: 'PATCH',
      headers: json,
      body: '{"data":{}}',
    })
    expect(edit.status).toBe(403)
  })
}

async function failOneJob(backend: QueueBackend, queue: SyncQueue): Promise<string> {
  // `note` is none of ours: a job of another release, or a hand-made one.
  const data = { userId: 'u-1', tenantId: 't-1', source: 'entra-id', cause: 'login' as const, note: jwt }
  const job = await queue.add('sync-user', data, { attempts: 1 })
  const worker = backend.openWorker(
    'sync',
    async (running) => {
      await running.log(`Authorization: Bearer ${opaque} password=hunter2hunter2 ${jwe}`)
      throw new Error(
        `Graph said no to ${jwt} refresh_token=${opaque}&client_secret=hunter2hunter2 and ${opaque}`,
      )
    },
    { concurrency: 1 },
  )
  await new Promise((resolve) => worker.once('failed', resolve))
  await worker.close()
  return job.id ?? ''
}

describe('the door to /admin', () => {
  test.each(['/admin', '/admin/queues', '/admin/queues/api/queues', '/admin/queues/static/favicon.ico'])(
    '%s asks for a password',
    async (path) => {
      const { app } = testGateway({ db: database.db })
      const wrong = `Basic ${Buffer.from('admin:a long passwore').toString('base64')}`
      const other = `Basic ${Buffer.from('root:a long password').toString('base64')}`
      for (const authorization of [undefined, wrong, other]) {
        const answer = await app.request(path, authorization ? { headers: { authorization } } : {})
        expect(answer.status).toBe(401)
        expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm=/)
      }
    },
  )

  test('is not there at all without ADMIN_PASSWORD', async () => {
    const { app } = testGateway({ db: database.db, adminPassword: undefined })
    for (const path of ['/admin', '/admin/queues', '/admin/queues/api/queues']) {
      expect((await app.request(path, { headers: { authorization: admin } })).status).toBe(404)
    }
  })

  test('opens on a page that may run its own bundle and fetch nothing from elsewhere', async () => {
    const { app } = testGateway({ db: database.db })
    const answer = await app.request('/admin/queues', { headers: { authorization: admin } })
    expect(answer.status).toBe(200)
    const policy = answer.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("script-src 'self';")
    expect(policy).not.toContain('http')
    const script = /<script defer src="(static\/js\/[^"]+)"/.exec(await answer.text())?.[1]
    const file = await app.request(`/admin/queues/${script}`, { headers: { authorization: admin } })
    expect(file.status).toBe(200)
    expect(file.headers.get('content-type')).toContain('javascript')
    await file.body?.cancel()
    expect((await app.request('/')).headers.get('content-security-policy')).not.toContain('unsafe-inline')
  })
})
