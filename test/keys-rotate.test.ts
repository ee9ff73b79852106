import { randomUUID } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import type { NamedKey } from '../src/config.ts'
import { findTokens } from '../db/delegated-tokens.ts'
import { insertLoginEvent } from '../db/login-events.ts'
import { insertSigningKey, listSigningKeys } from '../db/signing-keys.ts'
import { resealSigningKeys } from '../src/issuer/reseal.ts'
import { newSigningKey, signingKeyBinding } from '../src/issuer/private-keys.ts'
import { createSeal } from '../src/sealing.ts'
import { tokenBinding } from '../src/login/login-succeeded.ts'
import { rotateKeys } from '../src/login/rotate-keys.ts'
import { createVault, type Vault } from '../src/login/vault.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { newKey } from './support/gateway.ts'
import { runCommand } from './support/process.ts'

const [oldest, old, current] = [newKey('k1'), newKey('k2'), newKey('k3')]
const tenantId = randomUUID()
let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
  return database.close
})

/** Stores a person's tokens sealed with a key; the person, and how to find the tokens. */
async function store(key: NamedKey, objectId: string = randomUUID(), accessToken = `access of ${objectId}`) {
  const sealed = await createVault([key]).seal({ accessToken }, tokenBinding(tenantId, objectId))
  const labels = { userPrincipalName: null, displayName: null, mail: null }
  const { userId } = await insertLoginEvent(database.db, {
    ...labels,
    eventId: randomUUID(),
    source: 'entra-id',
    tenantId,
    objectId,
    sealed: sealed.text,
    keyId: sealed.keyId,
    expiresAt: new Date().toISOString(),
    scopes: [],
  })
  return { userId, objectId }
}

const many = async (key: NamedKey, count: number) =>
  await Promise.all(Array.from({ length: count }, () => store(key)))

async function opened({ userId, objectId }: { userId: string; objectId: string }, ...keys: NamedKey[]) {
  const stored = await findTokens(database.db, userId, 'entra-id')
  return (await createVault(keys).unseal(stored?.sealed ?? '', tokenBinding(tenantId, objectId))).accessToken
}

const rotate = async (vault: Vault, onProgress: (seen: number) => void = () => undefined) =>
  await rotateKeys({ db: database.db, vault, batch: 2, onProgress })

test('whatever another key seals is sealed anew with the first, batch after batch, and opens without the others', async () => {
  const people = [...(await many(oldest, 3)), ...(await many(old, 2)), ...(await many(current, 2))]
  const progress: number[] = []
  const rotation = await rotate(createVault([current, old, oldest]), (seen) => progress.push(seen))
  expect(rotation).toEqual({ resealed: 5, overtaken: 0, unreadable: new Map() })
  expect(progress).toEqual([2, 4, 5])
  for (const person of people) expect(await opened(person, current)).toBe(`access of ${person.objectId}`)
  expect(await rotate(createVault([current, old, oldest]))).toMatchObject({ resealed: 0 })
})

test('a rotation that was stopped goes on where it was', async () => {
  await many(old, 5)
  const vault = createVault([current, old])
  const stopped = rotate(vault, (seen) => {
    if (seen >= 4) throw new Error('stopped')
  })
  await expect(stopped).rejects.toThrow('stopped')
  expect(await rotate(vault)).toMatchObject({ resealed: 1 })
})

test('tokens that do not open are counted by their key and left as they are, and the rest is sealed anew', async () => {
  const lost = [...(await many(oldest, 3)), await store(old)]
  await many(old, 3)
  await database.db.$client`update delegated_tokens set sealed = 'altered' where user_id = ${lost[3]!.userId}`
  const rotation = await rotate(createVault([current, old]))
  expect(rotation).toMatchObject({ resealed: 3 })
  expect(rotation.unreadable).toEqual(
    new Map([
      ['k1', 3],
      ['k2', 1],
    ]),
  )
  for (const person of lost.slice(0, 3))
    expect(await opened(person, oldest)).toBe(`access of ${person.objectId}`)
})

test('tokens that a sign-in stores during the rotation stay', async () => {
  const [person] = await many(old, 1)
  const vault = createVault([current, old])
  const beside: Vault = {
    ...vault,
    seal: async (...given) => {
      await store(old, person!.objectId, 'of the sign-in')
      return await vault.seal(...given)
    },
  }
  expect(await rotate(beside)).toMatchObject({ resealed: 0, overtaken: 1 })
  expect(await opened(person!, old)).toBe('of the sign-in')
})

test('keys that sign local tokens are sealed anew as well, those aside that do not open', async () => {
  const { db } = database
  const follows = { after: undefined, beginsInSeconds: 0, keepSeconds: 60 }
  const first = await newSigningKey(createSeal([oldest]))
  await insertSigningKey(db, first, follows)
  const second = await newSigningKey(createSeal([old]))
  await insertSigningKey(db, second, { ...follows, after: first.kid })
  expect(await resealSigningKeys(db, createSeal([current, old]))).toEqual({ resealed: 1, unreadable: ['k1'] })
  const stored = (await listSigningKeys(db)).find(({ kid }) => kid === second.kid)
  const text = await createSeal([current]).unsealText(stored?.sealed ?? '', signingKeyBinding(second.kid))
  expect(text).toMatch(/PRIVATE KEY/)
  expect(await resealSigningKeys(db, createSeal([current, oldest]))).toMatchObject({ resealed: 1 })
})

test(
  'as a command it says what it did, and fails with advice where a key is missing',
  { timeout: 60_000 },
  async () => {
    await many(oldest, 1)
    await many(old, 2)
    const written = (keys: NamedKey[]) =>
      keys.map(({ id, key }) => `${id}:${Buffer.from(key).toString('base64')}`).join(',')
    const command = async (...keys: NamedKey[]) => {
      const settings = { DATABASE_URL: database.url, TOKEN_ENCRYPTION_KEYS: written(keys) }
      const { ended, printed } = runCommand(['keys', 'rotate'], settings)
      return { code: await ended, printed: printed() }
    }
    const short = await command(current, old)
    expect(short.code, short.printed).toBe(1)
    expect(short.printed).toMatch(
      /Sealed anew with k3: 2\.[^]*Sealed with k1 and not readable: 1\.[^]*Put the missing keys back/,
    )
    const whole = await command(current, oldest)
    expect(whole.code, whole.printed).toBe(0)
    expect(whole.printed).toContain('Sealed anew with k3: 1.')
    const help = runCommand(['keys', 'rotate', '--help'])
    expect(await help.ended).toBe(0)
    expect(help.printed()).toContain('--batch')
  },
)
