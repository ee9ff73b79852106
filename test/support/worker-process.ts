import { loadConfig } from '../../src/config.ts'
import { openContext } from '../../src/context.ts'
import { createLog } from '../../src/log.ts'
import { startWorkers } from '../../workers/main.ts'

/** A worker to be killed: its jobs are another's after a second. Its argument is the start of its keys in Redis. */
const config = loadConfig()
const log = createLog('info')
const context = await openContext(config, log, { queuePrefix: process.argv[2] ?? '' })
await startWorkers(context, { concurrency: 4, lockMs: 1000, relay: { intervalMs: 200 } })
