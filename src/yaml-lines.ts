import {
  LineCounter,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  visit,
  type Document,
  type ErrorCode,
} from 'yaml'

export type YamlProblem = { /** From 1. */ line: number; message: string }

export type YamlText = {
  /** Undefined where it can't be told for sure. */
  value: unknown
  /** What makes it no good YAML. Words of ours: those of the parser quote the text, and a secret may stand there. */
  problems: readonly YamlProblem[]
  /** From 1: where the value (or the key) of a path begins; the nearest mapping or list around it where there is none. */
  lineOf: (path: readonly PropertyKey[], at?: 'key' | 'value') => number
}

/** As many as are worth reading: one slip can make an error of every line after it. */
const maxSyntaxProblems = 20

/** YAML 1.2, and so JSON, with the line of everything in it. Never throws. */
export function parseYaml(text: string): YamlText {
  const lines = new LineCounter()
  const nothing = (message: string): YamlText => ({
    value: undefined,
    problems: [{ line: 1, message }],
    lineOf: () => 1,
  })
  let document: Document.Parsed
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      uniqueKeys: false,
      // 'silent' would hide a second document.
      logLevel: 'error',
    })
  } catch {
    // The parser calls itself for each level.
    return nothing('is nested too deeply')
  }
  const errors = [
    ...[...document.errors, ...document.warnings].map(({ code, pos: [at] }) => ({ code, at })),
    ...keysAndAliases(document),
  ]
  const problems = errors
    .map(({ code, at }) => ({ line: lines.linePos(at).line, message: syntaxWords(code) }))
    .filter(({ line, message }, index, all) => {
      const before = all[index - 1]
      return before?.line !== line || before.message !== message
    })
    .slice(0, maxSyntaxProblems)
  const lineOf: YamlText['lineOf'] = (path, at = 'value') => lines.linePos(offsetOf(document, path, at)).line
  if (errors.some(({ code }) => code !== 'DUPLICATE_KEY')) return { value: undefined, problems, lineOf }
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), problems, lineOf }
  } catch {
    return nothing('has aliases that stand for too much')
  }
}

/** Of the errors that a hand makes; what is rarer is told by its place and code alone. */
const words: Partial<Record<ErrorCode, string>> = {
  DUPLICATE_KEY: 'has a key here that its mapping has already',
  BAD_INDENT: 'is no YAML: the indentation here is wrong',
  TAB_AS_INDENT: 'is no YAML: the indentation here has a tab',
  MISSING_CHAR: 'is no YAML: something is missing here, such as a colon, a comma, a quote or a bracket',
  BAD_ALIAS: 'has an alias here, but no anchor of that name before it',
  BAD_SCALAR_START: 'is no YAML: put the text here in single quotes',
  BAD_DQ_ESCAPE: 'is no YAML: put the text here in single quotes',
  MULTIPLE_DOCS: 'has a second document here',
  NON_STRING_KEY: 'has a key here that is no text',
  TAG_RESOLVE_FAILED: 'has a tag here that is not known',
  RESOURCE_EXHAUSTION: 'is nested too deeply here',
}

function syntaxWords(code: ErrorCode): string {
  return words[code] ?? `is no YAML here (${code.toLowerCase().replaceAll('_', ' ')})`
}

/**
 * What the parser finds only when values are made of the text, or finds by comparing each key with every other: which a
 * long mapping makes it do for minutes.
 */
function keysAndAliases(document: Document.Parsed): { code: ErrorCode; at: number }[] {
  const found: { code: ErrorCode; at: number }[] = []
  const anchors = new Set<string>()
  visit(document, {
    Value: (_, { anchor }) => void (anchor !== undefined && anchors.add(anchor)),
    Alias: (_, alias) => {
      if (!anchors.has(alias.source)) found.push({ code: 'BAD_ALIAS', at: startOf(alias) ?? 0 })
    },
    Map: (_, { anchor, items }) => {
      if (anchor !== undefined) anchors.add(anchor)
      const seen = new Set<unknown>()
      for (const { key } of items) {
        const name = isScalar(key) ? key.value : key
        if (seen.has(name)) found.push({ code: 'DUPLICATE_KEY', at: startOf(key) ?? 0 })
        seen.add(name)
      }
    },
  })
  return found
}

function offsetOf(document: Document.Parsed, path: readonly PropertyKey[], at: 'key' | 'value'): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const [index, segment] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(segment))
      if (!pair) return offset
      node = pair.value
      const key = startOf(pair.key) ?? offset
      offset = at === 'key' && index === path.length - 1 ? key : (startOf(node) ?? key)
    } else if (isSeq(node) && typeof segment === 'number' && segment in node.items) {
      node = node.items[segment]
      offset = startOf(node) ?? offset
    } else {
      return offset
    }
  }
  return offset
}

function startOf(node: unknown): number | undefined {
  if (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) return node.range?.[0]
  return undefined
}
