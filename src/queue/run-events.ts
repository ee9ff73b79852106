import type { QueueBackend } from './backend.ts'
import { syncQueueName } from './catalogue.ts'

export type RunEvents = {
  /**
   * Calls `onEnd` with the user's id each time a sync job ends, for good if it failed. Resolves once no later end is
   * missed; the returned function ends it.
   */
  listen: (onEnd: (userId: string) => void) => Promise<() => void>
  close: () => Promise<void>
}

/** Follows the ends of sync jobs over the queue. Opens its connection with the first listener. */
export function createRunEvents(openBackend: () => Promise<QueueBackend>): RunEvents {
  const listeners = new Set<(userId: string) => void>()
  let opening: Promise<QueueBackend> | undefined
  let ready: Promise<void> | undefined
  const open = async () => {
    opening = openBackend()
    const backend = await opening
    const events = backend.openEvents(syncQueueName)
    const queue = backend.openQueue(syncQueueName)
    const tell = (userId: string | undefined) => {
      if (userId !== undefined) for (const listener of listeners) listener(userId)
    }
    events.on('completed', ({ returnvalue }) => tell(endedUser(returnvalue)))
    events.on('failed', ({ jobId }) => {
      if (listeners.size === 0) return
      queue
        .getJob(jobId)
        .then((job) => tell(endedUser(job?.data)))
        .catch(() => undefined)
    })
    await events.waitUntilReady()
  }
  return {
    listen: async (onEnd) => {
      ready ??= open()
      ready.catch(() => (ready = undefined))
      await ready
      listeners.add(onEnd)
      return () => listeners.delete(onEnd)
    },
    close: async () => {
      // A queue that can't be reached is never ready, and closing must not wait for it.
      const backend = await opening?.catch(() => undefined)
      await backend?.close()
    },
  }
}

/** From a job's result or its payload. */
function endedUser(returned: unknown): string | undefined {
  const isUser = typeof returned === 'object' && returned !== null && 'userId' in returned
  return isUser && typeof returned.userId === 'string' ? returned.userId : undefined
}
