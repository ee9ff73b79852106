import postgres from 'postgres'

/** Says goodbye to every connection of ours to a database, as a PostgreSQL that restarts does; its own connection stays. */
export function openCutter(url: string): { cutAll: () => Promise<number>; close: () => Promise<void> } {
  const admin = postgres(url, { max: 1, connection: { application_name: 'admin' }, fetch_types: false })
  return {
    cutAll: async () => {
      const { count } = await admin`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like 'entra-group-sync%'`
      return count
    },
    close: async () => await admin.end(),
  }
}
