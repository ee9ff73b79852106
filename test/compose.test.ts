import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DCLinter } from 'dclint'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../src/config.ts'

const fileAt = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const read = (name: string) => readFileSync(fileAt(name), 'utf8')

/** What the tests look at; that the whole file is valid is the schema's business. */
const service = z.looseObject({
  image: z.string().optional(),
  build: z.string().optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  env_file: z.string().optional(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
  deploy: z.object({ replicas: z.number() }).optional(),
})
const { services, volumes } = z
  .looseObject({
    services: z.object({
      postgres: service,
      redis: service,
      migrate: service,
      gateway: service,
      worker: service,
    }),
    volumes: z.record(z.string(), z.unknown()),
  })
  .parse(parse(read('docker-compose.yml'), { merge: true }))
/** The linter's own types don't resolve under Node's rules for modules. */
const lintResults = z.tuple([
  z.object({ messages: z.array(z.object({ type: z.string(), line: z.number(), message: z.string() })) }),
])

const dockerfile = read('Dockerfile')

describe('docker-compose.yml', () => {
  it('is valid by the JSON schema of the Compose Specification', () => {
    const linter = new DCLinter({ rules: {}, quiet: true, debug: false, exclude: [] })
    const [result] = lintResults.parse(linter.lintFiles([fileAt('docker-compose.yml')], false))
    // Warnings are about the order of keys and services; ours is the order in which they start.
    expect(result.messages.filter(({ type }) => type === 'error')).toEqual([])
  })

  it('runs sub-commands of ours, one gateway and two workers', () => {
    const commands = Object.values(services).filter(({ build }) => build)
    expect(commands.map(({ command }) => command)).toEqual([['migrate'], ['gateway'], ['worker']])
    expect(services.worker.deploy).toEqual({ replicas: 2 })
  })

  it('starts gateway and workers after the migration and a healthy Redis', () => {
    for (const { depends_on: needs } of [services.gateway, services.worker]) {
      expect(needs).toEqual({
        migrate: { condition: 'service_completed_successfully' },
        redis: { condition: 'service_healthy' },
      })
    }
    expect(services.migrate.depends_on).toEqual({ postgres: { condition: 'service_healthy' } })
    expect(services.postgres.healthcheck && services.redis.healthcheck).toBeDefined()
  })

  it('gives Redis no leave to forget: no eviction, every write in the append-only file, a volume', () => {
    expect(services.redis.command?.join(' ')).toBe(
      'redis-server --maxmemory-policy noeviction --appendonly yes',
    )
    const named = [...services.postgres.volumes, ...services.redis.volumes].map((one) => one.split(':')[0])
    expect(named).toEqual(Object.keys(volumes))
  })

  it('has settings that are valid together with those of .env', () => {
    const key = `k1:${Buffer.alloc(32).toString('base64')}`
    const fromEnvFile = {
      ENTRA_TENANT_ID: '11111111-1111-4111-8111-111111111111',
      ENTRA_CLIENT_ID: '22222222-2222-4222-8222-222222222222',
      ENTRA_CLIENT_SECRET: 'a secret',
      TOKEN_ENCRYPTION_KEYS: key,
      SESSION_KEYS: key,
    }
    const filledIn = ({ environment = {} }: z.output<typeof service>) =>
      Object.fromEntries(
        Object.entries(environment).map(([name, value]) => [name, value.replace(/\$\{\w+:\?[^}]*\}/, 'pw')]),
      )
    const gateway = loadConfig({ ...fromEnvFile, ...filledIn(services.gateway) }, { gateway: true })
    const worker = loadConfig({ ...fromEnvFile, ...filledIn(services.worker) })
    const migrate = loadConfig(filledIn(services.migrate), { databaseOnly: true })
    expect(gateway).toMatchObject({ host: '0.0.0.0', port: 3000, publicUrl: 'http://localhost:3000' })
    for (const { databaseUrl, queueUrl } of [gateway, worker, migrate]) {
      expect(databaseUrl).toBe('postgres://entra_group_sync:pw@postgres:5432/entra_group_sync')
      expect(queueUrl).toBe('redis://redis:6379')
    }
  })

  it('asks the gateway whether it is ready where the gateway listens, and publishes that on loopback only', () => {
    expect(services.gateway.healthcheck?.test.at(-1)).toContain("fetch('http://127.0.0.1:3000/readyz')")
    expect(services.gateway.ports).toEqual(['127.0.0.1:3000:3000'])
    expect([services.postgres, services.redis, services.worker].flatMap(({ ports }) => ports)).toEqual([])
  })

  it('holds no secret: each stands in .env', () => {
    expect(services.postgres.environment?.['POSTGRES_PASSWORD']).toMatch(/^\$\{POSTGRES_PASSWORD:\?/)
    const own = [services.gateway, services.worker, services.migrate].flatMap(({ environment = {} }) =>
      Object.keys(environment),
    )
    expect([...new Set(own)].toSorted()).toEqual(['DATABASE_URL', 'HOST', 'PORT', 'QUEUE_URL'])
  })
})

describe('Dockerfile', () => {
  it('uses the Node that package.json pins', () => {
    const { devDependencies } = z
      .looseObject({ devDependencies: z.looseObject({ node: z.string() }) })
      .parse(JSON.parse(read('package.json')))
    const major = devDependencies.node.split('.')[0]
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)
    expect(new Set(bases)).toEqual(new Set([`node:${major}-slim`]))
  })

  it('runs the command that package.json installs, without root and without development packages', () => {
    const { bin } = z
      .looseObject({ bin: z.record(z.string(), z.string()) })
      .parse(JSON.parse(read('package.json')))
    const runtime = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
    expect(runtime).toContain(`ENTRYPOINT ["node", "${bin['entra-group-sync']}"]`)
    expect(runtime).toMatch(/^USER node$/m)
    expect(runtime).toMatch(/^ENV NODE_ENV=production$/m)
    expect(runtime).toContain('--from=dependencies /app/node_modules')
    expect(dockerfile).toContain('npm ci --omit=dev')
  })

  it('copies only what .dockerignore lets in, so that no secret of the folder reaches an image', () => {
    const allowed = [...read('.dockerignore').matchAll(/^!(\S+)$/gm)].map(([, name]) => name)
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names = '']) =>
      names.split(' '),
    )
    expect(read('.dockerignore')).toMatch(/^\*$/m)
    expect([...new Set(copied)].toSorted()).toEqual(allowed.toSorted())
  })
})
