import { codeOf } from './database-failure.ts'
import { SyncError } from './errors.ts'

/**
 * What a command prints of the error that ended it. One of ours says it in its message. Of any other only the code is told
 * or, where it has none, the name: its text may carry parameters or parts of a URL. `detailed` adds where it comes from,
 * by the same rule without texts.
 */
export function describeFailure(thrown: unknown, detailed: boolean): string {
  if (thrown instanceof SyncError && thrown.code !== 'internal') return thrown.message
  const origin = thrown instanceof SyncError ? thrown.cause : thrown
  const code = codeOf(origin)
  const name = origin instanceof Error ? origin.name : typeof origin
  const label = code === 'unknown' ? name : code
  if (detailed) return [`${label}: unexpected error`, ...framesOf(origin)].join('\n')
  return `${label}: unexpected error; LOG_LEVEL=debug shows where it comes from`
}

/** Names, codes and stack frames of an error and of what caused it. */
function framesOf(thrown: unknown): string[] {
  if (!(thrown instanceof Error)) return []
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line))
  const title = `  ${thrown.name}${'code' in thrown ? ` ${String(thrown.code)}` : ''}`
  return [title, ...frames, ...framesOf(thrown.cause)]
}
