import type { Database } from './client.ts'
import { settledAfterSeconds } from './read-again.ts'

/** What a notification must know to be believed. */
export type KnownSubscription = { subscriptionId: string; tenantId: string; clientStateHash: string }

export async function findKnownSubscription(
  db: Database,
  source: string,
): Promise<KnownSubscription | undefined> {
  const [row] = await db.$client<KnownSubscription[]>`
    select subscription_id as "subscriptionId", tenant_id as "tenantId", client_state_hash as "clientStateHash"
    from subscriptions where source = ${source} and subscription_id is not null`
  return row
}

/** What notifications of one request say together. */
export type Notice = {
  /** Something has changed, or may have. */
  changed: boolean
  reauthorize: boolean
  /** There is no such subscription any more. */
  removed: boolean
}

/**
 * Notes what was told of a subscription. Where a change is noted already that nobody has asked about, another adds nothing and
 * writes nothing: a flood of them is one write for each time that somebody asks.
 */
export async function noteChanges(
  db: Database,
  { source, subscriptionId }: { source: string; subscriptionId: string },
  { changed, reauthorize, removed }: Notice,
): Promise<void> {
  const sql = db.$client
  const isNews = sql`(changed_at is null or changed_at <= asked_at)`
  await sql`
    update subscriptions set
      changed_at = case when ${changed} and ${isNews} then clock_timestamp() else changed_at end,
      reauthorize = (reauthorize or ${reauthorize}) and not ${removed},
      subscription_id = case when not ${removed} then subscription_id end,
      client_state_hash = case when not ${removed} then client_state_hash end,
      renew_at = case when not ${removed} then renew_at end,
      expires_at = case when not ${removed} then expires_at end
    where source = ${source} and subscription_id = ${subscriptionId}
      and ((${changed} and ${isNews}) or (${reauthorize} and not reauthorize) or ${removed})`
}

/**
 * There is something to ask about: a change was told of, or those whom one concerned are to be read once more, where no
 * schedule may do so. Neither is asked about too often.
 */
export function isToAsk({ $client: sql }: Database, askEvery: number) {
  const notSince = (seconds: number) =>
    sql`(asked_at is null or asked_at < clock_timestamp() - ${seconds} * interval '1 second')`
  return sql`(changed_at is not null and ${notSince(askEvery)}
    or ${notSince(Math.max(askEvery, settledAfterSeconds))} and exists (
      select from delta_hints h where h.source = subscriptions.source and h.due_at <= clock_timestamp()))`
}

/**
 * Sets out to ask about a change that was told of; undefined where another worker has, or it is too early again. Whoever dies
 * before {@link settleChange} leaves it to the next.
 */
export async function takeChange(
  db: Database,
  source: string,
  askEvery: number,
): Promise<{ askedAt: string } | undefined> {
  const [row] = await db.$client<{ askedAt: string }[]>`
    update subscriptions set asked_at = clock_timestamp()
    where source = ${source} and ${isToAsk(db, askEvery)}
    returning to_json(asked_at) #>> '{}' as "askedAt"`
  return row
}

/** It is being asked about; what was told of since then stays. */
export async function settleChange(db: Database, source: string, askedAt: string): Promise<void> {
  await db.$client`
    update subscriptions set changed_at = null where source = ${source} and changed_at <= ${askedAt}::timestamptz`
}
