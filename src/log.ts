import { destination, pino, type Logger } from 'pino'
import type { LogLevel } from './config.ts'

export type Log = Logger

/** Fields that hold a secret wherever they stand, should one ever be logged by mistake. */
const secrets = [
  'accessToken',
  'refreshToken',
  'idToken',
  'authorization',
  'cookie',
  'sealed',
  'clientSecret',
  'password',
]

/**
 * JSON lines on standard error by default, so that a command's own output on standard output stays clean. Times are ISO 8601.
 */
export function createLog(level: LogLevel, stream: { write: (line: string) => void } = destination(2)): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
      redact: { paths: secrets.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[redacted]' },
    },
    stream,
  )
}

/**
 * An error as a log line may show it: what it is, its code, message and stack, and the same of its cause. Drivers hang
 * more on theirs, a password among it.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error }
  const code: unknown = Reflect.get(error, 'code')
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  }
}
