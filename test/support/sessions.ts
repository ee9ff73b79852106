import { randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import type { Database } from '../../db/client.ts'
import type { NamedKey } from '../../src/setting-shapes.ts'
import { createSessions, type SignedInPerson } from '../../src/login/session.ts'
import { testSource, testTenantId } from './gateway.ts'

export type Person = { tenantId: string; objectId: string }

/** Somebody of the test tenant whom nobody has stored. */
export const newPerson = (): Person => ({ tenantId: testTenantId, objectId: randomUUID() })

/** Stores a person; the id of the row. Whoever is stored already stays as they are. */
export async function storePerson(
  db: Database,
  { tenantId, objectId }: Person,
  known: { state?: string; syncedAt?: string | null; displayName?: string } = {},
): Promise<string> {
  const { state = 'never', syncedAt = null, displayName = 'Zoë' } = known
  const [row] = await db.$client<{ id: string }[]>`
    insert into users (tenant_id, object_id, display_name, user_principal_name, sync_state, last_synced_at)
    values (${tenantId}, ${objectId}, ${displayName}, 'zoe@contoso.example', ${state}, ${syncedAt})
    on conflict (tenant_id, object_id) do update set tenant_id = excluded.tenant_id returning id`
  return row?.id ?? ''
}

/** The cookie of a new session of a person, stored as the gateway itself does; the empty text where it gave none. */
export async function startSession(
  db: Database,
  person: Person,
  options: { sessionKeys: readonly NamedKey[]; secure?: boolean; lifeSeconds?: number } & Partial<
    Pick<SignedInPerson, 'source' | 'entraSession' | 'logoutHint'>
  >,
): Promise<string> {
  await storePerson(db, person)
  const { sessionKeys, secure = false, lifeSeconds = 8 * 3600 } = options
  const { source = testSource.slug, entraSession, logoutHint } = options
  const rules = { idleSeconds: 3600, requiredGroups: {} }
  const sessions = createSessions({ db, sessionKeys, secure, rules, lifeSeconds })
  const app = new Hono()
  app.get('/', async (c) => {
    await sessions.start(c, { ...person, source, entraSession, logoutHint })
    return c.body(null)
  })
  return (await app.request('/')).headers.get('set-cookie')?.split(';')[0] ?? ''
}

/** The id that a session cookie carries, as whoever holds the cookie can read it. */
export function sessionIdOf(cookie: string): string {
  const payload: unknown = JSON.parse(Buffer.from(cookie.split('.')[1] ?? '', 'base64url').toString())
  return String(Reflect.get(Object(payload), 'sid'))
}
