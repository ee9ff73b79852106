import type { QueueBackend, SyncQueueEvents } from './backend.ts'
import { syncQueueName } from './catalogue.ts'

/** `failed` means for good: no attempt is left. */
export type JobEnd = { userId: string; failed: boolean }

export type RunEvents = {
  /** Calls `onEnd` each time a sync job ends. Resolves once no later end is missed; the returned function ends it. */
  listen: (onEnd: (end: JobEnd) => void) => Promise<() => void>
  close: () => Promise<void>
}

/** Follows the ends of sync jobs over the queue. Opens its connection with the first listener. */
export function createRunEvents(openBackend: () => Promise<QueueBackend>): RunEvents {
  const listeners = new Set<(end: JobEnd) => void>()
  let opened: Promise<{ backend: QueueBackend; events: SyncQueueEvents }> | undefined
  const open = async () => {
    const backend = await openBackend()
    const events = backend.openEvents(syncQueueName)
    const queue = backend.openQueue(syncQueueName)
    const tell = (userId: string | undefined, failed: boolean) => {
      if (userId !== undefined) for (const listener of listeners) listener({ userId, failed })
    }
    events.on('completed', ({ returnvalue }) => tell(endedUser(returnvalue), false))
    events.on('failed', ({ jobId }) => {
      if (listeners.size === 0) return
      queue
        .getJob(jobId)
        .then((job) => tell(endedUser(job?.data), true))
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
