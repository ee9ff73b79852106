import { startWorkers, type Workers } from '../workers/main.ts'
import { loadConfig } from './config.ts'
import { openContext } from './context.ts'
import { createLog } from './log.ts'
import { untilStopped } from './stopping.ts'
import { unlessAborted } from './unless-aborted.ts'

/** `worker`: until it is told to stop. `readSettings` makes what stands in its folder's file the process's, at SIGHUP. */
export async function runWorker(signal: AbortSignal, readSettings: () => Promise<void>): Promise<void> {
  const config = loadConfig()
  const log = createLog(config.logLevel)
  const started = Promise.withResolvers<Workers>()
  let reloads = Promise.resolve()
  const reload = async () => {
    const workers = await started.promise
    await readSettings()
    await workers.reload(loadConfig().sources)
  }
  // From the beginning to the end: a signal that nobody hears ends a process at once.
  process.on('SIGHUP', () => {
    // One after the other; and what is wrong now must not end what has been running well.
    const failed = (error: unknown) => log.error({ err: error }, 'settings not reloaded')
    reloads = reloads.then(reload).catch(failed)
  })
  const context = await openContext(config, log, { signal })
  try {
    const starting = startWorkers(context, {
      concurrency: config.syncConcurrency,
      notifications: { publicUrl: config.publicUrl },
    })
    const workers = await unlessAborted(signal, starting)
    started.resolve(workers)
    await untilStopped(signal)
    await workers.stop()
  } finally {
    await context.close()
  }
}
