import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { beforeEach, expect, test } from 'vitest'
import { cutDatabase, openDatabase } from '../db/client.ts'
import { listSigningKeys, replaceSigningKeys } from '../db/signing-keys.ts'
import { codeOf } from '../src/database-failure.ts'
import { createKnownKeys } from '../src/issuer/known-keys.ts'
import { createLocalTokens } from '../src/issuer/local-token.ts'
import { newSigningKey } from '../src/issuer/private-keys.ts'
import { createSigningKeys } from '../src/issuer/signing-keys.ts'
import { createSeal } from '../src/sealing.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { newKey } from './support/gateway.ts'
import { waitForWaiter } from './support/locks.ts'

const seal = createSeal([newKey('ours')])
let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
  return database.close
})

/** A gateway's clock, in seconds. */
function clock() {
  let seconds = 0
  return { now: () => seconds * 1000, wait: (more: number) => void (seconds += more) }
}

/** A gateway as far as it gives and reads tokens. */
function gateway(db = database.db) {
  const { now, wait } = clock()
  const lasting: string[] = []
  const keys = createSigningKeys({
    db,
    seal,
    tokenSeconds: 600,
    onUnreadable: () => undefined,
    onNone: () => undefined,
    onLasting: (error) => lasting.push(codeOf(error)),
    now,
  })
  const { issue, read } = createLocalTokens({ publicUrl: 'https://sync.example', keys, lifeSeconds: 600 })
  const subject = {
    userId: randomUUID(),
    tenantId: randomUUID(),
    objectId: randomUUID(),
    kind: 'service' as const,
    displayName: null,
    enabled: true,
    groups: [],
    hasMore: false,
  }
  return {
    wait,
    keys,
    lasting,
    published: async () => (await keys.published()).map(({ kid }) => kid),
    give: async () => (await issue({ subject, application: 'orders', scopes: ['groups'] })).token,
    takes: async (token: string) => (await read(token)) !== undefined,
  }
}

test('a token is taken although another process has made its key just now, and one of a withdrawn key for half a minute at most', async () => {
  const [giving, taking] = [gateway(), gateway()]
  const leaked = await giving.give()
  expect(await taking.takes(leaked)).toBe(true)
  await replaceSigningKeys(database.db, await newSigningKey(seal))
  giving.wait(30)
  const token = await giving.give()
  taking.wait(1)
  expect(await taking.takes(token)).toBe(true)
  expect(await taking.takes(leaked)).toBe(false)
  await replaceSigningKeys(database.db, await newSigningKey(seal))
  taking.wait(30)
  expect(await taking.takes(token)).toBe(false)
})

test('tokens that name keys nobody has are looked up once a second at most, and what names none is not', async () => {
  const { now, wait } = clock()
  let reads = 0
  const read = async () => {
    reads += 1
    return await listSigningKeys(database.db)
  }
  const known = createKnownKeys({ read, now, onLasting: () => undefined })
  const verifying = async (kid: string) => {
    await known.withKey(kid)
    return []
  }
  const signer = async () => {
    throw new Error('nothing is signed here')
  }
  const tokens = createLocalTokens({
    publicUrl: 'https://sync.example',
    keys: { verifying, signer },
    lifeSeconds: 600,
  })
  const secret = new Uint8Array(32)
  const nonsense = async (kid?: string) =>
    await new SignJWT()
      .setProtectedHeader(kid === undefined ? { alg: 'HS256' } : { alg: 'HS256', kid })
      .sign(secret)
  for (const text of ['', 'an-api-key', 'a.b.c', await nonsense(), 'x'.repeat(70_000)])
    expect(await tokens.read(text)).toBeUndefined()
  expect(reads).toBe(0)
  for (let times = 0; times < 20; times += 1) {
    const texts = await Promise.all(Array.from({ length: 5 }, async () => await nonsense(randomUUID())))
    await Promise.all(texts.map(async (text) => await tokens.read(text)))
    wait(0.25)
  }
  expect(reads).toBe(5)
})

test('where Postgres can’t be reached, the known keys are published for half an hour and trusted for half a minute', async () => {
  const db = openDatabase(database.url, { max: 1 })
  const { wait, keys, published, lasting, give } = gateway(db)
  await give()
  const before = await published()
  await cutDatabase(db)
  for (const seconds of [20, 20, 2, 1757]) {
    wait(seconds)
    expect(await published()).toEqual(before)
  }
  // One look in five seconds.
  expect(lasting).toEqual(['CONNECTION_ENDED', 'CONNECTION_ENDED'])
  await expect(keys.verifying(before[0] ?? '')).rejects.toMatchObject({ code: 'CONNECTION_ENDED' })
  await expect(give()).rejects.toMatchObject({ code: 'CONNECTION_ENDED' })
  wait(1)
  await expect(published()).rejects.toMatchObject({ code: 'CONNECTION_ENDED' })
})

test('where Postgres doesn’t answer, the known keys are published meanwhile, and the new ones when it does', async () => {
  const { wait, keys, published, lasting, give } = gateway()
  await give()
  const before = await published()
  const key = await newSigningKey(seal)
  wait(30)
  const trusted = await database.db.$client.begin(async (sql) => {
    await sql`lock table signing_keys in access exclusive mode`
    const asked = published()
    await waitForWaiter(database.db)
    expect(await asked).toEqual(before)
    return { read: keys.verifying(key.kid) }
  })
  expect(lasting).toEqual(['NO_ANSWER'])
  expect((await trusted.read).map(({ kid }) => kid)).toEqual(before)
  await replaceSigningKeys(database.db, key)
  wait(30)
  expect(await published()).toEqual([key.kid])
})

test('what fails for another reason than that Postgres is out of reach is told', async () => {
  const { now, wait } = clock()
  let fails = false
  const read = async () => {
    if (fails) throw new Error('the table is gone')
    return await listSigningKeys(database.db)
  }
  const known = createKnownKeys({ read, now, onLasting: () => undefined })
  expect(await known.lasting()).toEqual([])
  fails = true
  wait(30)
  await expect(known.lasting()).rejects.toThrow('the table is gone')
})
