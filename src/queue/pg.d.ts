/** What we use of node-postgres, in the terms of BullMQ, whose Postgres backend it drives. */
declare module 'pg' {
  import type { PgPool } from 'bullmq'

  const pg: {
    Pool: new (options: Record<string, unknown>) => PgPool & { setMaxListeners: (count: number) => unknown }
  }
  export default pg
}
