import { createHash, randomBytes } from 'node:crypto'
import type { Database } from '../db/client.ts'
import {
  dropSubscription,
  listSubscriptions,
  markReauthorized,
  markRenewed,
  registerSubscription,
  storeSubscription,
  withSubscriptionLock,
  type StoredSubscription,
  type SubscriptionRhythm,
} from '../db/subscriptions.ts'
import { GraphUnavailable, SyncError, Throttled } from './errors.ts'
import type { GraphClient } from './graph/client.ts'
import {
  createSubscription,
  deleteSubscription,
  endOfSubscription,
  listSubscriptionsTo,
  reauthorizeSubscription,
  renewSubscription,
} from './graph/subscriptions.ts'
import type { BatchSource } from './sync-batch.ts'

/**
 * Renewed every six hours, of a life of 29 days, which also shows that it is still there. Renewing and re-authorising are to be
 * ten minutes apart (Graph docs: change-notifications-lifecycle-events).
 */
export const defaultRhythm: SubscriptionRhythm = { renewEvery: 6 * 3600, apart: 600, askEvery: 10 }

/** Where Graph is to tell of changes, and of whose. */
export type WantedSubscription = { tenantId: string; url: string }

/** What became of it: `left` to its end, since Graph doesn't let us remove it. Undefined where nothing was to be done. */
export type Tended = 'made' | 'renewed' | 'reauthorized' | 'removed' | 'left'

type SubscribedSource = Pick<BatchSource, 'slug' | 'appTokens' | 'budgetOf' | 'openGraph'>

/** One request, as far as one knows beforehand. */
const unitsOfTending = 1

/**
 * Makes a source's subscription what it is to be: there, of the right tenant and address, renewed, authorised; or gone. One
 * worker does at a time, and whoever takes over from one that died finds at Graph what that one has made.
 * @throws {SyncError} as the requests do.
 */
export async function tendSubscription(
  db: Database,
  source: SubscribedSource,
  wanted: WantedSubscription | undefined,
  { rhythm = defaultRhythm, signal }: { rhythm?: SubscriptionRhythm; signal?: AbortSignal } = {},
): Promise<Tended | undefined> {
  return await withSubscriptionLock(db, source.slug, async () => {
    // Another worker may have been at it since this one looked.
    const stored = (await listSubscriptions(db, rhythm)).find((each) => each.source === source.slug)
    const tender = { db, source, rhythm, signal }
    if (!wanted) return stored && (await remove(tender, stored))
    if (!stored) await registerSubscription(db, { source: source.slug, ...wanted })
    else if (differs(stored, wanted)) {
      await remove(tender, stored)
      await registerSubscription(db, { source: source.slug, ...wanted })
    } else if (stored.due === null) return undefined
    else if (stored.subscriptionId !== null) {
      const tended = await keep(tender, stored, stored.subscriptionId)
      if (tended) return tended
      await registerSubscription(db, { source: source.slug, ...wanted })
    }
    return await make(tender, wanted)
  })
}

/** Whether it is one of another tenant, or sends to another address. */
export function differs(stored: StoredSubscription, { tenantId, url }: WantedSubscription): boolean {
  return stored.tenantId !== tenantId || stored.url !== url
}

type Tender = {
  db: Database
  source: SubscribedSource
  rhythm: SubscriptionRhythm
  signal: AbortSignal | undefined
}

async function make(
  { db, source, rhythm, signal }: Tender,
  { tenantId, url }: WantedSubscription,
): Promise<'made'> {
  return await askGraph({ source, signal }, tenantId, async (graph, now) => {
    const clientState = randomBytes(32).toString('base64url')
    const told = { url, clientState, expiresAt: endOfSubscription(now) }
    let made = await createSubscription(graph, told)
    if (made === 'conflict') {
      // Made by a worker that died before it stored it: what proves its notifications is known to nobody.
      for (const id of await listSubscriptionsTo(graph, url)) await deleteSubscription(graph, id)
      made = await createSubscription(graph, told)
    }
    if (made === 'conflict')
      throw new SyncError(
        'unexpected_response',
        'the app has a subscription to the groups of this tenant that sends elsewhere',
      )
    const { id: subscriptionId, expiresAt } = made
    const clientStateHash = createHash('sha256').update(clientState).digest('hex')
    await storeSubscription(db, source.slug, { subscriptionId, clientStateHash, expiresAt }, rhythm)
    return 'made' as const
  })
}

/** Undefined where it is gone. */
async function keep(
  { db, source, rhythm, signal }: Tender,
  { tenantId, due }: StoredSubscription,
  subscriptionId: string,
): Promise<'renewed' | 'reauthorized' | undefined> {
  return await askGraph({ source, signal }, tenantId, async (graph, now) => {
    if (due === 'reauthorize') {
      if (!(await reauthorizeSubscription(graph, subscriptionId))) return undefined
      await markReauthorized(db, source.slug, subscriptionId, rhythm)
      return 'reauthorized'
    }
    const renewed = await renewSubscription(graph, subscriptionId, endOfSubscription(now))
    if (!renewed) return undefined
    await markRenewed(db, source.slug, { subscriptionId, expiresAt: renewed.expiresAt }, rhythm)
    return 'renewed'
  })
}

/** Where the app may not do that any more, it ends by itself; notifications until then are of an unknown subscription. */
async function remove(
  { db, source, signal }: Tender,
  stored: StoredSubscription,
): Promise<'removed' | 'left'> {
  const { tenantId, subscriptionId } = stored
  let removed: 'removed' | 'left' = 'removed'
  if (subscriptionId !== null)
    try {
      await askGraph(
        { source, signal },
        tenantId,
        async (graph) => await deleteSubscription(graph, subscriptionId),
      )
    } catch (error) {
      if (!(error instanceof SyncError) || error instanceof Throttled || error instanceof GraphUnavailable)
        throw error
      removed = 'left'
    }
  await dropSubscription(db, source.slug)
  return removed
}

/** Asks with a token of the app, in its turn; `now` is by the clock of the database. */
async function askGraph<Result>(
  { source, signal }: Pick<Tender, 'source' | 'signal'>,
  tenantId: string,
  work: (graph: GraphClient, now: string) => Promise<Result>,
): Promise<Result> {
  const budget = source.budgetOf(tenantId)
  const { accessToken } = await source.appTokens.tokenFor(tenantId)
  const now = await budget.takeTurn({ priority: 'low', units: unitsOfTending })
  const graph = source.openGraph(accessToken, 'low', signal)
  try {
    return await work(graph, now)
  } catch (error) {
    throw error instanceof Throttled && !error.slot ? await budget.pause('low', error) : error
  } finally {
    await budget.settle('low', graph.usage(), unitsOfTending).catch(() => undefined)
  }
}
