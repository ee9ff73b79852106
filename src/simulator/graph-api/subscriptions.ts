import { z } from 'zod'
import { resourceParts } from '../notifications/items.ts'
import type { Subscription } from '../notifications/settings.ts'
import { requirePermission } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { badRequest, GraphRefusal } from './errors.ts'
import { readJson } from './member-of.ts'
import { contextUrl } from './rendering.ts'

const minute = 60_000
/** How long a subscription of users or groups lasts at most, and at least (Graph docs: resources/subscription). */
const lifetime = { most: 41_760 * minute, least: 45 * minute }
/** How many an app may have in a tenant (Graph docs: change-notifications-overview, latency and quotas). */
const quota = 100

const url = z.url({ protocol: /^https?$/ })
const createBody = z.object({
  changeType: z.string(),
  notificationUrl: url,
  lifecycleNotificationUrl: url.nullish(),
  resource: z.string(),
  expirationDateTime: z.iso.datetime({ offset: true }),
  clientState: z.string().max(128).nullish(),
})
const updateBody = z.object({
  expirationDateTime: z.iso.datetime({ offset: true }).optional(),
  notificationUrl: url.optional(),
})

/** `/subscriptions` and what is below (Graph docs: subscription-post-subscriptions, -list, -update, -delete, -reauthorize). */
export async function answerSubscriptions(call: GraphCall, rest: readonly string[]): Promise<GraphReply> {
  const [id, action, ...more] = rest
  const { notifications } = call.tenant
  if (id === undefined) {
    if (call.method === 'POST') return await create(call)
    if (call.method === 'GET') return list(call)
    throw notAllowed()
  }
  const subscription = ownSubscription(call, id)
  if (action === 'reauthorize' && more.length === 0 && call.method === 'POST') {
    notifications.reauthorize(id)
    return { status: 204, type: 'none', body: '' }
  }
  if (action !== undefined) throw badRequest(`Resource not found for the segment '${action}'.`, 'BadRequest')
  switch (call.method) {
    case 'GET':
      return entity(call, 200, subscription)
    case 'PATCH':
      return await update(call, subscription)
    case 'DELETE':
      notifications.remove(id)
      return { status: 204, type: 'none', body: '' }
    default:
      throw notAllowed()
  }
}

async function create(call: GraphCall): Promise<GraphReply> {
  const { notifications } = call.tenant
  const wanted = parse(createBody, call)
  const changeType = readChangeType(wanted.changeType)
  const resource = readResource(call, wanted.resource)
  const expirationDateTime = expiration(call, wanted.expirationDateTime)
  const lifecycleNotificationUrl = wanted.lifecycleNotificationUrl ?? null
  await proveAddress(call, wanted.notificationUrl)
  if (lifecycleNotificationUrl !== null) await proveAddress(call, lifecycleNotificationUrl)
  // Looked at after the handshakes, during which others may have been made.
  const own = ownSubscriptions(call)
  if (own.some((each) => each.changeType === changeType && each.resource === resource))
    throw new GraphRefusal(
      409,
      'Conflict',
      'A subscription with this resource and changeType exists already.',
    )
  if (own.length >= quota)
    throw new GraphRefusal(
      403,
      'Forbidden',
      `The limit of ${quota} subscriptions per app and tenant is reached.`,
    )
  const subscription: Subscription = {
    id: crypto.randomUUID(),
    applicationId: call.access.appId,
    resource,
    changeType,
    clientState: wanted.clientState ?? null,
    notificationUrl: wanted.notificationUrl,
    lifecycleNotificationUrl,
    expirationDateTime,
    creatorId: call.access.userId ?? call.access.appId,
    includeResourceData: false,
    latestSupportedTlsVersion: 'v1_2',
    encryptionCertificate: null,
    encryptionCertificateId: null,
    notificationQueryOptions: null,
    notificationUrlAppId: null,
  }
  notifications.save(subscription)
  return entity(call, 201, subscription)
}

/** Renews, which also reauthorizes. What else the body says is left aside: `clientState` can't be changed. */
async function update(call: GraphCall, subscription: Subscription): Promise<GraphReply> {
  const { notifications } = call.tenant
  const wanted = parse(updateBody, call)
  const changed = {
    ...subscription,
    ...(wanted.expirationDateTime === undefined
      ? {}
      : { expirationDateTime: expiration(call, wanted.expirationDateTime) }),
    ...(wanted.notificationUrl === undefined ? {} : { notificationUrl: wanted.notificationUrl }),
  }
  if (changed.notificationUrl !== subscription.notificationUrl)
    await proveAddress(call, changed.notificationUrl)
  notifications.save(changed)
  if (wanted.expirationDateTime !== undefined) notifications.reauthorize(subscription.id)
  return entity(call, 200, changed)
}

/** Users and groups have `updated` and `deleted` alone (Graph docs: resources/subscription, changeType). */
function readChangeType(text: string): string {
  const types = text.split(',').map((type) => type.trim().toLowerCase())
  if (types.some((type) => type !== 'updated' && type !== 'deleted'))
    throw invalid(`The changeType '${text}' is not supported for this resource.`)
  return [...new Set(types)].toSorted().join(',')
}

function readResource(call: GraphCall, text: string): string {
  const [set, id] = resourceParts(text)
  if ((set !== 'users' && set !== 'groups') || text.replace(/^\//, '').split('/').length > 2)
    throw invalid(`Resource '${text}' is not supported.`)
  requirePermission(call.access, set === 'users' ? 'usersDelta' : 'groupSubscription')
  return id === undefined ? set : `${set}/${id}`
}

function expiration(call: GraphCall, text: string): string {
  const now = call.tenant.now()
  const left = Date.parse(text) - now
  if (left <= 0) throw invalid('Subscription expiration must be in the future.')
  if (left > lifetime.most)
    throw invalid(`Subscription expiration can only be ${lifetime.most / minute} minutes in the future.`)
  return new Date(now + Math.max(left, lifetime.least)).toISOString()
}

async function proveAddress(call: GraphCall, address: string): Promise<void> {
  const { notifications } = call.tenant
  const { protocol, hostname } = new URL(address)
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
  if (protocol !== 'https:' && !(notifications.settings().loopbackHttp && loopback))
    throw invalid('The notification URL must use https.')
  if (await notifications.answersValidation(address)) return
  throw new GraphRefusal(
    400,
    'ValidationError',
    'Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.',
  )
}

function ownSubscriptions({ tenant, access }: GraphCall): Subscription[] {
  return tenant.notifications.subscriptions().filter((each) => each.applicationId === access.appId)
}

function ownSubscription(call: GraphCall, id: string): Subscription {
  const found = ownSubscriptions(call).find((each) => each.id === id)
  if (found) return found
  throw new GraphRefusal(404, 'ResourceNotFound', 'The object was not found.')
}

function list(call: GraphCall): GraphReply {
  const value = ownSubscriptions(call)
  const body = { '@odata.context': contextUrl(call.baseUrl, 'subscriptions', undefined), value }
  return { status: 200, type: 'json', body: JSON.stringify(body) }
}

function entity(call: GraphCall, status: number, subscription: Subscription): GraphReply {
  const context = contextUrl(call.baseUrl, 'subscriptions', undefined, true)
  return { status, type: 'json', body: JSON.stringify({ '@odata.context': context, ...subscription }) }
}

function parse<T>(schema: z.ZodType<T>, call: GraphCall): T {
  const read = schema.safeParse(readJson(call))
  if (read.success) return read.data
  throw invalid(`The value of '${read.error.issues[0]?.path.join('.') ?? ''}' is missing or invalid.`)
}

function invalid(message: string): GraphRefusal {
  return badRequest(message, 'InvalidRequest')
}

function notAllowed(): GraphRefusal {
  return badRequest('Specified HTTP method is not allowed for the request target.', 'BadRequest')
}
