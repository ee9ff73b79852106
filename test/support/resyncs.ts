import { vi } from 'vitest'
import type { Database } from '../../db/client.ts'
import { findResync, type StoredResync } from '../../db/resyncs.ts'
import type { SyncBatchJob } from '../../src/queue/catalogue.ts'
import { advanceResync, beginResync, type ResyncSource } from '../../src/resync.ts'
import { syncBatch } from '../../src/sync-batch.ts'
import type { World } from './world.ts'

/** Workers that make the steps of a resync as fast as they can. */
export const fastResync = { resync: { intervalMs: 20 } }

/** How it ended. */
export async function endOf(db: Database, id: string): Promise<StoredResync> {
  let resync: StoredResync | undefined
  await vi.waitUntil(
    async () => {
      resync = await findResync(db, id)
      return resync?.state !== 'running'
    },
    { timeout: 60_000, interval: 50 },
  )
  if (!resync) throw new Error('there is no such resync')
  return resync
}

/** So that whoever was told of by now is read late enough by whatever follows. */
export async function minutesPass({ $client: sql }: Database): Promise<void> {
  await sql`update delta_hints set told_at = told_at - interval '5 minutes', due_at = due_at - interval '5 minutes'`
}

/** One that is asked for by hand, from its begin to its end. */
export async function resyncAll(db: Database, source: ResyncSource): Promise<StoredResync> {
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  return await endOf(db, resync.id)
}

/** These people have signed in through the source, long ago: only the app itself can read them. */
export async function knowPeople({ db, simulator, source }: World, people: readonly string[]): Promise<void> {
  await db.$client`
    with known as (
      insert into users (tenant_id, object_id)
      select ${simulator.tenant.id}, json_array_elements_text(${JSON.stringify(people)}::text::json) returning id
    )
    insert into delegated_tokens (user_id, source, sealed, key_id, expires_at, scopes, state)
    select id, ${source.slug}, '', '', now(), '{}', 'needs_login' from known`
}

/** Begins a resync that waits for these people, who have signed in, and whom no worker looks after. */
export function takenBy(login: (person: string) => Promise<unknown>) {
  return async ({ db, source, startWorkers }: World, people: readonly string[]) => {
    const workers = await startWorkers(fastResync)
    for (const person of people) await login(person)
    await workers.stop()
    const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    const jobs: SyncBatchJob[] = []
    const enqueueBatches = async (told: readonly SyncBatchJob[]) => jobs.push(...told) > 0
    await advanceResync({ db, enqueue: async () => false, enqueueBatches }, source, resync.id)
    const [job] = jobs
    if (!job) throw new Error('nobody was taken')
    const sources = new Map([[source.slug, source]])
    return { job, resync, sync: async () => await syncBatch({ db, sources }, job) }
  }
}
