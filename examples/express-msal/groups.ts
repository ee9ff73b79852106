import postgres from 'postgres'

export type Group = { id: string; name: string | null }

/** `asOf` is when Entra was asked last; null if it never was. */
export type Membership = { groups: Group[]; asOf: Date | null }

export type Groups = {
  /** Undefined while the database can't be reached. */
  of: (tenantId: string, objectId: string) => Promise<Membership | undefined>
  close: () => Promise<void>
}

/**
 * The person's groups, as any application reads them from the tables of entra-group-sync. Authorise by the group's id:
 * a name is a label that anybody may change who may rename the group, and null where Entra doesn't tell it.
 */
export function openGroups(databaseUrl: string): Groups {
  const sql = postgres(databaseUrl, { max: 5, connect_timeout: 3 })
  return {
    of: async (tenantId, objectId) => {
      try {
        const [person] = await sql<{ id: string; asOf: Date | null }[]>`
          select id, last_synced_at as "asOf" from users where tenant_id = ${tenantId} and object_id = ${objectId}`
        if (!person) return { groups: [], asOf: null }
        const groups = await sql<Group[]>`
          select distinct g.object_id as id, g.display_name as name
          from memberships m join groups g on g.id = m.group_id
          where m.user_id = ${person.id} order by name, id`
        return { groups: [...groups], asOf: person.asOf }
      } catch {
        console.error('the groups could not be read')
        return undefined
      }
    },
    close: () => sql.end(),
  }
}
