import { createServer } from 'node:http'
import { once } from 'node:events'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { listen } from '../src/gateway.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, testGateway } from './support/gateway.ts'

const dead = deadDatabase()
const database = givenDatabase()

test('is healthy without a database, and ready only with one', async () => {
  const statusOf = async (db: typeof dead, path: string) =>
    (await testGateway({ db }).app.request(path)).status
  expect(await statusOf(dead, '/healthz')).toBe(200)
  expect(await statusOf(dead, '/readyz')).toBe(503)
  expect(await statusOf(database.db, '/readyz')).toBe(200)
})

test('logs each request by its route, without the query', async () => {
  const { app, logLines } = testGateway({ db: database.db })
  await app.request('/source/oauth/callback/entra-id/?code=the-code&state=the-state')
  await app.request('/source/oauth/callback/entra-id?code=the-code&state=the-state')
  await app.request('/nothing?code=the-code')
  expect(logLines.join()).not.toMatch(/the-code|the-state/)
  expect(logLines.map((line): unknown => JSON.parse(line))).toContainEqual(
    expect.objectContaining({
      level: 20,
      method: 'GET',
      route: '/source/oauth/callback/:slug/',
      status: 400,
      ms: expect.any(Number),
    }),
  )
})

test('an unexpected error is a page without its message, or JSON for programs', async () => {
  const { app, logLines } = testGateway({ db: database.db })
  app.get('/broken', () => Promise.reject(new Error('secret detail')))
  app.get('/v1/broken', () => Promise.reject(new Error('secret detail')))
  const page = await app.request('/broken')
  expect([page.status, page.headers.get('content-type')]).toEqual([500, 'text/html; charset=UTF-8'])
  expect(await page.text()).not.toContain('secret detail')
  const answer = await app.request('/v1/broken')
  expect([answer.status, await answer.json()]).toEqual([500, { error: 'internal' }])
  expect(logLines.join()).not.toContain('secret detail')
  const missing = await app.request('/missing')
  expect([missing.status, await missing.text()]).toEqual([404, expect.stringContaining('Not found')])
})

test('refuses a public URL with a path, naming the setting', () => {
  expect(() => testGateway({ db: dead, publicUrl: 'https://example.org/groups' })).toThrow(/^PUBLIC_URL: /)
})

describe('listening', () => {
  test('on a port that is taken fails, naming the port and PORT', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    await expect(listen(new Hono(), { port: port ?? 0, host: '127.0.0.1' })).rejects.toThrow(
      new RegExp(`^PORT: port ${port} of 127.0.0.1 is taken`),
    )
    other.close()
  })

  test('on an address that is not of this machine fails, naming HOST', async () => {
    // Of a network that is for documentation only, RFC 5737.
    const elsewhere = listen(new Hono(), { port: 0, host: '192.0.2.1' })
    await expect(elsewhere).rejects.toThrow(/^HOST: 192\.0\.2\.1 can't be listened on \(EADDRNOTAVAIL\)/)
  })

  test('closing finishes the requests that run and takes no new ones', async () => {
    const app = new Hono()
    const asked = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    app.get('/slow', async (c) => {
      asked.resolve()
      await finish.promise
      return c.text('done')
    })
    const server = await listen(app, { port: 0, host: '127.0.0.1' })
    const answer = fetch(`${server.url}/slow`)
    await asked.promise
    const closing = server.close()
    await expect(fetch(`${server.url}/slow`)).rejects.toThrow('fetch failed')
    const began = performance.now()
    finish.resolve()
    expect(await (await answer).text()).toBe('done')
    await closing
    // Well below the time a kept-alive connection stays open.
    expect(performance.now() - began).toBeLessThan(2000)
    await server.close()
  })

  test('closing cuts off what does not end in time', async () => {
    const app = new Hono()
    const asked = Promise.withResolvers<void>()
    app.get('/stuck', async () => {
      asked.resolve()
      return await new Promise<Response>(() => undefined)
    })
    const server = await listen(app, { port: 0, host: '127.0.0.1', graceMs: 50 })
    const answer = fetch(`${server.url}/stuck`)
    const ended = answer.then(
      () => 'answered',
      () => 'cut off',
    )
    await asked.promise
    await server.close()
    expect(await ended).toBe('cut off')
  })
})
