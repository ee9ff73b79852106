import { isUnreachable } from '../db/reachable.ts'
import { ConfigInvalid, SyncError, toSyncError } from './errors.ts'

/**
 * What the driver throws carries the statement's parameters and values of rows: on the error, in `detail`, sometimes in
 * the message. What is passed on as `cause` keeps the code (SQLSTATE, or the socket's) and the names of things. Without
 * a code it isn't the driver's.
 */
export function databaseFailure(thrown: unknown): SyncError {
  const told = (name: string) => textOf(thrown, name)
  const code = told('code')
  if (thrown instanceof SyncError || code === undefined || !/^[0-9A-Z_]+$/.test(code))
    return toSyncError(thrown)
  const cause = Object.assign(new Error(`database error ${code}`), {
    code,
    severity: told('severity'),
    table: told('table_name'),
    constraint: told('constraint_name'),
    routine: told('routine'),
  })
  return new SyncError('database_failed', `the database refused or was not reached (${code})`, { cause })
}

/** For `catch`. @throws {SyncError} see {@link databaseFailure}. */
export function throwDatabaseFailure(thrown: unknown): never {
  throw databaseFailure(thrown)
}

function textOf(thrown: unknown, name: string): string | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined
  const value: unknown = Reflect.get(thrown, name)
  return typeof value === 'string' ? value : undefined
}

/** SQLSTATE of a database, role or password that isn't there or isn't right, and of a server that is too old. */
const refusals: Record<string, string> = {
  '3D000': 'there is no such database',
  '28000': 'PostgreSQL does not let this role in',
  '28P01': 'the password is wrong',
  '42501': 'the role lacks a privilege',
}

/** The same of what stands after the `?` of a URL; PostgreSQL uses these codes for other things too, but later. */
const parameterRefusals: Record<string, string> = {
  '42704':
    'PostgreSQL does not know a parameter after the ? of the URL; leave out what other drivers take, such as channel_binding or schema',
  '22023': 'PostgreSQL refuses the value of a parameter after the ? of the URL',
}

/** Of a certificate (Node.js documentation, X509 certificate error codes), and of a server without TLS. */
const tlsRefusal =
  /^(CERT_\w+|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|ERR_TLS_\w+|ERR_SSL_\w+|EPROTO)$/

function refusalOf(thrown: unknown, code: string): string | undefined {
  if (tlsRefusal.test(code))
    return `no TLS connection comes about (${code}): check the certificate, or sslmode`
  // A connection that PostgreSQL ends over it is one that was just being opened.
  const isFatal = severityOf(thrown) === 'FATAL'
  return refusals[code] ?? (isFatal ? parameterRefusals[code] : undefined)
}

/** At start-up: what is wrong with the setting that names a database, as an error that says so; every other as it is. */
export function startUpFailure(thrown: unknown, setting = 'DATABASE_URL'): unknown {
  const code = codeOf(thrown)
  const message = isUnreachable(thrown)
    ? `the database does not answer (${code}): check the address, and that PostgreSQL runs`
    : refusalOf(thrown, code)
  return message === undefined ? thrown : new ConfigInvalid([{ setting, message }])
}

/** The same for a queue in Postgres, which may have a database of its own. */
export function queueStartUpFailure(
  thrown: unknown,
  { queueUrl, databaseUrl }: { queueUrl: string; databaseUrl: string },
): unknown {
  return startUpFailure(thrown, queueUrl === databaseUrl ? 'DATABASE_URL' : 'QUEUE_URL')
}

/** Code of an error or of what caused it; `unknown` where it has none. */
export function codeOf(thrown: unknown): string {
  const code = textOf(thrown, 'code')
  if (code !== undefined) return code
  return thrown instanceof Error && thrown.cause !== undefined ? codeOf(thrown.cause) : 'unknown'
}

function severityOf(thrown: unknown): string | undefined {
  const severity = textOf(thrown, 'severity')
  return (
    severity ?? (thrown instanceof Error && thrown.cause !== undefined ? severityOf(thrown.cause) : undefined)
  )
}
