import { z } from 'zod'
import { SyncError } from '../errors.ts'
import { isStorableText } from '../storable-text.ts'
import { unexpected, type Answer } from './answer.ts'
import type { GraphClient } from './client.ts'
import { nextPath } from './group-pages.ts'

/**
 * All groups of the tenant: creation and soft deletion come as `updated` too, `deleted` is for good (Graph docs:
 * resources/subscription).
 */
const about = { changeType: 'updated,deleted', resource: '/groups' }

/** How long a subscription to groups lasts at most, in minutes (Graph docs: resources/subscription); an hour less, for clocks. */
const lifeMinutes = 41_760 - 60

const subscription = z.looseObject({
  id: z.string().min(1).max(128).refine(isStorableText),
  expirationDateTime: z.string().refine((text) => !Number.isNaN(Date.parse(text))),
})

export type MadeSubscription = { id: string; expiresAt: string }

/** When one that is made or renewed at that moment (ISO 8601) is to end. */
export function endOfSubscription(now: string): string {
  return new Date(Date.parse(now) + lifeMinutes * 60_000).toISOString()
}

/**
 * Graph asks the addresses at once whether they are ours, and makes nothing unless they answer. `conflict` where the app has
 * one of the kind in the tenant already (Graph docs: change-notifications-delivery-webhooks).
 * @throws {SyncError} see {@link GraphClient.request}.
 */
export async function createSubscription(
  client: GraphClient,
  { url, clientState, expiresAt }: { url: string; clientState: string; expiresAt: string },
): Promise<MadeSubscription | 'conflict'> {
  const answer = await client.request({
    path: '/subscriptions',
    // It can't be given an address for lifecycle events later (Graph docs: change-notifications-lifecycle-events).
    body: {
      ...about,
      notificationUrl: url,
      lifecycleNotificationUrl: `${url}/lifecycle`,
      expirationDateTime: expiresAt,
      clientState,
    },
    accept: [409],
  })
  return answer.status === 409 ? 'conflict' : madeOf(answer)
}

/** Renews, which authorises anew as well; undefined where there is no such subscription any more. */
export async function renewSubscription(
  client: GraphClient,
  id: string,
  expiresAt: string,
): Promise<MadeSubscription | undefined> {
  const body = { expirationDateTime: expiresAt }
  const answer = await client.request({ method: 'PATCH', path: pathOf(id), body, accept: [404] })
  return answer.status === 404 ? undefined : madeOf(answer)
}

/** False where there is no such subscription any more (Graph docs: subscription-reauthorize). */
export async function reauthorizeSubscription(client: GraphClient, id: string): Promise<boolean> {
  const path = `${pathOf(id)}/reauthorize`
  const { status } = await client.request({ method: 'POST', path, accept: [404] })
  return status !== 404
}

/** One that is gone already is fine. */
export async function deleteSubscription(client: GraphClient, id: string): Promise<void> {
  await client.request({ method: 'DELETE', path: pathOf(id), accept: [404] })
}

const page = z.looseObject({
  value: z.array(z.looseObject({ id: z.string(), notificationUrl: z.string().nullish() })),
  '@odata.nextLink': z.string().optional(),
})

/** An app has at most a hundred in a tenant (Graph docs: change-notifications-overview). */
const maxPages = 100

/** Ids of the app's own subscriptions that send to an address (Graph docs: subscription-list). */
export async function listSubscriptionsTo(client: GraphClient, url: string): Promise<string[]> {
  const found: string[] = []
  let path = '/subscriptions'
  for (let pages = 0; pages < maxPages; pages += 1) {
    const answer = await client.request({ path })
    const requestId = answer.headers.get('request-id') ?? undefined
    const read = page.safeParse(answer.json)
    if (!read.success) throw unexpected('a page of subscriptions', requestId)
    found.push(...read.data.value.flatMap(({ id, notificationUrl }) => (notificationUrl === url ? [id] : [])))
    const next = read.data['@odata.nextLink']
    if (next === undefined) return found
    path = nextPath(client.baseUrl, next)
  }
  throw new SyncError('unexpected_response', 'the list of subscriptions has no end')
}

const pathOf = (id: string) => `/subscriptions/${encodeURIComponent(id)}`

function madeOf({ json, headers }: Answer): MadeSubscription {
  const read = subscription.safeParse(json)
  if (!read.success) throw unexpected('a subscription', headers.get('request-id') ?? undefined)
  return { id: read.data.id, expiresAt: new Date(read.data.expirationDateTime).toISOString() }
}
