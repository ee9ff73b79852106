/** What we use of node-postgres, in the terms of BullMQ, whose Postgres backend it drives. */
declare module 'pg' {
  import type { PgPool } from 'bullmq'

  export type EventedPool = PgPool & {
    setMaxListeners: (count: number) => unknown
    listeners: (event: 'error') => (() => void)[]
    off: (event: 'error', listener: () => void) => unknown
  }
  const pg: { Pool: new (options: Record<string, unknown>) => EventedPool }
  export default pg
}
