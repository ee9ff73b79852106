import { Redis } from 'ioredis'
import { ConfigInvalid } from '../errors.ts'

/** `producer` fails fast, since a sign-in waits; `worker` waits for Redis as long as it takes, as BullMQ demands. */
export type ConnectionUse = 'producer' | 'worker'

const reconnectAfter = (attempt: number) => Math.min(attempt * 200, 5000)

/** Options as "Going to production" in BullMQ's guide asks. Connects on first use. */
export function openRedis(url: string, use: ConnectionUse): Redis {
  const common = { lazyConnect: true, connectTimeout: 5000, retryStrategy: reconnectAfter }
  const redis =
    use === 'worker'
      ? new Redis(url, { ...common, maxRetriesPerRequest: null })
      : new Redis(url, { ...common, maxRetriesPerRequest: 1, enableOfflineQueue: false })
  // Without a listener ioredis prints every failed attempt; who uses the connection sees the error anyway.
  redis.on('error', () => undefined)
  return redis
}

/**
 * Refuses a Redis that may evict keys: BullMQ's locks carry a time to live, so the volatile policies lose jobs and the
 * allkeys ones lose anything.
 * @throws {ConfigInvalid} naming the policy and the command that changes it; or what Redis refuses us for.
 */
export async function refuseEviction(redis: Redis): Promise<void> {
  const memory = await redis.info('memory').catch(refused)
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1]
  if (policy === undefined || policy === 'noeviction') return
  throw new ConfigInvalid([
    {
      setting: 'QUEUE_URL',
      message: `this Redis has maxmemory-policy ${policy} and may drop queued jobs; set "maxmemory-policy noeviction" there, or REDIS_ALLOW_EVICTION=true to start all the same`,
    },
  ])
}

/** The first word of an error is Redis's code for it (RESP specification, simple errors). */
function refused(error: unknown): never {
  const code =
    error instanceof Error && error.name === 'ReplyError' ? /^[A-Z]+/.exec(error.message)?.[0] : undefined
  if (code === undefined) throw error
  throw new ConfigInvalid([
    { setting: 'QUEUE_URL', message: `Redis refuses (${code}): check the user and the password in the URL` },
  ])
}
