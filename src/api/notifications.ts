import { createHash, timingSafeEqual } from 'node:crypto'
import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Logger } from 'pino'
import { z } from 'zod'
import {
  findKnownSubscription,
  noteChanges,
  type KnownSubscription,
  type Notice,
} from '../../db/change-notices.ts'
import type { Database } from '../../db/client.ts'
import { databaseFailure } from '../database-failure.ts'

export type NotificationsParts = { db: Database; log: Logger }

const maxBodyBytes = 1024 * 1024
/** Of one request; the others say the same: that something has changed. */
const maxItems = 1000
const maxTokenLength = 2048
/** Requests that are looked at at once, so that a flood leaves connections of the database to those who sign in. */
const maxOpen = 4
/** Milliseconds between two log lines about what is ignored. */
const tellEveryMs = 10_000

/** A client state has at most 128 characters (Graph docs: resources/subscription). */
export const notificationItem = z.object({
  subscriptionId: z.string().max(128),
  tenantId: z.string().max(64),
  clientState: z.string().max(128),
  lifecycleEvent: z.string().max(64).optional(),
})
const collection = z.object({ value: z.array(z.unknown()) })

type Item = z.output<typeof notificationItem>

/**
 * `POST /notifications/<source>`, and `…/lifecycle`: where Graph tells of changes (Graph docs:
 * change-notifications-delivery-webhooks, change-notifications-lifecycle-events). That something has changed is noted, and
 * nothing else of what it says: a worker asks Graph what it was. Who knows no subscription is answered like who does.
 */
export function notifications({ db, log }: NotificationsParts): Hono {
  const app = new Hono()
  const ignore = createIgnored(log)
  let open = 0
  const take = async (c: Context) => {
    const token = c.req.query('validationToken')
    if (token !== undefined) return proveAddress(c, token)
    const items = itemsOf(await c.req.text())
    if (!items) return c.json({ error: 'invalid_request' }, 400)
    if (open >= maxOpen) return unavailable(c)
    open += 1
    try {
      const source = slugIn(c)
      const known = source !== '' && items.length > 0 ? await findKnownSubscription(db, source) : undefined
      const believed = known ? items.filter(believes(known)) : []
      if (known && believed.length > 0)
        await noteChanges(db, { source, subscriptionId: known.subscriptionId }, noticeOf(believed))
      if (believed.length === 0 || believed.length < items.length) ignore(items.length - believed.length)
      return c.body(null, 202)
    } catch (error) {
      log.error({ code: databaseFailure(error).code }, 'notifications not stored; Graph sends them again')
      return unavailable(c)
    } finally {
      open -= 1
    }
  }
  const limited = bodyLimit({
    maxSize: maxBodyBytes,
    onError: (c) => c.json({ error: 'too_large', message: `the body is over ${maxBodyBytes} bytes` }, 413),
  })
  for (const path of ['/notifications/:source', '/notifications/:source/lifecycle']) {
    app.post(path, limited, take)
    app.all(path, (c) => c.json({ error: 'method_not_allowed' }, 405, { Allow: 'POST' }))
  }
  return app
}

/**
 * Graph makes no subscription before the address has given back what it was asked, decoded, as plain text, and escaped, so that
 * it is no page in any browser (Graph docs: change-notifications-delivery-webhooks).
 */
function proveAddress(c: Context, token: string): Response {
  if (token.length > maxTokenLength) return c.json({ error: 'invalid_request' }, 400)
  const escaped = token.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
  return c.text(escaped, 200)
}

const unavailable = (c: Context) => c.json({ error: 'unavailable' }, 503, { 'Retry-After': '5' })

/** Empty for what is no name of a source. */
function slugIn(c: Context): string {
  const told = c.req.param('source') ?? ''
  return /^[a-z0-9-]{1,63}$/.test(told) ? told : ''
}

/** Undefined for what is no collection; what in it is no notification is left out. */
function itemsOf(text: string): Item[] | undefined {
  try {
    const read = collection.safeParse(JSON.parse(text))
    return read.data?.value.slice(0, maxItems).flatMap((each) => notificationItem.safeParse(each).data ?? [])
  } catch {
    return undefined
  }
}

/** Compared in full, so that time tells nothing of how much was right. */
function believes({ subscriptionId, tenantId, clientStateHash }: KnownSubscription): (told: Item) => boolean {
  const hash = Buffer.from(clientStateHash, 'hex')
  return (told) =>
    timingSafeEqual(createHash('sha256').update(told.clientState).digest(), hash) &&
    told.subscriptionId === subscriptionId &&
    told.tenantId.toLowerCase() === tenantId
}

function noticeOf(items: readonly Item[]): Notice {
  const events = new Set(items.map(({ lifecycleEvent }) => lifecycleEvent))
  return {
    changed: events.has(undefined) || events.has('missed') || events.has('subscriptionRemoved'),
    reauthorize: events.has('reauthorizationRequired'),
    removed: events.has('subscriptionRemoved'),
  }
}

/** Tells how many were ignored, once in a while: whoever sends them must not fill the log. */
function createIgnored(log: Logger): (count: number) => void {
  let ignored = 0
  let tellAt = 0
  return (count) => {
    ignored += Math.max(count, 1)
    if (performance.now() < tellAt) return
    log.warn({ ignored }, 'notifications of no subscription of ours, or without its client state, ignored')
    ignored = 0
    tellAt = performance.now() + tellEveryMs
  }
}
