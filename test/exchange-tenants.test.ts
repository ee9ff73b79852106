import { expect, test } from 'vitest'
import { claiming, daemonApp, givenExchange } from './support/exchange-world.ts'

const { given } = givenExchange()

const [allowed, other] = ['aaaaaaaa-1111-4222-8333-444444444444', 'bbbbbbbb-1111-4222-8333-444444444444']

/** A gateway for several tenants, of which it takes the first and one more. */
async function givenTenants(version: 1 | 2) {
  const exchange = await given(
    { ENTRA_TENANT_ID: 'organizations', ENTRA_ALLOWED_TENANTS: `${allowed},${firstTenant}` },
    { ownRoles: ['Orders.Read'], accessTokenVersion: version, multiTenant: true },
    { tenantId: firstTenant, otherTenants: [{ tenantId: allowed }, { tenantId: other }] },
  )
  const [second, third] = exchange.world.simulator.otherTenants
  const daemon = { clientId: daemonApp.clientId }
  const tokenOf = async (tenant: typeof second) => (await tenant?.appToken(daemon)) ?? ''
  return { ...exchange, tokenOf, second, third }
}

const firstTenant = 'cccccccc-1111-4222-8333-444444444444'

test.for([1, 2] as const)(
  'a source for several tenants takes tokens of version %i of those it lists, each its own service',
  async (version) => {
    const { entraToken, asAssertion, exchanged, tokenOf, second, third } = await givenTenants(version)
    const one = await exchanged(asAssertion(await entraToken()))
    const two = await exchanged(asAssertion(await tokenOf(second)))
    expect([one.claims['tid'], two.claims['tid']]).toEqual([firstTenant, allowed])
    expect(one.claims.sub).not.toBe(two.claims.sub)
    const refused = await asAssertion(await tokenOf(third))
    expect([refused.status, await refused.json()]).toMatchObject([
      401,
      {
        error: 'invalid_client',
        error_description: expect.stringMatching(/tokens of this tenant are not taken/),
      },
    ])
  },
)

test('one role in two tenants is two groups, so that no tenant puts its daemons into another’s', async () => {
  const { entraToken, asAssertion, exchanged, tokenOf, second, world } = await givenTenants(2)
  const one = await exchanged(asAssertion(await entraToken()))
  const two = await exchanged(asAssertion(await tokenOf(second)))
  expect([one.claims['group_names'], two.claims['group_names']]).toEqual([['Orders.Read'], ['Orders.Read']])
  expect(one.claims['groups']).not.toEqual(two.claims['groups'])
  await world.restartGateway()
  expect((await exchanged(asAssertion(await entraToken()))).claims['groups']).toEqual(one.claims['groups'])
})

test('a tenant’s token counts only with a key that signs for that tenant', async () => {
  const { entraToken, asAssertion, world, url } = await givenTenants(2)
  const { simulator } = world
  const issuer = `${simulator.entraUrl}/${allowed}/v2.0`
  const own = await simulator.publishSigningKey({ issuer })
  const stolen = await asAssertion(await entraToken({ fault: { signedBy: own.kid } }))
  expect([stolen.status, await stolen.json()]).toMatchObject([
    401,
    { error_description: expect.stringMatching(/signs for another tenant/) },
  ])
  const template = await simulator.publishSigningKey({ issuer: `${simulator.entraUrl}/{tenantid}/v2.0` })
  await world.restartGateway()
  expect(url).toBe(world.config.publicUrl)
  expect((await asAssertion(await entraToken({ fault: { signedBy: template.kid } }))).status).toBe(200)
  const crossed = await asAssertion(await entraToken({ fault: claiming({ tid: allowed }) }))
  expect([crossed.status, await crossed.json()]).toMatchObject([
    401,
    { error_description: expect.stringMatching(/another authority, or for another tenant/) },
  ])
})
