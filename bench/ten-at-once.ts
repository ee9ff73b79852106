import { closeDatabase, openDatabase } from '../db/client.ts'
import type { BenchCheck, BenchContext } from './part.ts'
import { insertUser, newGroups, sync } from './population.ts'

const users = 10
const size = 50

/** Ten people's first sign-ins to the same new groups, each told in another order. */
export async function tenAtOnce({ databaseUrl, progress }: BenchContext, times = 30): Promise<BenchCheck> {
  progress(`${users} users at once, ${times} times`)
  const db = openDatabase(databaseUrl, { max: users })
  let good = 0
  let lastError = ''
  try {
    for (let time = 0; time < times; time += 1) {
      const shared = newGroups(size)
      const people = await Promise.all(Array.from({ length: users }, () => insertUser(db)))
      const ends = await Promise.allSettled(people.map((person) => sync(db, person, shuffled(shared))))
      const [row] = await db.$client<{ groups: number; memberships: number }[]>`
        select count(distinct g.id)::int as groups, count(*)::int as memberships
        from memberships m join groups g on g.id = m.group_id
        where m.user_id::text in (
          select json_array_elements_text(${JSON.stringify(people.map(({ userId }) => userId))}::text::json))`
      for (const end of ends) if (end.status === 'rejected') lastError = String(end.reason)
      const succeeded = ends.every(({ status }) => status === 'fulfilled')
      if (succeeded && row?.groups === size && row.memberships === size * users) good += 1
    }
  } finally {
    await closeDatabase(db)
  }
  return {
    name: 'ten users at once on shared new groups in shuffled order',
    passed: good === times,
    detail: `${good} of ${times} times without an error, a lost or a second group ${lastError}`.trim(),
  }
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item)
}
