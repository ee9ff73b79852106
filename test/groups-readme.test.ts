import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { listen, type Listening } from '../src/gateway.ts'
import { givenDatabase } from './support/database.ts'
import { testGateway } from './support/gateway.ts'
import { apiKey } from './support/groups-api.ts'
import { joinByRun } from './support/memberships.ts'

const database = givenDatabase()
const run = promisify(execFile)
let listening: Listening | undefined
afterAll(() => listening?.close())

test('the curl lines of the README are answered with what the README says', async () => {
  const { db } = database
  const tenantId = '11111111-1111-4111-8111-111111111111'
  const [user] = await db.$client<{ id: string }[]>`
    insert into users (tenant_id, object_id, display_name, user_principal_name, sync_state, last_synced_at)
    values (${tenantId}, '22222222-2222-4222-8222-222222222222', 'Ada Lovelace', 'ada@example.com', 'synced', now()) returning id`
  const [group] = await db.$client<{ id: string }[]>`
    insert into groups (tenant_id, object_id, display_name)
    values (${tenantId}, '33333333-3333-4333-8333-333333333333', 'Engine') returning id`
  await joinByRun(db, user!.id, [group!.id])
  const gateway = await listen(testGateway({ db }).app, { port: 0, host: '127.0.0.1' })
  listening = gateway
  const readme = readFileSync(path.join(import.meta.dirname, '../README.md'), 'utf8')
  const [, section = ''] = readme.split('\n## Groups for applications\n')
  const blocks = (language: string) =>
    [
      ...(section.split('\n## ')[0] ?? '').matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms')),
    ].map(([, code = '']) => code)
  const env = { ...process.env, PUBLIC_URL: gateway.url, API_KEY: apiKey }
  const answers = await Promise.all(
    blocks('sh')
      .flatMap((block) => block.split(/^(?=curl )/m))
      .map(
        async (line) => JSON.parse((await run('sh', ['-c', line], { env })).stdout) as Record<string, object>,
      ),
  )
  const [shown = ''] = blocks('json')
  const told = JSON.parse(shown) as Record<string, object>
  const groups = [{ displayName: 'Engine', origins: ['entra'] }]
  expect(answers).toMatchObject([
    { user: { displayName: 'Ada Lovelace' }, groups, next: null },
    { group: { displayName: 'Engine' }, members: [{ userPrincipalName: 'ada@example.com' }] },
    { asOf: '2026-05-01T08:00:00.000000Z', groups: [] },
  ])
  expect(Object.keys(told)).toEqual(Object.keys(answers[0]!))
  for (const name of ['user', 'freshness'])
    expect(Object.keys(told[name]!)).toEqual(Object.keys(answers[0]![name]!))
})
