import { execFile } from 'node:child_process'
import { existsSync, globSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv, promisify } from 'node:util'
import { PgDialect, getTableConfig } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { syncRuns } from '../db/schema.ts'
import { givenSettings, loadConfig } from '../src/config.ts'
import { signedInUser } from '../src/login/signed-in-user.ts'
import { defaultScopes, openIdScopes } from '../src/source-config.ts'
import { decisions } from '../workers/outcome.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const readme = read('README.md')
const example = read('.env.example')
const documents = [
  ...globSync('*.md', { cwd: root }),
  ...globSync('docs/**/*.md', { cwd: root }),
  ...globSync('examples/**/*.md', { cwd: root }),
  '.env.example',
  'Dockerfile',
  'docker-compose.yml',
]

const run = promisify(execFile)

const settings = [...givenSettings(new Proxy({}, { get: () => 'given' }))].toSorted()

/** The text from a heading to the next one of its level or above. */
function section(document: string, heading: string): string {
  const level = heading.indexOf(' ')
  const [, rest] = document.split(`\n${heading}\n`)
  if (rest === undefined) throw new Error(`no heading "${heading}"`)
  return rest.split(new RegExp(`\n#{1,${level}} `))[0] ?? ''
}

/** Cells of the rows of every table in a text, rows of headings and lines left out. */
function tableRows(text: string): string[][] {
  const rows = text.split('\n').filter((line) => /^\s*\|/.test(line))
  return rows
    .filter((line, at) => !/^\s*\|[-|]+$/.test(line) && !/^\s*\|[-|]+$/.test(rows[at + 1] ?? ''))
    .map((line) =>
      line
        .trim()
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
}

const codeIn = (cell: string | undefined) => /`([^`]+)`/.exec(cell ?? '')?.[1] ?? ''
const firstColumn = (heading: string) =>
  tableRows(section(readme, heading))
    .map(([cell]) => codeIn(cell))
    .toSorted()

function codeBlocks(document: string, language: string): string[] {
  return [...document.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(
    ([, code = '']) => code,
  )
}

describe('settings', () => {
  const namesIn = (text: string) => [...text.matchAll(/^#?([A-Z][A-Z0-9_]*)=/gm)].map(([, name = '']) => name)

  it("stand in the README's table, each once, and no other does", () => {
    expect(firstColumn('## Configuration')).toEqual(settings)
  })

  it('stand in .env.example, each once; what else stands there is for docker-compose.yml', () => {
    const compose = read('docker-compose.yml')
    const names = namesIn(example)
    expect(names.filter((name) => settings.includes(name)).toSorted()).toEqual(settings)
    for (const name of names.filter((one) => !settings.includes(one)))
      expect(compose).toContain(`\${${name}:?`)
  })

  it('have the defaults that the README says', () => {
    const config = loadConfig({ DATABASE_URL: 'postgres://localhost/x' }, { databaseOnly: true })
    const source = config.sources[0]!
    const defaults: Record<string, unknown> = {
      HOST: config.host,
      PORT: config.port,
      SOURCE_SLUG: source.slug,
      SOURCE_NAME: source.name,
      ENTRA_SCOPES: source.scopes.join(' '),
      SIGN_UP: source.signUp.policy,
      GROUP_SYNC: source.groupSync,
      GROUP_READ: source.groupRead,
      SYNC_CONCURRENCY: config.syncConcurrency,
      GUARD_MIN_REMOVALS: source.guard.minRemovals,
      GUARD_MAX_SHARE: source.guard.maxShare * 100,
      GUARD_RESYNC_MIN_REMOVALS: source.resyncGuard.minRemovals,
      GUARD_RESYNC_MAX_SHARE: source.resyncGuard.maxShare * 100,
      GROUP_FILTER_SECURITY_ENABLED: source.groupFilter !== undefined,
      LOG_LEVEL: config.logLevel,
      ENTRA_AUTHORITY_HOST: source.authorityHost,
      GRAPH_BASE_URL: source.graphBaseUrl,
      DATABASE_PREPARE: config.databasePrepare,
      REDIS_ALLOW_EVICTION: config.allowEviction,
    }
    for (const [name, value] of Object.entries(defaults)) {
      const row = tableRows(section(readme, '## Configuration')).find(([cell]) => codeIn(cell) === name)
      expect([name, codeIn(row?.[1])]).toEqual([name, String(value)])
      expect(example).toContain(`#${name}=${String(value)}\n`)
    }
    expect(config).toMatchObject({ apiKeys: [], adminPassword: undefined, queueUrl: config.databaseUrl })
  })

  it('are valid as .env.example has them once the blanks are filled in', () => {
    const filled = {
      ...parseEnv(example.replaceAll(/^#(?=[A-Z_]+=)/gm, '')),
      DATABASE_URL: 'postgres://localhost/x',
      ENTRA_TENANT_ID: '11111111-1111-4111-8111-111111111111',
      ENTRA_CLIENT_ID: '22222222-2222-4222-8222-222222222222',
      ENTRA_CLIENT_SECRET: 'a secret',
      TOKEN_ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
      SESSION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
    }
    expect(loadConfig(filled, { gateway: true })).toMatchObject({ publicUrl: 'http://localhost:3000' })
  })
})

describe('outcomes and errors', () => {
  it("are the README's: every outcome that the tables allow, and no other", () => {
    const allowed = getTableConfig(syncRuns).checks.find(({ name }) => name === 'sync_runs_outcome')?.value
    const { sql } = new PgDialect().sqlToQuery(allowed!)
    expect(firstColumn('### Outcomes')).toEqual(
      [...sql.matchAll(/'(\w+)'/g)].map(([, outcome]) => outcome).toSorted(),
    )
  })

  it("are the README's: every error code with what the queue does about it, and no other", () => {
    const words = { retry: 'retried', fail: 'not retried', delay: 'delayed' }
    const told = tableRows(section(readme, '### Errors')).map(([code, queue]) => [codeIn(code), queue])
    const done = Object.entries(decisions).map(([code, decision]) => [code, words[decision]])
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(done))
    expect(told).toHaveLength(done.length)
  })
})

describe('the app registration', () => {
  it('lists exactly the permissions that a sign-in asks for', () => {
    const rows = tableRows(section(readme, '## Register the app in Entra ID'))
    const listed = rows.flatMap(([cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name))
    expect(listed.toSorted()).toEqual([...openIdScopes, ...defaultScopes].toSorted())
  })
})

describe('examples', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database.close())

  it('in SQL answer for a person who has signed in', async () => {
    const sql = database.db.$client
    await sql`
      with person as (
        insert into users (tenant_id, object_id, user_principal_name, sync_state)
        values ('11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222', 'ada@example.com', 'denied')
        returning id
      ), team as (
        insert into groups (tenant_id, object_id, display_name)
        values ('11111111-1111-4111-8111-111111111111', '33333333-3333-4333-8333-333333333333', 'Engine') returning id
      ), run as (
        insert into sync_runs (user_id, source, cause, started_at, outcome)
        select id, 'entra-id', 'login', now(), 'applied' from person returning id
      ), change as (
        insert into membership_changes (user_id, group_id, origin, change, run_id)
        select person.id, team.id, 'entra', 'added', run.id from person, team, run
      )
      insert into memberships (user_id, group_id, origin, run_id)
      select person.id, team.id, 'entra', run.id from person, team, run`
    const queries = codeBlocks(readme, 'sql')
    expect(queries).toHaveLength(5)
    const answers = await Promise.all(queries.map((query) => sql.unsafe(query)))
    expect(answers.map((rows) => rows.length)).toEqual([1, 1, 1, 1, 1])
    expect(answers[0]?.[0]).toEqual({ allowed: true })
    expect(answers[1]?.[0]).toMatchObject({ display_name: 'Engine', origin: 'entra', sync_state: 'denied' })
    expect(answers[2]?.[0]).toMatchObject({ change: 'added', cause: 'login' })
  })

  it('of a login event over HTTP have a body that is accepted', () => {
    const body = /-d '(\{.*?\})'/s.exec(readme)?.[1] ?? ''
    const { waitUpToMs, ...user } = JSON.parse(body) as Record<string, unknown>
    expect(waitUpToMs).toBe(2000)
    expect(signedInUser.safeParse(user).error).toBeUndefined()
  })
})

describe('commands', () => {
  const help = async (...command: string[]) =>
    (await run(process.execPath, ['src/cli.ts', ...command, '--help'], { cwd: root })).stdout

  it('that the documents name are scripts of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = documents.flatMap((file) => [...read(file).matchAll(/npm run ([\w:]+)/g)])
    expect(named.map(([, script = '']) => script).filter((script) => !(script in scripts))).toEqual([])
  })

  it('that the README runs are sub-commands', async () => {
    const all = await help()
    const named = [...readme.matchAll(/(?:dist\/src\/cli\.js|npm run cli --) (\w+)/g)].map(([, name]) => name)
    expect(named.length).toBeGreaterThan(3)
    for (const name of named) expect(all).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  })

  it('of the README have the options that start has, all of them', async () => {
    const options = (text: string) => [
      ...new Set([...text.matchAll(/(?<=^ +|-- )--(\w+)/gm)].map(([, name]) => name)),
    ]
    expect(options(section(readme, '## Try it')).toSorted()).toEqual(options(await help('start')).toSorted())
  })
})

describe('the benchmark', () => {
  it('has the parts that docs/performance.md describes, all of them', async () => {
    const { stdout } = await run(process.execPath, ['bench/main.ts', '--help'], { cwd: root })
    const parts = [...stdout.matchAll(/^  (\w+) {2,}/gm)].map(([, name]) => name)
    const described = tableRows(section(read('docs/performance.md'), '## The parts')).map(([cell]) =>
      codeIn(cell),
    )
    expect(described).toEqual(parts)
  })
})

describe('links and paths', () => {
  it('lead to files of the repository, and to headings of the document', () => {
    const broken = documents.flatMap((file) => {
      const text = read(file)
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(
        ([, title = '']) =>
          `#${title
            .toLowerCase()
            .replaceAll(/[^\w\s-]/g, '')
            .replaceAll(' ', '-')}`,
      )
      return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !target.startsWith('https:'))
        .filter((target) =>
          target.startsWith('#')
            ? !headings.includes(target)
            : !existsSync(path.join(root, path.dirname(file), target)),
        )
        .map((target) => `${file}: ${target}`)
    })
    expect(broken).toEqual([])
  })

  it('name every folder of the sources, and none that is not there', () => {
    const [tree = ''] = codeBlocks(read('docs/architecture.md'), '')
    const named = [...tree.matchAll(/^( *)([\w.-]+\/)/gm)].map(
      ([, indent, name]) => `${indent === '' ? '' : 'src/'}${name}`,
    )
    const files = [...tree.matchAll(/^  ([\w-]+\.ts)/gm)].map(([, name]) => `src/${name}`)
    expect([...named, ...files].filter((one) => !existsSync(path.join(root, one)))).toEqual([])
    const rooms = readdirSync(path.join(root, 'src'))
      .filter((name) => statSync(path.join(root, 'src', name)).isDirectory())
      .map((name) => `src/${name}/`)
    expect(rooms.filter((room) => !named.includes(room))).toEqual([])
  })

  it('of the machine that a document was written on stand in none', () => {
    const foreign =
      /(?<![\w.$}])\/(?:work|root|home|tmp|Users|mnt)\/|\.\.\/shared|\bissue #?\d|(?<![\w/])#\d+\b/
    expect(documents.filter((file) => foreign.test(read(file)))).toEqual([])
  })
})

it('names a test for everything that always holds, and each of them is there', () => {
  const promises = section(read('docs/architecture.md'), '## What always holds')
    .split(/\n(?=\d+\. )/)
    .slice(1)
  expect(promises.length).toBeGreaterThanOrEqual(10)
  for (const promise of promises) {
    const list = [...promise.matchAll(/\(((?:`[\w-]+`[,\s]*)+)\)/g)].at(-1)?.[1] ?? ''
    const named = [...list.matchAll(/[\w-]+/g)].map(String)
    expect(named, promise).not.toEqual([])
    for (const name of named) expect(existsSync(path.join(root, `test/${name}.test.ts`)), name).toBe(true)
  }
})
