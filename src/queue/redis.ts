import { Redis } from 'ioredis'
import { ConfigInvalid } from '../errors.ts'

/** `producer` fails fast, since a sign-in waits; `worker` waits for Redis as long as it takes, as BullMQ demands. */
export type ConnectionUse = 'producer' | 'worker'

const reconnectAfter = (attempt: number) => Math.min(attempt * 200, 5000)

/** Options as "Going to production" in BullMQ's guide asks. Connects on first use; is told the code of each failure. */
export function openRedis(url: string, use: ConnectionUse, onFailure: (code: string) => void): Redis {
  const common = { lazyConnect: true, connectTimeout: 5000, retryStrategy: reconnectAfter }
  const redis =
    use === 'worker'
      ? new Redis(url, { ...common, maxRetriesPerRequest: null })
      : new Redis(url, { ...common, maxRetriesPerRequest: 1, enableOfflineQueue: false })
  // Without a listener ioredis prints every failed attempt, text and all.
  let told = false
  redis.on('error', (error: unknown) => {
    told = true
    onFailure(replyCode(error) ?? socketCode(error) ?? 'unknown')
  })
  // A server of another kind may close without a word.
  redis.on('connect', () => (told = false))
  redis.on('close', () => {
    if (!told) onFailure('CONNECTION_CLOSED')
  })
  return redis
}

/**
 * Refuses what waiting doesn't mend: a server that doesn't let us in, isn't Redis or lacks the database, and one that may
 * evict keys. BullMQ's locks carry a time to live, so the volatile policies lose jobs and the allkeys ones lose anything.
 * @throws {ConfigInvalid} saying which it is.
 */
export async function checkRedis(redis: Redis, allowEviction: boolean): Promise<void> {
  const memory = await redis.info('memory').catch((error: unknown) => refused(redis, error))
  const database = redis.options.db ?? 0
  // The connection selected it too, but ioredis goes on in database 0 where that fails.
  if (database !== 0) await redis.select(database).catch((error: unknown) => noDatabase(database, error))
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1]
  if (allowEviction || policy === undefined || policy === 'noeviction') return
  throw invalid(
    `this Redis has maxmemory-policy ${policy} and may drop queued jobs; set "maxmemory-policy noeviction" there, or REDIS_ALLOW_EVICTION=true to start all the same`,
  )
}

function refused(redis: Redis, error: unknown): never {
  const code = replyCode(error)
  if (code !== undefined) throw invalid(`Redis refuses (${code}): check the user and the password in the URL`)
  // ioredis gives the errors of its parser neither a name nor a code; a connection that we closed has none either.
  const isUnnamed = error instanceof Error && error.name === 'Error' && socketCode(error) === undefined
  if (isUnnamed && redis.status !== 'end')
    throw invalid('what answers there is no Redis: check host and port')
  throw error
}

function noDatabase(database: number, error: unknown): never {
  const code = replyCode(error)
  if (code === undefined) throw error
  throw invalid(`this Redis does not give us its database ${database} (${code}); leave the number out for 0`)
}

const invalid = (message: string) => new ConfigInvalid([{ setting: 'QUEUE_URL', message }])

/** The first word of an error is Redis's code for it (RESP specification, simple errors). */
function replyCode(error: unknown): string | undefined {
  return error instanceof Error && error.name === 'ReplyError'
    ? /^[A-Z]+/.exec(error.message)?.[0]
    : undefined
}

function socketCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
