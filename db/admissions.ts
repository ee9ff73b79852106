import type { Database } from './client.ts'
import { disablingReasons } from './delegated-tokens.ts'

/** What is known here of a person who has signed in at Entra. */
export type Standing = {
  /** Undefined for somebody who never came before. */
  userId: string | undefined
  /** Somebody here has disabled them; what Entra disables it doesn't let in. */
  disabled: boolean
  invited: boolean
  /** In one of the groups asked for, as of the last read; false where the last read said otherwise and is held. */
  member: boolean
}

/** `userPrincipalName` is that of the ID token: who holds it now. An invitation that was used is its user's alone. */
export async function findStanding(
  db: Database,
  person: {
    source: string
    tenantId: string
    objectId: string
    userPrincipalName: string | undefined
    groupIds: readonly string[]
  },
): Promise<Standing> {
  const { source, tenantId, objectId, userPrincipalName = null, groupIds } = person
  const sql = db.$client
  const [row] = await sql<(Omit<Standing, 'userId'> & { userId: string | null })[]>`
    select u.id as "userId", coalesce(u.disabled_by = 'local', false) as disabled,
      exists (
        select from invitations i where i.source = ${source} and (
          i.object_id = ${objectId} or i.user_id = u.id
          or (i.user_id is null and i.user_principal_name = lower(${userPrincipalName})))) as invited,
      u.sync_state is distinct from 'held' and exists (
        select from memberships m join groups g on g.id = m.group_id
        where m.user_id = u.id and m.origin = 'entra' and g.deleted_at is null and g.tenant_id = ${tenantId}
          and ${JSON.stringify(groupIds)}::text::jsonb ? g.object_id) as member
    from (select 1) one left join users u on u.tenant_id = ${tenantId} and u.object_id = ${objectId}`
  if (!row) throw new Error('a select without a condition gave no row')
  return { ...row, userId: row.userId ?? undefined }
}

/** Binds an invitation by name to who came: from here on it is that person's, whoever gets the name. */
export async function useInvitation(
  db: Database,
  { source, userId, userPrincipalName }: { source: string; userId: string; userPrincipalName: string },
): Promise<void> {
  await db.$client`
    update invitations set user_id = ${userId}
    where source = ${source} and user_id is null and user_principal_name = lower(${userPrincipalName})`
}

/** Whom to find: by object id, or by user principal name. */
export type PersonName = { objectId: string } | { userPrincipalName: string }

/** False where the invitation was there already. */
export async function insertInvitation(db: Database, source: string, person: PersonName): Promise<boolean> {
  const objectId = 'objectId' in person ? person.objectId : null
  const name = 'userPrincipalName' in person ? person.userPrincipalName : null
  const { count } = await db.$client`
    insert into invitations (source, object_id, user_principal_name)
    select ${source}, ${objectId}, lower(${name})
    where not exists (
      select from invitations where source = ${source} and object_id is not distinct from ${objectId}
        and user_principal_name is not distinct from lower(${name}) and user_id is null)`
  return count > 0
}

export type NamedPerson = {
  userId: string
  tenantId: string
  objectId: string
  userPrincipalName: string | null
}

/** Everybody of that name; several tenants, or a name that has passed on, make several people. At most 20. */
export async function listNamed(db: Database, person: PersonName, tenantId?: string): Promise<NamedPerson[]> {
  const sql = db.$client
  const who =
    'objectId' in person
      ? sql`object_id = ${person.objectId}`
      : sql`lower(user_principal_name) = lower(${person.userPrincipalName})`
  return await sql<NamedPerson[]>`
    select id as "userId", tenant_id as "tenantId", object_id as "objectId", user_principal_name as "userPrincipalName"
    from users where ${who} and tenant_id = coalesce(${tenantId ?? null}, tenant_id)
    order by tenant_id, object_id limit 20`
}

/**
 * Disables a person here, whatever Entra says, and ends their sessions; or takes that back, which leaves disabled whom
 * Entra has refused as such since. False where it was so already.
 */
export async function setDisabled(db: Database, userId: string, disabled: boolean): Promise<boolean> {
  const sql = db.$client
  const { count } = disabled
    ? await sql`
        with changed as (
          update users set enabled = false, disabled_by = 'local'
          where id = ${userId} and disabled_by is distinct from 'local' returning id
        ), ended as (delete from sessions where user_id = ${userId})
        select id from changed`
    : await sql`
        with refused as materialized (
          select exists (select from delegated_tokens where user_id = ${userId} and state <> 'valid'
            and reason in (select json_array_elements_text(${JSON.stringify(disablingReasons)}::text::json))) as is
        ), ended as (
          -- A sign-in that was under way when the person was disabled.
          delete from sessions where user_id = ${userId} and exists (
            select from users where id = ${userId} and disabled_by = 'local')
        ), read_again as (
          -- What changed meanwhile, which the next round makes up for.
          update delta_hints set due_at = clock_timestamp() where user_id = ${userId}
        )
        update users set enabled = not refused.is, disabled_by = case when refused.is then 'entra' end
        from refused where id = ${userId} and disabled_by = 'local'`
  return count > 0
}
