import { randomUUID } from 'node:crypto'
import { describeJob, syncQueueName } from '../src/queue/catalogue.ts'
import { millisecondsOf, openTimes } from './measure.ts'
import type { BenchContext, BenchPart, BenchReport, BenchRow } from './part.ts'
import { findQueues, noRedis, openBenchContext, type BenchQueue } from './world.ts'

const rounds = 300
const warmUp = 20
const people = 50

/** What `loginSucceeded` adds to a sign-in. Nothing takes the jobs. */
export const enqueuePart: BenchPart = {
  name: 'enqueue',
  summary: 'what loginSucceeded adds to a sign-in, against a bare queue.add',
  run: async (context: BenchContext): Promise<BenchReport> => {
    const queues = await findQueues(context.databaseUrl)
    const rows: BenchRow[] = []
    for (const queue of queues) {
      context.progress(queue.name)
      rows.push(...(await measureQueue(context, queue)))
    }
    const notes = [
      `medians of ${rounds} rounds after ${warmUp} to warm up, one sign-in at a time, ours and the floors turn by turn`,
      'loginSucceeded also seals the tokens and stores event, user and tokens in one commit; the second line is against both floors together',
      ...(queues.length === 1 ? [noRedis] : []),
    ]
    return { rows, checks: [], notes }
  },
}

/** No tenant is asked for anything here. */
const nowhere = {
  ENTRA_TENANT_ID: randomUUID(),
  ENTRA_CLIENT_ID: randomUUID(),
  ENTRA_CLIENT_SECRET: 'none',
  ENTRA_AUTHORITY_HOST: 'http://127.0.0.1:1',
  GRAPH_BASE_URL: 'http://127.0.0.1:1',
}

async function measureQueue({ databaseUrl }: BenchContext, where: BenchQueue): Promise<BenchRow[]> {
  const { context, close } = await openBenchContext(databaseUrl, where, nowhere, 1)
  const queue = context.producer.openQueue(syncQueueName)
  const sql = context.db.$client
  const times = openTimes()
  const objectIds = Array.from({ length: people }, () => randomUUID())
  const accessToken = 'x'.repeat(2500)
  const refreshToken = 'y'.repeat(1500)
  try {
    for (let round = -warmUp; round < rounds; round += 1) {
      const keep = (name: string, ms: number) => (round < 0 ? undefined : times.add(name, ms))
      const objectId = objectIds[(round + warmUp) % people] ?? ''
      const tokens = {
        accessToken,
        refreshToken,
        expiresAt: 4_102_444_800,
        scopes: ['User.Read', 'GroupMember.Read.All'],
      }
      const lanes = [
        async () =>
          keep(
            'ours',
            await millisecondsOf(() =>
              context.loginSucceeded({ tenantId: nowhere.ENTRA_TENANT_ID, objectId, tokens }),
            ),
          ),
        async () => {
          const { name, data, opts } = describeJob('sync-user', {
            userId: randomUUID(),
            tenantId: 'bench',
            source: 'bench',
            cause: 'login',
          })
          keep('add', await millisecondsOf(() => queue.add(name, data, opts)))
        },
        async () =>
          keep(
            'update',
            await millisecondsOf(
              () => sql`update users set last_login_at = now() where object_id = ${objectId}`,
            ),
          ),
      ]
      for (const lane of round % 2 === 0 ? lanes : lanes.toReversed()) await lane()
    }
  } finally {
    await close()
  }
  const [ours, add, update] = [times.median('ours'), times.median('add'), times.median('update')]
  const row = (floor: number, against: string): BenchRow => ({
    name: `${where.name}, loginSucceeded`,
    unit: 'ms',
    value: ours,
    floor,
    against,
  })
  return [row(add, 'queue.add'), row(add + update, 'queue.add and a one-row update with its commit')]
}
