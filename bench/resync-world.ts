import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Database } from '../db/client.ts'
import { loadConfig } from '../src/config.ts'
import { openContext, type Context } from '../src/context.ts'
import { createLog } from '../src/log.ts'
import type { SignedInUser } from '../src/login/signed-in-user.ts'
import type { OpenSource } from '../src/open-source.ts'
import type { BenchQueue } from './world.ts'

/** A process of ours that answers a line with a line. */
type Process = { child: ChildProcess; read: () => Promise<string>; write: (line: string) => void }

function startProcess(script: string, args: readonly string[], env: NodeJS.ProcessEnv): Process {
  const file = fileURLToPath(new URL(`./${script}`, import.meta.url))
  const child = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'], env })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    child,
    read: async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${script} has ended`)
      return value
    },
    write: (line) => child.stdin.write(`${line}\n`),
  }
}

async function end({ child }: Process): Promise<void> {
  child.stdin?.end()
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
}

export type TenantCounts = {
  answers: number
  throttled: number
  units: number
  /** How often each person's groups were asked for, by object id. */
  reads: Record<string, number>
  /** Sent to Graph, a batch as one. */
  requests: number
}

export type LargeTenant = {
  settings: Record<string, string>
  caCertificate: string
  tenantId: string
  objectIds: string[]
  /** People who sign in, beside those. */
  signers: SignedInUser[]
  /** The same over http, and a secret of the app. */
  plain: { graphUrl: string; entraUrl: string; secret: string }
  /** Lets so many units pass in ten seconds, 0 all, and counts anew. */
  limit: (units: number) => Promise<void>
  counts: () => Promise<TenantCounts>
  close: () => Promise<void>
}

/**
 * Megabytes that a worker's heap may have. On a machine with much memory V8 lets garbage lie until the heap is several times
 * what is in use, so that a peak tells how long a worker has run and not how much it keeps.
 */
export const heapMegabytes = Number(process.env['BENCH_HEAP_MB'] ?? 512)

/** A simulated tenant in a process of its own. */
export async function openLargeTenant(people: number, signers: number): Promise<LargeTenant> {
  const tenant = startProcess('large-tenant-process.ts', [`${people}`, '5', '200', `${signers}`], process.env)
  const told = JSON.parse(await tenant.read()) as Omit<LargeTenant, 'limit' | 'counts' | 'close'>
  return {
    ...told,
    limit: async (units) => {
      tenant.write(`limit ${units}`)
      await tenant.read()
    },
    counts: async () => {
      tenant.write('counts')
      return JSON.parse(await tenant.read()) as TenantCounts
    },
    close: async () => await end(tenant),
  }
}

export type BenchWorker = {
  kill: () => Promise<void>
  /** Resolves with the most memory it has had, in MB. */
  stop: () => Promise<number>
}

export type ResyncWorld = {
  context: Context
  source: OpenSource
  /** A worker in a process of its own, for a tenant of so many units. */
  startWorker: (units: number) => Promise<BenchWorker>
  /** Jobs that are in the queue, of whatever kind and state. */
  jobsLeft: () => Promise<number>
  close: () => Promise<void>
}

/** A producer of ours over a tenant and a queue, and workers in processes of their own. */
export async function openResyncWorld(
  { databaseUrl, queue, folder }: { databaseUrl: string; queue: BenchQueue; folder: string },
  tenant: LargeTenant,
): Promise<ResyncWorld> {
  const prefix = `{bench-${randomUUID()}}`
  const authority = path.join(folder, 'authority.pem')
  await writeFile(authority, tenant.caCertificate)
  const environment = {
    ...tenant.settings,
    DATABASE_URL: databaseUrl,
    QUEUE_URL: queue.url,
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    RESYNC_READ: 'app',
    RESYNC_SCHEDULE: 'off',
    RESYNC_DELTA: 'off',
  }
  const context = await openContext(loadConfig(environment), createLog('silent'), { queuePrefix: prefix })
  const [source] = context.sources.values()
  if (!source) throw new Error('there is no source')
  const { backend } = context
  const queues = [backend.openQueue('sync'), backend.openBatchQueue(), backend.openResyncQueue()] as const
  return {
    context,
    source,
    startWorker: async (units) => {
      // Nothing of the shell's but what Node needs: a setting of ours there isn't this worker's.
      const worker = startProcess('worker-process.ts', [prefix], {
        PATH: process.env['PATH'],
        ...(heapMegabytes > 0 ? { NODE_OPTIONS: `--max-old-space-size=${heapMegabytes}` } : {}),
        ...environment,
        GRAPH_UNITS_PER_10S: `${units}`,
        NODE_EXTRA_CA_CERTS: authority,
      })
      await worker.read()
      return {
        kill: async () => {
          worker.child.kill('SIGKILL')
          await once(worker.child, 'close')
        },
        stop: async () => {
          worker.child.stdin?.end()
          const megabytes = Number(await worker.read())
          await end(worker)
          return megabytes
        },
      }
    },
    jobsLeft: async () => {
      let left = 0
      for (const each of queues.slice(0, 2))
        for (const job of await each.getJobs())
          if (!('cause' in job.data) || job.data.cause === 'resync') left += 1
      return left
    },
    close: async () => {
      for (const each of queues) await each.obliterate({ force: true })
      await context.close()
    },
  }
}

/** Nobody but these people is stored, all of whom have signed in through the source, and nothing of their groups. */
export async function storePeople(
  db: Database,
  { tenantId, source }: { tenantId: string; source: string },
  objectIds: readonly string[],
): Promise<void> {
  const sql = db.$client
  await sql`truncate users, groups, resyncs cascade`
  await sql`
    with known as (
      insert into users (tenant_id, object_id)
      select ${tenantId}, json_array_elements_text(${JSON.stringify(objectIds)}::text::json) returning id
    )
    insert into delegated_tokens (user_id, source, sealed, key_id, expires_at, scopes, state)
    select id, ${source}, '', '', now(), '{}', 'needs_login' from known`
  await sql`vacuum analyze`
}
