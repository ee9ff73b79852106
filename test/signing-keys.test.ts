import { beforeEach, expect, test } from 'vitest'
import { insertSigningKey, listSigningKeys, replaceSigningKeys } from '../db/signing-keys.ts'
import { keyRhythm, orderOf } from '../src/issuer/key-order.ts'
import { newSigningKey } from '../src/issuer/private-keys.ts'
import { resealSigningKeys } from '../src/issuer/reseal.ts'
import { createSigningKeys } from '../src/issuer/signing-keys.ts'
import { createSeal } from '../src/sealing.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { newKey } from './support/gateway.ts'

const ours = newKey('ours')
const seal = createSeal([ours])
const minute = 60
const hour = 3600
let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
  return database.close
})

/** A gateway with its own clock, which `later` moves together with the database's. */
function gateway(sealing = ours) {
  let seconds = 0
  let none = 0
  const unreadable: string[] = []
  const keys = createSigningKeys({
    db: database.db,
    seal: createSeal([sealing]),
    tokenSeconds: hour,
    onUnreadable: (kid) => unreadable.push(kid),
    onNone: () => void (none += 1),
    onLasting: () => undefined,
    now: () => seconds * 1000,
  })
  const wait = (more: number) => void (seconds += more)
  return {
    keys,
    unreadable,
    toldOfNone: () => none,
    wait,
    signs: async () => (await keys.signer()).kid,
    published: async () => (await keys.published()).map(({ kid }) => kid),
  }
}

/** Moves the database's clock as far as the keys see it, and those of gateways. */
async function later(seconds: number, ...gateways: { wait: (seconds: number) => void }[]) {
  await database.db.$client`
    update signing_keys set signs_from = signs_from - ${seconds} * interval '1 second',
      published_until = published_until - ${seconds} * interval '1 second'`
  for (const { wait } of gateways) wait(Math.abs(seconds))
}

/** Adds a key behind the one that is the newest by now. */
async function add(beginsInSeconds: number, sealing = ours) {
  const key = await newSigningKey(createSeal([sealing]))
  const after = orderOf(await listSigningKeys(database.db)).newest?.kid
  const follows = { after, beginsInSeconds, keepSeconds: keyRhythm.publishedAfter }
  expect(await insertSigningKey(database.db, key, follows)).toBe(true)
  return key.kid
}

test('a key that another one followed before it began never signs, and stays published', async () => {
  const first = await add(0)
  const skipped = await add(hour)
  const newest = await add(0)
  const { signs, published, ...rest } = gateway()
  expect(await published()).toEqual([newest, skipped, first])
  for (const seconds of [0, hour, hour - minute]) {
    await later(seconds, rest)
    expect(await signs()).toBe(newest)
    expect(await published()).toContain(skipped)
  }
  await later(2 * minute, rest)
  expect(await signs()).toBe(newest)
  expect(await published()).toEqual([newest])
})

test('where two are made within the hour, the one before signs until the second begins', async () => {
  const first = await add(0)
  await add(hour)
  await later(30 * minute)
  const second = await add(hour)
  const { signs, ...rest } = gateway()
  await later(45 * minute, rest)
  expect(await signs()).toBe(first)
  await later(20 * minute, rest)
  expect(await signs()).toBe(second)
})

test('however often the next key is made anew, the one that signs is published until two hours after its last token', async () => {
  const first = await add(0)
  const { signs, published, ...rest } = gateway()
  for (let times = 0; times < 8; times += 1) {
    await add(hour)
    await later(30 * minute, rest)
    expect(await signs()).toBe(first)
  }
  await later(30 * minute, rest)
  expect(await signs()).not.toBe(first)
  await later(2 * hour - minute, rest)
  expect(await published()).toContain(first)
  await later(2 * minute, rest)
  expect(await published()).not.toContain(first)
})

test('where the key that signs can’t be read, the next one signs early and no other is made', async () => {
  const lost = await add(0, newKey('lost'))
  const next = await add(hour)
  const { signs, published, unreadable, ...rest } = gateway()
  expect(await signs()).toBe(next)
  await later(2 * hour, rest)
  expect(await signs()).toBe(next)
  expect(await published()).toEqual([next, lost])
  expect(unreadable).toEqual([lost])
})

test('where neither the key that signs nor the next can be read, another one is made and signs from then on', async () => {
  await add(0, newKey('lost'))
  await add(hour, newKey('lost'))
  const { signs, ...rest } = gateway()
  const made = await signs()
  await later(hour + minute, rest)
  expect(await signs()).toBe(made)
  expect(await listSigningKeys(database.db)).toHaveLength(3)
})

test('a clock that is put back makes no key, and gives none back that is withdrawn', async () => {
  const { signs, published, ...rest } = gateway()
  const first = await signs()
  await later(-hour, rest)
  expect(await signs()).toBe(first)
  expect(await published()).toEqual([first])
  const other = await newSigningKey(seal)
  await replaceSigningKeys(database.db, other)
  await later(-hour, rest)
  expect(await published()).toEqual([other.kid])
  expect(await signs()).toBe(other.kid)
})

test('a key that replaces all others does so whichever of them begins last', async () => {
  await add(0)
  await add(hour)
  await add(0)
  const only = await newSigningKey(seal)
  await replaceSigningKeys(database.db, only)
  const { signs, published } = gateway()
  expect(await published()).toEqual([only.kid])
  expect(await signs()).toBe(only.kid)
})

test('processes that read an unreadable key at once make one between them', async () => {
  await add(0, newKey('lost'))
  const gateways = [gateway(), gateway()]
  const signing = await Promise.all(gateways.flatMap(({ signs }) => [signs(), signs()]))
  expect(new Set(signing).size).toBe(1)
  expect(await listSigningKeys(database.db)).toHaveLength(2)
})

test('gateways that don’t read each other’s keys make one each in an hour, and sign with nothing that goes before its tokens', async () => {
  const gateways = [gateway(newKey('one')), gateway(newKey('other')), gateway(newKey('third'))]
  const made = new Set<string>()
  const counts: number[] = []
  for (let waited = 0; waited < 6 * hour; waited += 5 * minute) {
    for (const { signs } of gateways) {
      const kid = await signs()
      const row = (await listSigningKeys(database.db)).find((each) => each.kid === kid)
      expect(row?.publishedSeconds ?? hour).toBeGreaterThan(hour - 1)
      made.add(kid)
    }
    counts.push(made.size)
    await later(5 * minute, ...gateways)
  }
  expect(new Set(counts.slice(0, 12))).toEqual(new Set([3]))
  expect(made.size).toBeLessThanOrEqual(3 * 6)
  for (const { toldOfNone } of gateways) expect(toldOfNone()).toBe(0)
})

test('a gateway whose own key is withdrawn by one that it can’t read makes another, and says so where that goes on', async () => {
  const { signs, toldOfNone, ...rest } = gateway()
  await signs()
  const replace = async () =>
    await replaceSigningKeys(database.db, await newSigningKey(createSeal([newKey('lost')])))
  await replace()
  await later(minute, rest)
  const made = await signs()
  await replace()
  await later(minute, rest)
  await expect(signs()).rejects.toMatchObject({ error: 'temporarily_unavailable', check: 'signing key' })
  expect([toldOfNone(), (await listSigningKeys(database.db)).length]).toEqual([1, 1])
  await later(hour, rest)
  expect(await signs()).not.toBe(made)
})

test('a key that doesn’t open is told once while the one before signs, and signs once it is sealed anew', async () => {
  const lost = newKey('lost')
  const first = await add(0)
  const newest = await add(0, lost)
  const { signs, unreadable, ...rest } = gateway()
  expect([await signs(), await signs(), unreadable]).toEqual([first, first, [newest]])
  await resealSigningKeys(database.db, createSeal([ours, lost]))
  await later(minute, rest)
  expect([await signs(), unreadable]).toEqual([newest, [newest]])
})
