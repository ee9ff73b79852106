import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { listen } from '../src/gateway.ts'
import { openLoginProducer } from '../src/index.ts'
import { testGateway } from './support/gateway.ts'
import { givenWorld } from './support/people.ts'
import { availableBackends, type World } from './support/world.ts'

const script = fileURLToPath(new URL('../examples/http-webhook/report-login.sh', import.meta.url))
const key = 'the-key~of.an+application/1='
const [backend = 'postgres'] = availableBackends()

const { open, storedGroups, remoteGroups, signedIn, personIn } = givenWorld()

/** Stands before the real programs on the PATH. */
let folder: string

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-webhook-'))
  program('curl', `printf '%s\\n' "$@" >>'${folder}/arguments'\nPATH=$REST exec curl "$@"`)
  program('sleep', `printf '%s\\n' "$@" >>'${folder}/pauses'`)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function program(name: string, body: string): void {
  writeFileSync(path.join(folder, name), `#!/bin/sh\n${body}\n`)
  chmodSync(path.join(folder, name), 0o755)
}

/** Runs the script as it is; `sleep` is noted and not done. */
async function report(event: unknown, environment: Record<string, string>) {
  const { PATH: rest = '' } = process.env
  const child = spawn('sh', [script], {
    env: { PATH: `${folder}:${rest}`, REST: rest, GROUP_SYNC_API_KEY: key, ...environment },
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(typeof event === 'string' ? event : JSON.stringify(event))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, stdout, stderr }
}

const noted = (name: string) => readFileSync(path.join(folder, name), 'utf8')

async function openGateway(environment: Record<string, string> = {}): Promise<World & { url: string }> {
  const world = await open({ backend, environment: { API_KEYS: key, ...environment } })
  return { ...world, url: await world.startGateway() }
}

test('a reported sign-in ends as groups in Postgres, and no secret is an argument of a program', async () => {
  const { url, startWorkers } = await openGateway()
  await startWorkers()
  const person = personIn(3)
  const event = {
    ...(await signedIn(person)),
    displayName: `A "d\\a" 'Löve\nlace' $(id) %s`,
    waitUpToMs: 20_000,
  }
  const { code, stdout, stderr } = await report(event, { GROUP_SYNC_URL: `${url}/` })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({ outcome: 'applied' })
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
  expect(await storedGroups(person)).toHaveLength(3)
  for (const secret of [key, event.tokens.accessToken, event.tokens.refreshToken])
    expect(noted('arguments')).not.toContain(secret)
  expect(noted('arguments')).toContain('/v1/login-events')
})

test('without waitUpToMs it ends with the id of the stored event, text as it was given', async () => {
  const { url, db } = await openGateway()
  const displayName = `A "d\\a" 'Löve\tlace' $(id) %s`
  const event = { ...(await signedIn(personIn(1))), displayName }
  const { code, stdout } = await report(event, { GROUP_SYNC_URL: url })
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toEqual({ eventId: expect.stringMatching(/^[\da-f-]{36}$/) as string })
  const rows = await db.$client`select display_name from users where object_id = ${event.objectId}`
  expect(rows).toEqual([{ display_name: displayName }])
})

test('an event that does not fit is refused with the names of the fields and none of its values', async () => {
  const { url } = await openGateway()
  const event = await signedIn(personIn(1))
  const wrong = { ...event, objectId: 'nobody', tokens: { ...event.tokens, scopes: 'User.Read' } }
  const { code, stdout, stderr } = await report(wrong, { GROUP_SYNC_URL: url })
  expect({ code, stdout }).toEqual({ code: 65, stdout: '' })
  expect(stderr).toMatch(/refused with 400: .*"objectId".*"tokens\.scopes"/)
  expect(stderr).not.toContain(event.tokens.accessToken)
  expect(await report('no JSON', { GROUP_SYNC_URL: url })).toMatchObject({ code: 65 })
})

test('a key that the gateway does not know, and an address that is no gateway, have codes of their own', async () => {
  const { url } = await openGateway()
  const event = await signedIn(personIn(1))
  const unknown = await report(event, { GROUP_SYNC_URL: url, GROUP_SYNC_API_KEY: 'another-key' })
  expect(unknown).toMatchObject({ code: 77, stdout: '' })
  expect(await report(event, { GROUP_SYNC_URL: `${url}/elsewhere` })).toMatchObject({ code: 76 })
})

test('while Postgres is down it tries again after as long as the gateway says, and the event is stored then', async () => {
  const world = await open({ backend })
  const dead = await openLoginProducer({
    databaseUrl: 'postgres://nobody@127.0.0.1:9/none',
    tokenKeys: world.environment['TOKEN_ENCRYPTION_KEYS'] ?? '',
  })
  let left = 2
  const gateway = testGateway({
    db: world.db,
    configs: [world.source.config],
    apiKeys: [key],
    loginSucceeded: (user, options) => {
      left -= 1
      const { tenantId, objectId, tokens } = user
      return (left >= 0 ? dead : world.context).loginSucceeded({ tenantId, objectId, tokens }, options)
    },
  })
  const listening = await listen(gateway.app, { port: 0, host: '127.0.0.1' })
  const at = { GROUP_SYNC_URL: `http://127.0.0.1:${listening.port}` }
  try {
    const event = await signedIn(personIn(1))
    expect(await report(event, at)).toMatchObject({ code: 0, stderr: '' })
    expect(noted('pauses')).toBe('5\n5\n')
    left = 9
    const { code, stdout, stderr } = await report(event, { ...at, GROUP_SYNC_TRIES: '2' })
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' })
    expect(stderr).toMatch(/not stored \(503\), send it again later/)
    expect(left).toBe(7)
  } finally {
    await listening.close()
    await dead.close()
  }
})

test('a gateway that does not answer is tried again, then given up; wrong settings are told before', async () => {
  await open({ backend })
  const event = await signedIn(personIn(1))
  const at = { GROUP_SYNC_URL: 'http://127.0.0.1:9', GROUP_SYNC_TRIES: '3' }
  const wrong: Record<string, string>[] = [
    { GROUP_SYNC_URL: '' },
    { GROUP_SYNC_URL: 'http://groups.example.com' },
    { GROUP_SYNC_URL: 'http://localhost:80@groups.example.com' },
    { GROUP_SYNC_API_KEY: '' },
    { GROUP_SYNC_API_KEY: 'x"\nproxy = "http://groups.example.com' },
    { GROUP_SYNC_TRIES: 'many' },
  ]
  for (const setting of wrong) expect(await report(event, { ...at, ...setting })).toMatchObject({ code: 64 })
  expect(() => noted('arguments')).toThrow('ENOENT')

  const { code, stderr } = await report(event, at)
  expect(code).toBe(69)
  expect(stderr).toMatch(/not stored \(no answer\), send it again later/)
  expect(noted('pauses')).toBe('3\n3\n')
})
