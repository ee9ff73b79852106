/** The name that a mistyped one was most likely meant to be; undefined where none is near. */
export function nearSpelling(word: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  const [nearest] = names
    .map((name) => ({ name, edits: editsBetween(plain(word), plain(name)) }))
    .toSorted((one, other) => one.edits - other.edits)
  if (!nearest) return undefined
  return nearest.edits <= (plain(word).length > 6 ? 2 : 1) ? nearest.name : undefined
}

/** Letters to add, to take away or to change (Levenshtein's distance). */
function editsBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (const [index, letter] of one.split('').entries()) {
    const next = [index + 1]
    for (let at = 1; at <= other.length; at += 1) {
      const changed = (row[at - 1] ?? 0) + (letter === other[at - 1] ? 0 : 1)
      next.push(Math.min((row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1, changed))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
