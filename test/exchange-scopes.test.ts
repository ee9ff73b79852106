import { SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { verifyEntraToken, type ExchangeSource } from '../src/issuer/entra-token.ts'
import { deadDatabase, newKey, testTenantId } from './support/gateway.ts'
import { issuerOfOneKey } from './support/issuer-parts.ts'

const db = deadDatabase()

/** What a token for another API is refused with, where so many sources exchange. */
async function adviceOf(count: number): Promise<{ advice: string; clientIds: string[] }> {
  const { partsFor } = await issuerOfOneKey('an-api-key-of-24-characters-or-more')
  const sources: ExchangeSource[] = partsFor(db).sources.flatMap((source) =>
    Array.from({ length: count }, () => ({ ...source, clientId: crypto.randomUUID() })),
  )
  const token = await new SignJWT({ aud: 'api://payroll', tid: testTenantId })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(newKey('k1').key)
  const refused: Error = await verifyEntraToken(token, sources, 'invalid_client').then(
    () => new Error('not refused'),
    (error: Error) => error,
  )
  return { advice: refused.message, clientIds: sources.map(({ clientId }) => clientId) }
}

test.for([1, 3])(
  'a token for another API is answered with the scope of each of %i sources',
  async (count) => {
    const { advice, clientIds } = await adviceOf(count)
    const scopes = clientIds.map((id) => `api://${id}/.default`).join(' or ')
    expect(advice).toBe(`the token is for another API; ask Entra for scope=${scopes}`)
    expect(advice.length).toBeLessThan(300)
  },
)

test('of many sources it is answered with how the scope is made', async () => {
  const { advice } = await adviceOf(4)
  expect(advice).toBe(
    'the token is for another API; ask Entra for scope=api://<client id of the source>/.default',
  )
})

test('where nothing is exchanged the answer says so, and blames no scope', async () => {
  const { advice } = await adviceOf(0)
  expect(advice).toMatch(/^no tokens of Entra are exchanged here; EXCHANGE and EXCHANGE_CALLERS/)
})
