import { loadConfig } from '../src/config.ts'
import { openContext } from '../src/context.ts'
import { createLog } from '../src/log.ts'
import { startWorkers } from '../workers/main.ts'

/**
 * A worker by itself, whose memory is its own. Its argument is the start of its keys in Redis. Prints a line when it takes
 * jobs, and at the end of its standard input how much memory it has had at the most, in MB.
 */
const config = loadConfig()
const context = await openContext(config, createLog('silent'), { queuePrefix: process.argv[2] ?? '' })
const workers = await startWorkers(context, { concurrency: config.syncConcurrency })
process.stdout.write('ready\n')
for await (const _ of process.stdin);
process.stdout.write(`${process.resourceUsage().maxRSS / 1024}\n`)
await workers.stop()
await context.close()
