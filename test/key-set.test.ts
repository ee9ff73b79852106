import { randomUUID } from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createKeySet, type KeySet } from '../src/login/key-set.ts'
import { newTestKey, startKeyServer, type KeyServer, type TestKey } from './support/key-server.ts'

let server: KeyServer
let first: TestKey
let second: TestKey
let asked: number
let now: number
let stale: string[]
let keys: KeySet

beforeAll(async () => {
  server = await startKeyServer()
  ;[first, second] = [await newTestKey(), await newTestKey()]
  return server.close
})
beforeEach(() => {
  server.publish(first.jwk)
  asked = server.asked()
  now = Date.now()
  stale = []
  keys = createKeySet(server.url, { now: () => now, onStale: (code) => stale.push(code) })
})
afterEach(() => server.fail(undefined))

const reads = () => server.asked() - asked
const tokenOf = async ({ kid, privateKey }: TestKey) =>
  await new SignJWT({}).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey)
const unknown = () => tokenOf({ ...second, kid: randomUUID() })
const verify = async (token: string) => (await jwtVerify(token, keys.find)).payload
const codeOf = async (token: string): Promise<unknown> =>
  await verify(token).then(
    () => 'accepted',
    (error: unknown) => (error instanceof errors.JOSEError ? error.code : String(error)),
  )
const day = 24 * 3_600_000
const noKey = errors.JWKSNoMatchingKey.code

describe('the keys of an authority', () => {
  test('are read at the first use, and once for many', async () => {
    expect(reads()).toBe(0)
    const token = await tokenOf(first)
    for (let use = 0; use < 20; use += 1) await verify(token)
    expect(reads()).toBe(1)
    await Promise.all(Array.from({ length: 20 }, () => verify(token)))
    expect(reads()).toBe(1)
  })

  test('include one that was published a second ago, and right after the first read', async () => {
    await verify(await tokenOf(first))
    now += 1000
    server.publish(second.jwk, first.jwk)
    expect(await codeOf(await tokenOf(second))).toBe('accepted')
    expect(await codeOf(await tokenOf(first))).toBe('accepted')
    expect(reads()).toBe(2)
  })

  test('are read once more for 1,000 tokens with unknown keys, and once again in each minute that follows', async () => {
    await verify(await tokenOf(first))
    const tokens = await Promise.all(Array.from({ length: 1000 }, unknown))
    expect(reads()).toBe(1)
    for (const token of tokens) expect(await codeOf(token)).toBe(noKey)
    expect(reads()).toBe(2)
    now += 59_999
    expect(await codeOf(await unknown())).toBe(noKey)
    expect(reads()).toBe(2)
    now += 1
    for (const token of tokens.slice(0, 50)) expect(await codeOf(token)).toBe(noKey)
    expect(reads()).toBe(3)
    expect(await codeOf(await tokenOf(first))).toBe('accepted')
  })

  test('are read once for tokens with unknown keys that come at the same time, and all of them wait for it', async () => {
    await verify(await tokenOf(first))
    server.publish(second.jwk, first.jwk)
    const release = server.hold()
    const [mine, strange] = [await tokenOf(second), await unknown()]
    const waiting = [mine, mine, strange, mine].map(codeOf)
    expect(await codeOf(await tokenOf(first))).toBe('accepted')
    release()
    expect(await Promise.all(waiting)).toEqual(['accepted', 'accepted', noKey, 'accepted'])
    expect(reads()).toBe(2)
  })

  test('are read anew after 24 hours, which is when a withdrawn one is gone', async () => {
    const token = await tokenOf(first)
    await verify(token)
    server.publish(second.jwk)
    now += day - 1000
    const before = await codeOf(token)
    now += 2000
    const after = await codeOf(token)
    expect([before, after]).toEqual(['accepted', noKey])
  })

  test('that cannot be read anew are good for another day, and asked for once a minute meanwhile', async () => {
    const token = await tokenOf(first)
    await verify(token)
    server.fail(500)
    now += day
    for (let use = 0; use < 5; use += 1) expect(await codeOf(token)).toBe('accepted')
    expect([reads(), stale]).toEqual([2, ['ERR_JOSE_GENERIC']])
    now += 60_000
    expect(await codeOf(token)).toBe('accepted')
    expect([reads(), stale.length]).toEqual([3, 2])
    now += day - 60_001
    expect(await codeOf(token)).toBe('accepted')
    now += 1
    expect(await codeOf(token)).toBe('ERR_JOSE_GENERIC')
    server.fail(undefined)
    expect(await codeOf(token)).toBe('accepted')
  })

  test('that cannot be read anew are told of once, however many wait for them', async () => {
    const token = await tokenOf(first)
    await verify(token)
    server.fail(500)
    now += day
    const release = server.hold()
    const waiting = Array.from({ length: 5 }, () => codeOf(token))
    release()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['accepted']))
    expect([reads(), stale]).toEqual([2, ['ERR_JOSE_GENERIC']])
  })

  test('that nobody answers for are told of by the code of the network', async () => {
    const gone = await startKeyServer()
    gone.publish(first.jwk)
    keys = createKeySet(gone.url, { now: () => now, onStale: (code) => stale.push(code) })
    const token = await tokenOf(first)
    await verify(token)
    await gone.close()
    now += day
    expect(await codeOf(token)).toBe('accepted')
    expect(stale).toEqual([expect.stringMatching(/^(ECONNREFUSED|ECONNRESET|UND_ERR_SOCKET)$/)])
  })

  test('that cannot be read are asked for again by the next token', async () => {
    const token = await tokenOf(first)
    server.fail(500)
    expect(await codeOf(token)).toBe('ERR_JOSE_GENERIC')
    expect(await codeOf(token)).toBe('ERR_JOSE_GENERIC')
    server.fail(undefined)
    expect(await codeOf(token)).toBe('accepted')
    expect(reads()).toBe(3)
  })

  test('that cannot be read for a new key are asked for again by the next token with it', async () => {
    await verify(await tokenOf(first))
    server.publish(second.jwk, first.jwk)
    server.fail(500)
    expect(await codeOf(await tokenOf(second))).toBe('ERR_JOSE_GENERIC')
    expect(await codeOf(await tokenOf(first))).toBe('accepted')
    server.fail(undefined)
    expect(await codeOf(await tokenOf(second))).toBe('accepted')
  })
})

test('whose tokens a key signs is what the authority says of it', async () => {
  server.publish({ ...first.jwk, issuer: 'https://login.example/{tenantid}/v2.0' }, second.jwk)
  await verify(await tokenOf(first))
  expect(keys.issuerOf(first.kid)).toBe('https://login.example/{tenantid}/v2.0')
  expect(keys.issuerOf(second.kid)).toBeUndefined()
  expect(keys.issuerOf(randomUUID())).toBe('')
})
