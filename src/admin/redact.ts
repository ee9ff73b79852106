/**
 * What a secret looks like in running text, in order: compact JWS and JWE (base64url of `{"`), an Authorization header, a named OAuth
 * parameter (form or JSON), and any long unbroken run such as Entra's opaque refresh tokens.
 */
const secrets: readonly [RegExp, string][] = [
  [/eyJ[\w-]{8,}(?:\.[\w-]*)*/g, '[token]'],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, '$1 [redacted]'],
  [
    /(["']?\b(?:access_?token|refresh_?token|id_?token|client_?secret|client_?assertion|assertion|code_?verifier|password)["']?\s*[=:]\s*["']?)[^\s"'&,;}]+/gi,
    '$1[redacted]',
  ],
  [/[\w.~+=-]{100,}/g, '[long text]'],
]

/** The text without anything that looks like a token or a password. */
export function redactText(text: string): string {
  return secrets.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text)
}

/** A copy of plain data in which every text, names of fields included, is redacted. */
export function redactDeep(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value)
  if (Array.isArray(value)) return value.map(redactDeep)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [redactText(name), redactDeep(inner)]),
  )
}

const shownFields = new Set([
  'userId',
  'tenantId',
  'objectId',
  'source',
  'cause',
  'loginEventId',
  'eventId',
  'resyncId',
  'runId',
  'outcome',
  'startedAt',
])

/** The ids and words of our own jobs; of any other field only that it is there. */
export function showKnownFields(data: unknown): unknown {
  if (typeof data !== 'object' || data === null)
    return data === null || data === undefined ? data : '[hidden]'
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      redactText(name),
      shownFields.has(name) && typeof value === 'string' && value.length <= 64
        ? redactText(value)
        : '[hidden]',
    ]),
  )
}
