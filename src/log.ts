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
      redact: { paths: secrets.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[redacted]' },
    },
    stream,
  )
}
