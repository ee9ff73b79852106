import { setTimeout } from 'node:timers/promises'
import type { ISql } from 'postgres'

/** What is known of the connection of a transaction. */
export type Line = {
  /** Why nothing may be sent any more. */
  failure: () => { error: unknown } | undefined
  cut: (error: unknown) => void
  /** Rejects once it is cut. */
  gone: Promise<never>
}

export function openLine(): Line {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => undefined)
  let failure: { error: unknown } | undefined
  return {
    failure: () => failure,
    cut: (error) => {
      failure ??= { error }
      reject(error)
    },
    gone: promise,
  }
}

/**
 * Waits for a timer before anything is sent. Then whatever was told of a closed connection has got through the promises of the
 * driver, and none is closed before the driver has written: Node closes sockets at the end of a round of its loop, which timers
 * begin. What is written as other sockets close may stay in the driver, which then writes nothing to that connection any more
 * and times out as it connects again.
 */
export async function turn(): Promise<void> {
  await setTimeout(0)
}

/**
 * The same, but what it makes reaches the driver only while the line holds, and is rejected with it. Statements are awaited or
 * put into others, and nothing else: cursors and streams are refused.
 */
export function guardSql(sql: ISql, line: Line): ISql {
  return new Proxy(sql, {
    apply: (target, self, given) => {
      const made: unknown = Reflect.apply(target, self, given)
      return made instanceof Promise ? guardStatement(made, line) : made
    },
    get: (target, name) => {
      if (name === 'unsafe' || name === 'file' || name === 'notify') return refused
      return Reflect.get(target, name) as unknown
    },
  })
}

/** Still a statement to the driver, which looks into it where it is a part of another. */
function guardStatement(statement: Promise<unknown>, line: Line): Promise<unknown> {
  let answer: Promise<unknown> | undefined
  return new Proxy(statement, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'then' && name !== 'catch' && name !== 'finally') return refused
      // Not before somebody wants it: a part of another statement isn't sent on its own.
      answer ??= ask(target, line)
      return answer[name].bind(answer)
    },
  })
}

async function ask(statement: Promise<unknown>, line: Line): Promise<unknown> {
  await turn()
  const failure = line.failure()
  if (failure) throw failure.error
  try {
    return await Promise.race([statement, line.gone])
  } catch (error) {
    if (endsConnection(error)) line.cut(error)
    throw error
  }
}

function refused(): never {
  throw new Error('a transaction takes statements that are awaited, and nothing else of the driver')
}

/** Codes of postgres.js and of Node's sockets; PostgreSQL says of its own errors whether it hangs up. */
function endsConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ('severity' in error) return error.severity === 'FATAL' || error.severity === 'PANIC'
  return 'code' in error && /^(CONNECT\w+|E(?!RR_)[A-Z_]+)$/.test(String(error.code))
}
