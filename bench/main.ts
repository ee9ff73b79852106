import { randomBytes } from 'node:crypto'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { migrateDatabase } from '../db/migrate.ts'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { enqueuePart } from './enqueue.ts'
import { goalMet, ratioOf, type BenchPart, type BenchReport } from './part.ts'
import { reconcilePart } from './reconcile.ts'
import { resyncPart } from './resync.ts'
import { formatReport } from './table.ts'
import { throughputPart } from './throughput.ts'

/** Every part of the benchmark, in the order in which they run. */
const parts: readonly BenchPart[] = [reconcilePart, throughputPart, enqueuePart, resyncPart]

const names = parts.map(({ name }) => name)

const help = `npm run bench -- [part …] [--json]

Measures, beside each thing of ours, its floor in the same run. Without a part: all of them.

${parts.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`).join('\n')}

  --json      one JSON object on the last line instead of tables
  --help      this text

DATABASE_URL  a PostgreSQL to measure on, whose role may create databases; default: an embedded one, started
              in a temporary folder with PostgreSQL's own settings.

Exit code: 0; 1 where a check failed (a goal missed is shown, not an error); 2 for a wrong command line.
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  const command = parseCommand(args)
  if (typeof command === 'string') {
    process.stderr.write(`${command}\n`)
    return 2
  }
  if (command.help) {
    process.stdout.write(help)
    return 0
  }
  const chosen = parts.filter(({ name }) => command.names.length === 0 || command.names.includes(name))
  const reports = new Map<string, BenchReport>()
  const server = await openServer()
  try {
    for (const part of chosen) {
      const database = await server.createDatabase()
      try {
        const progress = (line: string) => process.stderr.write(`${part.name}: ${line}\n`)
        const report = await part.run({ databaseUrl: database.url, progress })
        reports.set(part.name, report)
        if (!command.json) process.stdout.write(`\n${formatReport(part.name, report)}\n`)
      } finally {
        await database.drop()
      }
    }
  } finally {
    await server.close()
  }
  if (command.json) process.stdout.write(`${JSON.stringify(Object.fromEntries([...reports].map(asJson)))}\n`)
  return [...reports.values()].every(({ checks }) => checks.every(({ passed }) => passed)) ? 0 : 1
}

function parseCommand(args: string[]): { names: string[]; json: boolean; help: boolean } | string {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
    })
    const unknown = positionals.filter((name) => !names.includes(name))
    if (unknown.length > 0) {
      return `no part of the benchmark is called ${unknown.join(', ')}; there is: ${names.join(', ')}`
    }
    return { names: positionals, ...values }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function asJson([name, { rows, checks, notes }]: [string, BenchReport]): [string, unknown] {
  return [
    name,
    { rows: rows.map((row) => ({ ...row, ratio: ratioOf(row), met: goalMet(row) })), checks, notes },
  ]
}

type Server = {
  createDatabase: () => Promise<{ url: string; drop: () => Promise<void> }>
  close: () => Promise<void>
}

async function openServer(): Promise<Server> {
  const configured = process.env['DATABASE_URL']
  const home = configured ? undefined : mkdtempSync(path.join(tmpdir(), 'entra-group-sync-bench-'))
  const embedded = home ? await startEmbeddedPostgres({ home, database: 'bench' }) : undefined
  const adminUrl = configured ?? embedded?.url ?? ''
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined })
  return {
    createDatabase: async () => {
      const name = `bench_${randomBytes(6).toString('hex')}`
      await admin`create database ${admin(name)}`
      const url = new URL(adminUrl)
      url.pathname = `/${name}`
      await migrateDatabase(url.href)
      return {
        url: url.href,
        drop: async () => {
          await admin`drop database ${admin(name)} with (force)`
        },
      }
    },
    close: async () => {
      await admin.end()
      await embedded?.stop()
      if (home) rmSync(realpathSync(path.join(home, 'postgres')), { recursive: true, force: true })
      if (home) rmSync(home, { recursive: true, force: true })
    },
  }
}
