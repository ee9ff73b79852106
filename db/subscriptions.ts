import type { ISql } from 'postgres'
import { isToAsk } from './change-notices.ts'
import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type StoredSubscription = {
  source: string
  tenantId: string
  url: string
  /** Null while there is none. */
  subscriptionId: string | null
  /** What is to be done for it now by the clock of the database; null where nothing is, or not before the next try. */
  due: 'create' | 'reauthorize' | 'renew' | null
  /** False: the last attempt failed, and the time for another has not come. */
  mayTry: boolean
  errorCode: string | null
  /** See {@link isToAsk}. */
  isToAsk: boolean
}

/** Times of the life of a subscription, in seconds. */
export type SubscriptionRhythm = {
  /** From one renewal to the next; sooner where it lasts for less than twice as long. */
  renewEvery: number
  /** No renewal and re-authorisation within so many of each other. */
  apart: number
  /** From one question about changes to the next. */
  askEvery: number
}

export async function listSubscriptions(
  db: Database,
  { apart, askEvery }: SubscriptionRhythm,
): Promise<StoredSubscription[]> {
  return await db.$client<StoredSubscription[]>`
    select source, tenant_id as "tenantId", url, subscription_id as "subscriptionId", error_code as "errorCode",
      try_at <= clock_timestamp() as "mayTry",
      case when try_at > clock_timestamp() then null
        when subscription_id is null then 'create'
        when renew_at <= clock_timestamp() then 'renew'
        when reauthorize and (renewed_at is null or renewed_at < clock_timestamp() - ${apart} * interval '1 second')
          then 'reauthorize'
      end as due,
      ${isToAsk(db, askEvery)} as "isToAsk"
    from subscriptions order by source`
}

/**
 * Runs `work` unless another worker is at this source's subscription: then it resolves undefined. The lock is a transaction's
 * and not the row's, which notifications write meanwhile; it goes with whoever dies. What `work` writes stays, whatever it throws.
 */
export async function withSubscriptionLock<Result>(
  db: Database,
  source: string,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  const lock = async (sql: ISql) => {
    const [turn] = await sql<{ mine: boolean }[]>`
      select pg_try_advisory_xact_lock(hashtextextended(${`subscription ${source}`}, 0)) as mine`
    return turn?.mine ? await work() : undefined
  }
  // Graph's own time limits come first.
  return await transaction(db, lock, { limitSeconds: 600 })
}

/** There is none yet, or none any more, and there is to be one. */
export async function registerSubscription(
  db: Database,
  { source, tenantId, url }: Pick<StoredSubscription, 'source' | 'tenantId' | 'url'>,
): Promise<void> {
  await db.$client`
    insert into subscriptions (source, tenant_id, url) values (${source}, ${tenantId}, ${url})
    on conflict (source) do update set tenant_id = excluded.tenant_id, url = excluded.url, subscription_id = null,
      client_state_hash = null, expires_at = null, renew_at = null, renewed_at = null, reauthorize = false`
}

/** A change is asked about at once: what has changed before was told to nobody. */
export async function storeSubscription(
  db: Database,
  source: string,
  made: { subscriptionId: string; clientStateHash: string; expiresAt: string },
  { renewEvery }: SubscriptionRhythm,
): Promise<void> {
  const sql = db.$client
  await sql`
    update subscriptions set subscription_id = ${made.subscriptionId}, client_state_hash = ${made.clientStateHash},
      expires_at = ${made.expiresAt}::timestamptz, renew_at = ${renewal(db, made.expiresAt, renewEvery)}, renewed_at = null,
      reauthorize = false, try_at = clock_timestamp(), failures = 0, error_code = null, changed_at = clock_timestamp()
    where source = ${source}`
}

/** It lasts until then; that authorises it anew as well. Changes are asked about, which keeps their links young. */
export async function markRenewed(
  db: Database,
  source: string,
  { subscriptionId, expiresAt }: { subscriptionId: string; expiresAt: string },
  { renewEvery }: SubscriptionRhythm,
): Promise<void> {
  await db.$client`
    update subscriptions set expires_at = ${expiresAt}::timestamptz, renew_at = ${renewal(db, expiresAt, renewEvery)},
      renewed_at = clock_timestamp(), reauthorize = false, failures = 0, error_code = null, changed_at = clock_timestamp()
    where source = ${source} and subscription_id = ${subscriptionId}`
}

/** Changes are asked about: those of the time when it was not authorised may be told to nobody. */
export async function markReauthorized(
  db: Database,
  source: string,
  subscriptionId: string,
  { apart }: SubscriptionRhythm,
): Promise<void> {
  await db.$client`
    update subscriptions set reauthorize = false, failures = 0, error_code = null, changed_at = clock_timestamp(),
      renew_at = greatest(renew_at, clock_timestamp() + ${apart} * interval '1 second')
    where source = ${source} and subscription_id = ${subscriptionId}`
}

/** Well before the end, and never in a hurry, whatever end Graph told. */
function renewal(db: Database, expiresAt: string, renewEvery: number) {
  return db.$client`greatest(clock_timestamp() + interval '1 minute', least(
    clock_timestamp() + ${renewEvery} * interval '1 second',
    clock_timestamp() + (${expiresAt}::timestamptz - clock_timestamp()) / 2))`
}

/** What was wrong last, and when to try again; resolves with what was wrong before. */
export async function noteSubscriptionError(
  db: Database,
  source: string,
  { errorCode, retrySeconds }: { errorCode: string; retrySeconds: (failures: number) => number },
): Promise<string | undefined> {
  return await transaction(db, async (sql) => {
    const [old] = await sql<{ failures: number; errorCode: string | null }[]>`
      select failures, error_code as "errorCode" from subscriptions where source = ${source} for update`
    if (!old) return undefined
    await sql`
      update subscriptions set error_code = ${errorCode}, failures = failures + 1,
        try_at = clock_timestamp() + ${retrySeconds(old.failures)} * interval '1 second'
      where source = ${source}`
    return old.errorCode ?? undefined
  })
}

export async function dropSubscription(db: Database, source: string): Promise<void> {
  await db.$client`delete from subscriptions where source = ${source}`
}

/** Says that these sources are known, and drops what no worker has known for so long; resolves with their slugs. */
export async function dropForsakenSubscriptions(
  db: Database,
  known: readonly string[],
  forsakenSeconds: number,
): Promise<string[]> {
  const slugs = JSON.stringify(known)
  await db.$client`
    update subscriptions set tended_at = clock_timestamp()
    where source in (select json_array_elements_text(${slugs}::text::json))
      and tended_at < clock_timestamp() - ${forsakenSeconds / 4} * interval '1 second'`
  const rows = await db.$client<{ source: string }[]>`
    delete from subscriptions where tended_at < clock_timestamp() - ${forsakenSeconds} * interval '1 second'
    returning source`
  return rows.map(({ source }) => source)
}
