/** What went wrong without a message, since that of fetch or of a parser may quote what was sent or read: a token, say. */
export function failureKind(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const cause = error.cause === error ? undefined : failureKind(error.cause)
  const kind = new Error([error.name, code].filter(Boolean).join(' '), cause && { cause })
  return Object.assign(kind, code === undefined ? {} : { code })
}
