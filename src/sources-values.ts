import path from 'node:path'

/** What a value of the file stands for, or why it can't be found out. Never tells the value. */
export type ValueRead = { value: string } | { problem: string }

/** How the values that may stand elsewhere are read. */
export type ValueReaders = {
  /** A secret in clear, `${ENV_NAME}` or `file:` and a path. */
  secret: (text: string) => ValueRead
  /** A `data:` URL of an image, or the path of one. */
  icon: (text: string) => ValueRead
  /** The whole path of a file, from the folder of the sources file. */
  path: (text: string) => string
}

export type ValueParts = {
  /** Where relative paths begin. */
  folder: string
  environment: Readonly<Record<string, string | undefined>>
  /** Both throw where a file can't be read. */
  readText: (path: string) => string
  readBytes: (path: string) => Uint8Array
}

/** Bytes; it stands in the sign-in page itself. */
const maxIconBytes = 64 * 1024

const dataUrl = /^data:image\/(?:png|svg\+xml|jpeg|gif|webp);base64,([A-Za-z0-9+/]+={0,2})$/

export function createValueReaders({ folder, environment, readText, readBytes }: ValueParts): ValueReaders {
  const whole = (text: string) => path.resolve(folder, text)

  const secret = (text: string): ValueRead => {
    const reference = /^\$\{(.*)\}$/s.exec(text)?.[1]
    if (reference !== undefined) {
      if (!/^[A-Za-z_]\w*$/.test(reference))
        return { problem: 'must have the name of an environment variable in ${}' }
      const value = environment[reference]
      return value ? { value } : { problem: `needs the environment variable ${reference}, which is not set` }
    }
    if (!text.startsWith('file:')) return { value: text }
    const file = whole(text.slice('file:'.length))
    try {
      const value = readText(file).replace(/\r?\n$/, '')
      return value ? { value } : { problem: `needs the file ${file}, which is empty` }
    } catch (error) {
      return { problem: `needs the file ${file}, which can't be read${codeOf(error)}` }
    }
  }

  const icon = (text: string): ValueRead => {
    const kind = iconKind(text)
    if (kind === 'unknown')
      return {
        problem:
          'must be the path of a .png or .svg file, or a URL that begins with data:image/png;base64, (or svg+xml, jpeg, gif, webp)',
      }
    if (kind === 'data') {
      const bytes = Buffer.from(dataUrl.exec(text)?.[1] ?? '', 'base64').length
      return bytes > maxIconBytes ? tooBig : { value: text }
    }
    const file = whole(text)
    try {
      const bytes = Buffer.from(readBytes(file))
      if (bytes.length > maxIconBytes) return tooBig
      if (!looksLike[kind](bytes)) return { problem: `needs the file ${file}, which is no ${kind} image` }
      const type = kind === 'svg' ? 'svg+xml' : kind
      return { value: `data:image/${type};base64,${bytes.toString('base64')}` }
    } catch (error) {
      return { problem: `needs the file ${file}, which can't be read${codeOf(error)}` }
    }
  }

  return { secret, icon, path: whole }
}

const tooBig: ValueRead = { problem: `must be an image of at most ${maxIconBytes / 1024} KiB` }

function iconKind(text: string): 'data' | 'png' | 'svg' | 'unknown' {
  if (dataUrl.test(text)) return 'data'
  if (text.startsWith('data:')) return 'unknown'
  const extension = path.extname(text).toLowerCase()
  if (extension === '.png') return 'png'
  return extension === '.svg' ? 'svg' : 'unknown'
}

const looksLike = {
  png: (bytes: Buffer) => bytes.subarray(0, 8).toString('latin1') === '\u0089PNG\r\n\u001A\n',
  // Whatever else is in it: pages show it in <img> only, where scripts don't run and nothing is fetched.
  svg: (bytes: Buffer) => /<svg[\s>]/.test(bytes.toString('utf8')),
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? ` (${code})` : ''
}
