import { Redis } from 'ioredis'
import type { Database } from '../../db/client.ts'

/** All that was written where a token must not be. */
export type Written = { logged: readonly string[]; db: Database; redis?: { url: string; prefix: string } }

/**
 * Where one of the tokens was written: in the log, in a table of any schema, in Redis. Empty where none was. Values are
 * read and not dumped, since a dump is compressed and would hide them.
 */
export async function findLeaks(tokens: readonly string[], written: Written): Promise<string[]> {
  const leaks: string[] = []
  const look = (where: string, text: string) => {
    if (leaksIn(tokens, text).length > 0) leaks.push(where)
  }
  look('the log', written.logged.join('\n'))
  for (const [table, text] of await readTables(written.db)) look(`the table ${table}`, text)
  if (written.redis) for (const [key, text] of await readKeys(written.redis)) look(`the key ${key}`, text)
  return leaks
}

/** Those of the tokens that a text has, whatever stands before and behind them: in a path, say, or at the end of a sentence. */
export function leaksIn(tokens: readonly string[], text: string): string[] {
  const shortest = tokens.reduce((least, { length }) => Math.min(least, length), Infinity)
  const long = text.match(runs)?.filter(({ length }) => length >= shortest) ?? []
  const searched = long.join(' ')
  return tokens.filter((token) => (isRun.test(token) ? searched : text).includes(token))
}

/** A token is part of one run of such characters. Most of what is written has only short ones, which need no search. */
const runs = /[\w.~+/=-]+/g
const isRun = /^[\w.~+/=-]+$/

async function readTables({ $client: sql }: Database): Promise<[table: string, text: string][]> {
  const tables = await sql<{ schema: string; name: string }[]>`
    select table_schema as schema, table_name as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`
  return await Promise.all(
    tables.map(async ({ schema, name }): Promise<[string, string]> => {
      const [row] = await sql<{ text: string | null }[]>`
        select string_agg(t::text, ' ') as text from ${sql(schema)}.${sql(name)} t`
      return [`${schema}.${name}`, row?.text ?? '']
    }),
  )
}

async function readKeys({ url, prefix }: { url: string; prefix: string }): Promise<[string, string][]> {
  const redis = new Redis(url)
  try {
    const read: Record<string, (key: string) => Promise<unknown>> = {
      string: (key) => redis.get(key),
      hash: (key) => redis.hgetall(key),
      list: (key) => redis.lrange(key, 0, -1),
      set: (key) => redis.smembers(key),
      zset: (key) => redis.zrange(key, '0', '-1'),
      stream: (key) => redis.xrange(key, '-', '+'),
    }
    const keys: [string, string][] = []
    for await (const found of redis.scanStream({ match: `${prefix}*`, count: 1000 })) {
      for (const key of found as string[]) {
        const value = await read[await redis.type(key)]?.(key)
        keys.push([key, JSON.stringify(value ?? '')])
      }
    }
    return keys
  } finally {
    redis.disconnect()
  }
}
