import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { guardSql, openLine, turn } from './transaction-line.ts'

export type TransactionOptions = {
  /** For what waits on purpose, such as for a lock or for Entra; default 120. */
  limitSeconds?: number
}

/**
 * Runs `work` in a transaction, which what it throws undoes. The only place that calls postgres.js' `begin`: that one sends
 * `rollback` to a connection that is gone, which ends the process (porsager/postgres #1154, #1168, #1208 and #1209, in 3.4.9),
 * or sends the statements of an interrupted transaction to whoever has the connection next.
 *
 * So nothing of a transaction reaches the driver once its connection is gone: `work` is told so by each further statement,
 * and `begin` never hears how `work` ended. It is rejected all the same, by the driver's own watch over the connection. What
 * still goes on after the limit is rejected as a connection that is gone, and undone as soon as PostgreSQL answers.
 */
export async function transaction<Result>(
  db: Database,
  work: (sql: ISql) => Promise<Result>,
  { limitSeconds = 120 }: TransactionOptions = {},
): Promise<Result> {
  const line = openLine()
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => undefined)
  const limit = setTimeout(() => {
    const error = tooLong(limitSeconds)
    line.cut(error)
    over.reject(error)
  }, limitSeconds * 1000)
  await turn()
  const begun = begin(db, async (sql) => {
    // It may have waited for a connection until then.
    if (line.failure()) return await over.promise
    const ended = settle(work(guardSql(sql, line)))
    return await Promise.race([over.promise, ended.then((tell) => (line.failure() ? never : tell()))])
  })
  const closed = begun.then(
    () => line.cut(new Error('the transaction has ended')),
    (error: unknown) => line.cut(error),
  )
  void closed.then(() => clearTimeout(limit))
  return (await Promise.race([begun, line.gone])).result
}

/** In an object, since the driver takes a list for a list of statements. */
async function begin<Result>(
  db: Database,
  work: (sql: ISql) => Promise<Result>,
): Promise<{ result: Result }> {
  return await db.$client.begin(async (sql) => ({ result: await work(sql) }))
}

const never = new Promise<never>(() => undefined)

/** Resolves, after whatever is known of the connection by now has got through, with what tells how it ended. */
async function settle<Result>(running: Promise<Result>): Promise<() => Promise<Result>> {
  await running.catch(() => undefined)
  await turn()
  return async () => await running
}

/** A code as of a connection, so that whoever asked tries again later. */
function tooLong(seconds: number): Error {
  return Object.assign(new Error(`a transaction took longer than ${seconds} s`), {
    code: 'CONNECTION_TIMED_OUT',
  })
}
