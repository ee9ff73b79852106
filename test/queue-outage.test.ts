import { randomUUID } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, test } from 'vitest'
import { openQueueBackend, type QueueBackend, type SyncQueue } from '../src/queue/backend.ts'
import { createEnqueue } from '../src/queue/enqueue.ts'

let backend: QueueBackend | undefined

afterEach(() => backend?.close())

test.for([
  ['redis', 'redis://127.0.0.1:1'],
  ['postgres', 'postgres://nobody@127.0.0.1:1/none'],
] as const)('sign-ins during an outage of a queue in %s leave nothing behind in memory', async ([, url]) => {
  const real = await openQueueBackend({ url, use: 'producer' })
  backend = real
  const queues: WeakRef<SyncQueue>[] = []
  const openQueue = (name: string) => {
    const queue = real.openQueue(name)
    queues.push(new WeakRef(queue))
    return queue
  }
  const enqueue = createEnqueue({ ...real, openQueue }, { timeoutMs: 200, pauseMs: 0 })
  const signIn = { userId: randomUUID(), tenantId: 'tenant', source: 'entra-id', cause: 'login' } as const
  for (let count = 0; count < 20; count += 1) expect(await enqueue([signIn])).toBe(false)
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') throw new Error('no garbage collection to be asked for')
  const left = () => queues.filter((queue) => queue.deref() !== undefined).length
  // What is under way may hold the last few.
  for (let turns = 0; turns < 20 && left() > 2; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
  expect(queues).toHaveLength(20)
  expect(left()).toBeLessThanOrEqual(2)
})
