/** Text as Postgres can hold it, in JSON as well: it has neither NUL nor half a surrogate pair. */
export function storableText(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed()
}

export const isStorableText = (text: string): boolean => text === storableText(text)

/** Characters; those of Graph and Entra are GUIDs. */
const maxRequestId = 128

/** The id that somebody else gave a request, fit for a row and a log line, since it may be anything of any length. */
export function storableRequestId(id: string | null | undefined): string | undefined {
  return storableText(id?.slice(0, maxRequestId) ?? '') || undefined
}
