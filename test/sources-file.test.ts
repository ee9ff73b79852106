import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { loadConfig, type Environment } from '../src/config.ts'
import { ConfigInvalid } from '../src/errors.ts'
import { clouds, defaultScopes } from '../src/source-config.ts'
import { resyncOf } from '../src/resync-settings.ts'
import { sourcesJsonSchema } from '../src/sources-schema.ts'
import { defaults, one, other, sourcesFolder, tenant } from './support/sources-folder.ts'
import { remoteGroup } from './support/remote-memberships.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const { file, parse, certificate, keyPem, png } = sourcesFolder()

function sourceOf(changes: Record<string, unknown> = {}, environment?: Environment) {
  const { sources, problems } = parse(one(changes), environment)
  expect(problems).toEqual([])
  return sources[0]!
}

describe('a source of the file', () => {
  it('needs slug, name, tenant, client id and a credential; the rest has the defaults of the environment', () => {
    const { groupFilter, ...source } = sourceOf()
    expect(groupFilter).toBeUndefined()
    expect(source).toEqual({
      slug: 'staff',
      name: 'Staff',
      icon: undefined,
      enabled: true,
      promoted: false,
      tenant: { kind: 'single', id: tenant },
      clientId: other,
      credentials: [{ kind: 'secret', id: 'secret', secret: 'in clear', expiresAt: undefined }],
      scopes: defaultScopes,
      groupSync: true,
      ...clouds.global,
      groupRead: 'transitive',
      ...defaults,
      unitsPer10s: 3500,
      signUp: { policy: 'anyone' },
      resync: resyncOf({}),
    })
    expect(Object.isFrozen(sourceOf())).toBe(true)
    const environment = {
      DATABASE_URL: 'postgres://localhost/x',
      TOKEN_ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
      ENTRA_TENANT_ID: tenant,
      ENTRA_CLIENT_ID: other,
      ENTRA_CLIENT_SECRET: 'in clear',
      SOURCE_SLUG: 'staff',
      SOURCE_NAME: 'Staff',
    }
    expect(sourceOf()).toEqual(loadConfig(environment).sources[0])
  })

  it('can have everything said', () => {
    const source = sourceOf({
      enabled: false,
      promoted: true,
      cloud: 'china',
      tenant: 'common',
      allowedTenants: [tenant.replace('1', 'A'), other],
      scopes: ['User.Read'],
      groupSync: false,
      groupRead: 'direct',
      filters: {
        securityEnabled: true,
        unified: 'exclude',
        ids: [other],
        names: '^app-',
        excludeNames: 'old',
      },
      guard: { minRemovals: 3, maxShare: 75 },
      resyncGuard: { maxShare: 5 },
      tenantSize: 'L',
      signUp: { policy: 'members', groups: [other] },
      authorityHost: 'http://127.0.0.1:8080',
    })
    expect(source).toMatchObject({
      enabled: false,
      promoted: true,
      tenant: { kind: 'common', allowed: [`a${tenant.slice(1)}`, other] },
      scopes: ['User.Read'],
      groupSync: false,
      groupRead: 'direct',
      guard: { minRemovals: 3, maxShare: 0.75 },
      resyncGuard: { minRemovals: 200, maxShare: 0.05 },
      unitsPer10s: 8000,
      signUp: { policy: 'members', groupIds: [other] },
      authorityHost: 'http://127.0.0.1:8080',
      graphBaseUrl: clouds.china.graphBaseUrl,
    })
    const group = remoteGroup({ objectId: other, displayName: 'App-Readers' })
    expect(source.groupFilter?.judge(group)).toBe('in')
    expect(source.groupFilter?.judge({ ...group, displayName: 'App-Old' })).toBe('out')
    expect(source.groupFilter?.judge({ ...group, objectId: tenant })).toBe('out')
    expect(sourceOf({ tenantSize: 'L', graphUnitsPer10s: 700 }).unitsPer10s).toBe(700)
    expect(sourceOf({ tenant: 'organizations', allowedTenants: 'any' }).tenant).toEqual({
      kind: 'organizations',
      allowed: 'any',
    })
  })

  it('reads secrets from the environment and from files, and takes those in clear', () => {
    const credentials = [
      { secret: '${A_SECRET}' },
      { secret: `file:${file('secret')}`, expiresAt: '2027-01-31' },
      { secret: 'file:secret', id: 'relative' },
      { secret: 'pre${A_SECRET}', expiresAt: '2027-01-31T12:00:00+02:00' },
    ]
    expect(sourceOf({ credentials }).credentials).toEqual([
      { kind: 'secret', id: 'secret', secret: 'from the environment', expiresAt: undefined },
      { kind: 'secret', id: 'secret 2', secret: 'from a file', expiresAt: '2027-01-31T00:00:00.000Z' },
      { kind: 'secret', id: 'relative', secret: 'from a file', expiresAt: undefined },
      { kind: 'secret', id: 'secret 3', secret: 'pre${A_SECRET}', expiresAt: '2027-01-31T10:00:00.000Z' },
    ])
  })

  it('prefers what needs no secret, and keeps the order within a kind', () => {
    const credentials = [
      { secret: 'first', id: 'certificate' },
      { certificate: 'file:both.pem' },
      { secret: 'second' },
      { federatedTokenFile: 'token' },
      { certificate: certificate.toString(), privateKey: 'file:key.pem', id: 'new' },
    ]
    const told = sourceOf({ credentials }).credentials
    expect(told.map(({ kind, id }) => [kind, id])).toEqual([
      ['federated', 'federated'],
      ['certificate', 'certificate 2'],
      ['certificate', 'new'],
      ['secret', 'certificate'],
      ['secret', 'secret'],
    ])
    expect(told[0]).toMatchObject({ tokenFile: file('token') })
    const pem = { certificate: certificate.toString().trim(), privateKey: keyPem.trim() }
    const expiresAt = new Date(certificate.validTo).toISOString()
    expect(told[1]).toMatchObject({ ...pem, expiresAt })
    expect(told[2]).toMatchObject({ ...pem, expiresAt })
  })

  it('has an icon as a data: URL, made of a file where one is named', () => {
    const url = `data:image/png;base64,${png.toString('base64')}`
    expect(sourceOf({ icon: url }).icon).toBe(url)
    expect(sourceOf({ icon: 'icon.png' }).icon).toBe(url)
    expect(sourceOf({ icon: file('icon.svg') }).icon).toMatch(/^data:image\/svg\+xml;base64,PD94/)
  })
})

describe('SOURCES_FILE', () => {
  const base = {
    DATABASE_URL: 'postgres://localhost/app',
    TOKEN_ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
    A_SECRET: 'from the environment',
  }
  const written = (text: string) => {
    writeFileSync(file('written.yaml'), text)
    return { ...base, SOURCES_FILE: file('written.yaml') }
  }
  const problemsOf = (environment: Environment) => {
    try {
      loadConfig(environment)
    } catch (error) {
      if (error instanceof ConfigInvalid) return error.problems
      throw error
    }
    return []
  }

  it('brings the sources and needs no setting of a single one', () => {
    const { sources } = loadConfig({
      ...written(one({ credentials: [{ secret: '${A_SECRET}' }], guard: { maxShare: 10 } })),
      GUARD_MIN_REMOVALS: '7',
    })
    expect(sources).toHaveLength(1)
    expect(sources[0]).toMatchObject({
      slug: 'staff',
      credentials: [{ secret: 'from the environment' }],
      guard: { minRemovals: 7, maxShare: 0.1 },
    })
  })

  it('refuses every setting of a single source beside it, together with what is wrong in the file', () => {
    const beside = { ENTRA_TENANT_ID: tenant, GROUP_SYNC: 'true', SIGN_UP: 'anyone', TENANT_SIZE: 'S' }
    const problems = problemsOf({ ...written('sources: []'), ...beside, DATABASE_URL: '' })
    expect(problems).toHaveLength(6)
    expect(problems).toEqual(
      expect.arrayContaining([
        { setting: 'DATABASE_URL', message: 'is missing' },
        ...Object.keys(beside).map((setting) => ({
          setting,
          message: 'stands beside SOURCES_FILE: put it there',
        })),
        { setting: 'SOURCES_FILE', message: `${file('written.yaml')}:1: sources must have at least 1 entry` },
      ]),
    )
  })

  it('is told where it can not be read', () => {
    expect(problemsOf({ ...base, SOURCES_FILE: '/no/such.yaml' })).toEqual([
      { setting: 'SOURCES_FILE', message: "/no/such.yaml can't be read" },
    ])
  })
})

describe('the documents', () => {
  it('have an example that is right as it stands', () => {
    const text = readFileSync(path.join(root, 'docs/sources.example.yaml'), 'utf8')
    const { sources, problems } = parse(text.replace('file:/run/secrets/partners.pem', 'file:both.pem'), {
      STAFF_CLIENT_SECRET: 'old',
      STAFF_CLIENT_SECRET_NEXT: 'new',
    })
    expect(problems).toEqual([])
    expect(sources.map(({ slug }) => slug)).toEqual(['staff', 'partners'])
    expect(sources[0]?.credentials.map(({ id }) => id)).toEqual(['secret', 'spring secret'])
  })

  it('have the JSON Schema that the code makes, which describes every key', () => {
    const schema = JSON.parse(readFileSync(path.join(root, 'docs/sources.schema.json'), 'utf8')) as unknown
    expect(schema, 'npm run schema writes it').toEqual(sourcesJsonSchema())
    const keys: [string, unknown][] = []
    JSON.stringify(schema, (name, value: unknown) => {
      if (name === 'properties') keys.push(...Object.entries(value as Record<string, unknown>))
      return value
    })
    expect(keys.length).toBeGreaterThan(30)
    const described = expect.objectContaining({
      description: expect.stringMatching(/\w/) as string,
    }) as unknown
    for (const [name, property] of keys) expect([name, property]).toEqual([name, described])
  })
})
