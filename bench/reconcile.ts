import { closeDatabase, openDatabase, type Database } from '../db/client.ts'
import type { RemoteMembership } from '../src/snapshot.ts'
import { handWritten, oneRowUpdate } from './hand-written.ts'
import { millisecondsOf, openTimes, type Times } from './measure.ts'
import type { BenchPart, BenchReport, BenchRow } from './part.ts'
import { insertUser, newGroups, populate, readAgain, sync } from './population.ts'
import { tenAtOnce } from './ten-at-once.ts'

const sizes = [10, 100, 1000]
const rounds = { changes: 40, unchanged: 300 }
/** A connection plans a prepared statement anew five times before it keeps a plan. */
const warmUp = { changes: 8, unchanged: 50 }

const unchanged = 'nothing changed'
const cases = ['first sign-in', '10 % changed', 'all removed'] as const

const notes: BenchReport['notes'] = [
  `medians of ${rounds.changes} rounds (${unchanged}: ${rounds.unchanged}), one connection, ours and the floor turn by turn`,
  'first sign-in: nobody was in any of the groups before, so every one is created',
  '10 % changed: a tenth of the groups left, as many new ones joined',
  `${unchanged} does not wait for the disk, the one-row update does`,
]

/** Times of reconciling one user, and ten users at once on the same new groups. */
export const reconcilePart: BenchPart = {
  name: 'reconcile',
  summary: 'one user in 10, 100 and 1,000 groups; ten users at once on the same new groups',
  run: async (context) => {
    const db = openDatabase(context.databaseUrl, { max: 1 })
    try {
      await populate(db)
      const rows: BenchRow[] = []
      for (const size of sizes) {
        context.progress(`${size} groups`)
        const times = openTimes()
        await measureUnchanged(db, size, times)
        await measureChanges(db, size, times)
        rows.push(...rowsOf(size, times))
      }
      return { rows, checks: [await tenAtOnce(context)], notes }
    } finally {
      await closeDatabase(db)
    }
  },
}

async function measureUnchanged(db: Database, size: number, times: Times): Promise<void> {
  const [ours, floor] = [await insertUser(db), await insertUser(db)]
  const groups = newGroups(size)
  await sync(db, ours, groups)
  for (let round = -warmUp.unchanged; round < rounds.unchanged; round += 1) {
    const turns = [
      { name: unchanged, work: (remote: RemoteMembership[]) => sync(db, ours, remote) },
      { name: 'update', work: () => oneRowUpdate(db, floor.userId) },
      { name: 'select', work: () => db.$client`select 1` },
    ]
    for (const { name, work } of round % 2 === 0 ? turns : turns.toReversed()) {
      // Before each turn, or the one that follows the parsing would be the only one to start with cold caches.
      const remote = readAgain(groups)
      const ms = await millisecondsOf(() => work(remote))
      if (round >= 0) times.add(name, ms)
    }
  }
}

async function measureChanges(db: Database, size: number, times: Times): Promise<void> {
  for (let round = -warmUp.changes; round < rounds.changes; round += 1) {
    const lanes = [
      { prefix: '', apply: sync },
      { prefix: 'floor of ', apply: handWritten },
    ]
    for (const { prefix, apply } of round % 2 === 0 ? lanes : lanes.toReversed()) {
      const person = await insertUser(db)
      for (const [name, remote] of readsOf(size)) {
        const ms = await millisecondsOf(() => apply(db, person, remote))
        if (round >= 0) times.add(prefix + name, ms)
      }
    }
  }
}

/** What is read of a new user, sync by sync. */
function readsOf(size: number): [(typeof cases)[number], RemoteMembership[]][] {
  const first = newGroups(size)
  const tenth = size / 10
  return [
    ['first sign-in', readAgain(first)],
    ['10 % changed', readAgain([...first.slice(tenth), ...newGroups(tenth)])],
    ['all removed', []],
  ]
}

function rowsOf(size: number, times: Times): BenchRow[] {
  const row = (name: string, against: string, floor: string, goal?: BenchRow['goal']): BenchRow => ({
    name: `${size} groups, ${name}`,
    unit: 'ms',
    value: times.median(name),
    floor: times.median(floor),
    against,
    ...(goal && { goal }),
  })
  return [
    row(unchanged, 'select 1', 'select'),
    row(unchanged, 'a one-row update with its commit', 'update', { atMost: 1.5 }),
    ...cases.map((name) => row(name, 'the hand-written statement', `floor of ${name}`, { atMost: 2 })),
  ]
}
