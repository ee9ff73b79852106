import type { ISql } from 'postgres'
import type { Database } from './client.ts'

export type StoredSigningKey = {
  kid: string
  /** JSON. */
  publicJwk: string
  sealed: string
  keyId: string
  /** It may sign by now; of those that may, the first of the list does. */
  maySign: boolean
  /** Seconds since it began, by the database's clock; negative before. */
  ageSeconds: number
}

export type NewSigningKey = Pick<StoredSigningKey, 'kid' | 'publicJwk' | 'sealed' | 'keyId'>

/** Any number, as long as no other advisory lock of ours has it. */
const signingKeyLock = 6_201_209

/** Every key whose tokens may still be good, the newest first. */
export async function listSigningKeys(db: Database): Promise<StoredSigningKey[]> {
  return await db.$client<StoredSigningKey[]>`
    select kid, public_jwk as "publicJwk", sealed, key_id as "keyId", signs_from <= clock_timestamp() as "maySign",
      extract(epoch from clock_timestamp() - signs_from)::float8 as "ageSeconds"
    from signing_keys where published_until is null or published_until > clock_timestamp()
    order by signs_from desc, kid`
}

export type Succession = {
  /** The key that is followed; undefined where there is none. Another newest one means that somebody was faster. */
  after: string | undefined
  /** Seconds until the new one signs. */
  beginsInSeconds: number
  /** Seconds for which those before stay published from then on; 0 withdraws them at once, whatever they have signed. */
  keepSeconds: number
}

/** Adds a key that signs from then on. False where another process has added one since the list was read. */
export async function insertSigningKey(
  db: Database,
  key: NewSigningKey,
  { after, beginsInSeconds, keepSeconds }: Succession,
): Promise<boolean> {
  return await db.$client.begin(async (sql) => {
    await sql`select pg_advisory_xact_lock(${signingKeyLock})`
    const [newest] = await sql<{ kid: string }[]>`
      select kid from signing_keys where published_until is null order by signs_from desc limit 1`
    if (newest?.kid !== after) return false
    await retire(sql, keepSeconds === 0 ? 0 : beginsInSeconds + keepSeconds)
    await sql`
      insert into signing_keys (kid, public_jwk, sealed, key_id, signs_from)
      values (${key.kid}, ${key.publicJwk}, ${key.sealed}, ${key.keyId},
        clock_timestamp() + ${beginsInSeconds} * interval '1 second')`
    return true
  })
}

/** Those before go in so many seconds, unless they do earlier; what is gone for a day is cleared away. */
async function retire(sql: ISql, inSeconds: number): Promise<void> {
  await sql`
    update signing_keys set published_until = least(published_until, clock_timestamp() + ${inSeconds} * interval '1 second')`
  await sql`delete from signing_keys where published_until < clock_timestamp() - interval '1 day'`
}

/** Replaces the sealed text of a key, unless somebody else has meanwhile. */
export async function replaceSealedSigningKey(
  db: Database,
  kid: string,
  { before, sealed, keyId }: { before: string; sealed: string; keyId: string },
): Promise<boolean> {
  const { count } = await db.$client`
    update signing_keys set sealed = ${sealed}, key_id = ${keyId} where kid = ${kid} and sealed = ${before}`
  return count > 0
}
