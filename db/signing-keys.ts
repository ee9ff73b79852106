import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type StoredSigningKey = {
  kid: string
  /** JSON. */
  publicJwk: string
  sealed: string
  keyId: string
  /** It has begun; a key that another one followed before it began never does. */
  hasBegun: boolean
  /** Seconds since it began, by the database's clock; negative before. */
  ageSeconds: number
  /** Seconds for which it is still published; null for the one key that no other has followed. */
  publishedSeconds: number | null
}

export type NewSigningKey = Pick<StoredSigningKey, 'kid' | 'publicJwk' | 'sealed' | 'keyId'>

/** Any number, as long as no other advisory lock of ours has it. */
const signingKeyLock = 6_201_209

/** Every key whose tokens may still be good: the one that no other has followed, then those that began last. */
export async function listSigningKeys(db: Database): Promise<StoredSigningKey[]> {
  return await db.$client<StoredSigningKey[]>`
    select kid, public_jwk as "publicJwk", sealed, key_id as "keyId",
      signs_from <= statement_timestamp() as "hasBegun",
      extract(epoch from statement_timestamp() - signs_from)::float8 as "ageSeconds",
      extract(epoch from published_until - statement_timestamp())::float8 as "publishedSeconds"
    from signing_keys where published_until is null or published_until > statement_timestamp()
    order by published_until is not null, signs_from desc, kid`
}

export type Succession = {
  /** The key that is followed; undefined where there is none. Another one means that somebody was faster. */
  after: string | undefined
  /** Seconds until the new one signs. */
  beginsInSeconds: number
  /** Seconds for which those before stay published from then on. */
  keepSeconds: number
}

/** Adds a key that signs from then on. False where another process has added one since the list was read. */
export async function insertSigningKey(
  db: Database,
  key: NewSigningKey,
  { after, beginsInSeconds, keepSeconds }: Succession,
): Promise<boolean> {
  return await transaction(db, async (sql) => {
    await sql`select pg_advisory_xact_lock(${signingKeyLock})`
    const [newest] = await sql<{ kid: string }[]>`select kid from signing_keys where published_until is null`
    if (newest?.kid !== after) return false
    await retire(sql, beginsInSeconds + keepSeconds)
    await insert(sql, key, beginsInSeconds)
    return true
  })
}

/** Adds a key that signs at once and withdraws all others, whatever they are and have signed. */
export async function replaceSigningKeys(db: Database, key: NewSigningKey): Promise<void> {
  await transaction(db, async (sql) => {
    await sql`select pg_advisory_xact_lock(${signingKeyLock})`
    // Not only dated: a clock that is put back would publish them again.
    await sql`delete from signing_keys`
    await insert(sql, key, 0)
  })
}

async function insert(sql: ISql, key: NewSigningKey, beginsInSeconds: number): Promise<void> {
  await sql`
    insert into signing_keys (kid, public_jwk, sealed, key_id, signs_from)
    values (${key.kid}, ${key.publicJwk}, ${key.sealed}, ${key.keyId},
      clock_timestamp() + ${beginsInSeconds} * interval '1 second')`
}

/**
 * Those before go in so many seconds, unless they do earlier. The one that signs until then stays for all that time: each
 * key made before the last one began would otherwise let it end sooner after its last token. One that hasn't begun is dated
 * to begin when it goes, which is never. What is gone for a day is cleared away.
 */
async function retire(sql: ISql, inSeconds: number): Promise<void> {
  await sql`
    with moment as (select clock_timestamp() as at, clock_timestamp() + ${inSeconds} * interval '1 second' as gone),
      signing as (select kid from signing_keys, moment
        where signs_from <= at and (published_until is null or published_until > at)
        order by published_until is not null, signs_from desc, kid limit 1)
    update signing_keys set
      published_until = case when kid in (select kid from signing) then gone else least(published_until, gone) end,
      signs_from = case when signs_from > at then greatest(signs_from, gone) else signs_from end
    from moment where published_until is null or published_until > at`
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
