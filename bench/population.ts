import { randomUUID } from 'node:crypto'
import { noGuard } from '../src/reconcile/guard.ts'
import type { Database } from '../db/client.ts'
import { reconcile, type Subject } from '../src/reconcile/reconcile.ts'
import type { RemoteMembership } from '../src/snapshot.ts'

const tenantId = 'bench'

/** A product in use, with statistics: on empty tables either side gets plans that nobody runs. */
export async function populate(db: Database): Promise<void> {
  const sql = db.$client
  await sql`insert into users (tenant_id, object_id) select ${tenantId}, gen_random_uuid() from generate_series(1, 2000)`
  await sql`insert into groups (tenant_id, object_id) select ${tenantId}, gen_random_uuid() from generate_series(1, 2000)`
  await sql`
    with joined as (
      insert into memberships (user_id, group_id, origin)
      select u.id, g.id, 'entra'
      from (select id, row_number() over () as n from users) u
        join (select id, row_number() over () as n from groups) g on (u.n + g.n) % 100 = 0
      returning user_id, group_id
    )
    insert into membership_changes (user_id, group_id, origin, change)
    select user_id, group_id, 'entra', 'added' from joined`
  await sql`vacuum analyze`
}

export async function insertUser(db: Database): Promise<Subject> {
  const [user] = await db.$client<{ id: string }[]>`
    insert into users (tenant_id, object_id) values (${tenantId}, ${randomUUID()}) returning id`
  return { userId: user?.id ?? '', tenantId }
}

/** What a worker calls once the groups have been read. */
export async function sync(db: Database, subject: Subject, memberships: RemoteMembership[]): Promise<void> {
  const now = new Date().toISOString()
  await reconcile(
    db,
    subject,
    { beganAt: now, memberships, requestId: undefined },
    { id: randomUUID(), source: 'bench', cause: 'login', startedAt: now },
    { guard: noGuard },
  )
}

/** Groups nobody has seen, in no order, as Graph tells them. */
export function newGroups(count: number): RemoteMembership[] {
  return Array.from({ length: count }, (_, index) => {
    const unified = index % 3 === 0
    return {
      objectId: randomUUID(),
      displayName: `SG-Engineering Platform Team ${index}`,
      description: `People who work on part ${index} of the platform`,
      mail: unified ? `platform-team-${index}@contoso.example` : null,
      securityEnabled: !unified,
      mailEnabled: unified,
      groupTypes: unified ? ['Unified'] : [],
    }
  })
}

/** The same groups as objects of their own, as each read makes them from an answer's body. */
export function readAgain(groups: readonly RemoteMembership[]): RemoteMembership[] {
  return JSON.parse(JSON.stringify(groups)) as RemoteMembership[]
}
