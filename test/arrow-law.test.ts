import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
let tree: string

beforeAll(() => {
  tree = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-law-'))
  cpSync(path.join(root, '.oxlintrc.json'), path.join(tree, '.oxlintrc.json'))
  symlinkSync(path.join(root, 'node_modules'), path.join(tree, 'node_modules'))
})
afterAll(() => rmSync(tree, { recursive: true, force: true }))

/** What the linter of this project says of one file with one import. */
function lint(file: string, imported: string): string {
  return lintText(file, `import { something } from '${imported}'\n\nexport const kept = something\n`)
}

function lintText(file: string, text: string): string {
  const full = path.join(tree, file)
  mkdirSync(path.dirname(full), { recursive: true })
  writeFileSync(full, text)
  const { stdout, stderr } = spawnSync(
    path.join(root, 'node_modules/.bin/oxlint'),
    ['--deny-warnings', file],
    { cwd: tree, encoding: 'utf8' },
  )
  rmSync(full)
  return stdout + stderr
}

test.for([
  ['db/groups.ts', '../src/errors.ts'],
  ['db/groups.ts', '../workers/main.ts'],
  ['workers/other.ts', '../src/simulator/index.ts'],
  ['workers/other.ts', '../src/cli.ts'],
  ['src/other.ts', '../workers/main.ts'],
  ['src/other.ts', './simulator/index.ts'],
  ['src/graph/other.ts', '../queue/backend.ts'],
  ['src/graph/throttle/other.ts', '../../reconcile/plan.ts'],
  ['src/login/other.ts', '../graph/client.ts'],
  ['src/reconcile/other.ts', '../sync.ts'],
  ['src/api/other.ts', '../login/vault.ts'],
  ['src/admin/other.ts', '../../workers/main.ts'],
  ['src/simulator/other.ts', '../graph/wire.ts'],
  ['examples/one/other.ts', '../../src/login/vault.ts'],
  ['examples/one/other.ts', '../../src/simulator/index.ts'],
  ['examples/one/other.ts', '../../src/context.ts'],
  ['examples/one/other.ts', '../../db/client.ts'],
] as const)('%s may not import %s', ([file, imported]) => {
  expect(lint(file, imported)).toContain('no-restricted-imports')
})

test.for([
  ['workers/other.ts', '../src/sync.ts'],
  ['workers/other.ts', '../db/client.ts'],
  ['src/sync.ts', './graph/client.ts'],
  ['src/graph/other.ts', '../../db/client.ts'],
  ['src/graph/throttle/other.ts', '../client.ts'],
  ['src/login/other.ts', '../errors.ts'],
  ['src/start.ts', './simulator/index.ts'],
  ['examples/one/other.ts', '../../src/index.ts'],
  ['examples/one/other.ts', './another.ts'],
] as const)('%s may import %s', ([file, imported]) => {
  expect(lint(file, imported)).not.toContain('no-restricted-imports')
})

test.for(['db/other.ts', 'src/other.ts', 'src/queue/other.ts', 'workers/other.ts'])(
  '%s may not begin a transaction of the driver',
  (file) => {
    expect(lintText(file, 'export const begin = (sql: { begin: () => void }) => sql.begin()\n')).toContain(
      'no-restricted-properties',
    )
  },
)
