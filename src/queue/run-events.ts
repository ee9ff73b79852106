import type { QueueBackend, SyncQueueEvents } from './backend.ts'
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
  let opened: Promise<{ backend: QueueBackend; events: SyncQueueEvents }> | undefined
  const open = async () => {
    const backend = await openBackend()
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
    return { backend, events }
  }
  return {
    listen: async (onEnd) => {
      opened ??= open()
      opened.catch(() => (opened = undefined))
      await opened
      listeners.add(onEnd)
      return () => listeners.delete(onEnd)
    },
    close: async () => {
      const one = await opened?.catch(() => undefined)
      await one?.backend.close()
    },
  }
}

/** From a job's result or its payload. */
function endedUser(returned: unknown): string | undefined {
  const isUser = typeof returned === 'object' && returned !== null && 'userId' in returned
  return isUser && typeof returned.userId === 'string' ? returned.userId : undefined
}
