import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { findTokens, refuseTokens } from '../db/delegated-tokens.ts'
import { insertLoginEvent } from '../db/login-events.ts'
import { GraphUnavailable, TokenRejected, type SyncError } from '../src/errors.ts'
import { createBrowser } from './support/browser.ts'
import { givenDatabase } from './support/database.ts'
import { deadDatabase, entraOf, publicUrl, testGateway } from './support/gateway.ts'
import { callbackPath, givenTinyEntra, loginPath, person, type TinyEntra } from './support/tiny-entra.ts'

let entra: TinyEntra
const database = givenDatabase()
const dead = deadDatabase()

givenTinyEntra((given) => (entra = given))

const capability = { xms_cc: { values: ['cp1'] } }
const wanted = { acrs: { essential: true, value: 'c1' } }
const claims = JSON.stringify({ access_token: wanted })

/** What a sign-in stores of the person; `refused` is what a run has learnt since. */
async function store(refused: boolean, objectId = person.oid, told = claims) {
  const eventId = randomUUID()
  const { userId } = await insertLoginEvent(database.db, {
    eventId,
    source: 'entra-id',
    tenantId: person.tid,
    objectId,
    userPrincipalName: null,
    displayName: null,
    mail: null,
    sealed: randomUUID(),
    keyId: 'k1',
    expiresAt: new Date().toISOString(),
    scopes: [],
  })
  const refusal = { state: 'needs_login', reason: 'insufficient_claims', claims: told } as const
  if (refused) await refuseTokens(database.db, userId, 'entra-id', eventId, refusal)
  return { userId }
}

beforeEach(() => store(false))

function setUp(db = database.db, parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const gateway = testGateway({ db, configs: [entra.source], ...parts })
  return { ...gateway, browser: createBrowser(gateway.app, publicUrl) }
}

/** A source for members, whose groups Graph doesn't tell for these reasons, one after the other; then it does. */
function setUpMembers(...failures: (SyncError | undefined)[]) {
  const signUp = { policy: 'members' as const, groupIds: [randomUUID()] }
  const checkGroups = async () => {
    const failure = failures.shift()
    if (failure) throw failure
    return signUp.groupIds
  }
  return setUp(database.db, { configs: [{ ...entra.source, signUp }], checkGroups })
}

/** What Entra wants once it sees the next code. */
function challengeAtCode(told: string): void {
  const body = JSON.stringify({ error: 'interaction_required', claims: told })
  entra.next.tokenError = { status: 400, body, once: true }
}

const claimsAsked = (addresses: readonly string[]) =>
  addresses
    .filter((address) => address.includes('/authorize?'))
    .map((address): unknown => JSON.parse(new URL(address).searchParams.get('claims') ?? ''))
const claimsRedeemed = () =>
  entra.requests.flatMap(({ form }): unknown[] => (form ? [JSON.parse(form['claims'] ?? '')] : []))

test('a sign-in says that we handle claims challenges, at both endpoints, and so does a renewal', async () => {
  const { browser } = setUp()
  await browser.open(loginPath)
  expect(claimsAsked(browser.visited)).toEqual([{ access_token: capability }])
  expect(claimsRedeemed()).toEqual([{ access_token: capability }])
  entra.requests.length = 0
  await entraOf(entra.source)
    .renew(person.tid, 'refresh', claims)
    .catch(() => undefined)
  expect(claimsRedeemed()).toEqual([{ access_token: { ...capability, ...wanted } }])
})

test('a person known by the session is sent with the claims at once, and once', async () => {
  const { browser, logins } = setUp()
  await browser.open(loginPath)
  await store(true)
  const before = browser.visited.length
  expect((await browser.open(`${loginPath}?return_to=/session`)).status).toBe(200)
  expect(claimsAsked(browser.visited.slice(before))).toEqual([{ access_token: { ...capability, ...wanted } }])
  expect(claimsRedeemed().at(-1)).toEqual({ access_token: { ...capability, ...wanted } })
  expect(logins).toHaveLength(2)
})

test('a person nobody knew at first goes to Entra once more for the claims, and both sign-ins are recorded', async () => {
  await store(true)
  const { browser, logins } = setUp()
  const answer = await browser.open(`${loginPath}?return_to=/session`)
  expect(await answer.json()).toMatchObject({ signedIn: true })
  expect(claimsAsked(browser.visited)).toEqual([
    { access_token: capability },
    { access_token: { ...capability, ...wanted } },
  ])
  expect(logins).toHaveLength(2)
})

test('a name in the address brings up nothing of the person it belongs to', async () => {
  await store(true)
  const { browser } = setUp()
  const away = await browser.fetchOnce(`${loginPath}?login_hint=${person.preferred_username}`)
  expect(claimsAsked([away.headers.get('location') ?? ''])).toEqual([{ access_token: capability }])
})

test('a person who does not satisfy the claims is signed in all the same', async () => {
  await store(true)
  const { browser, logLines } = setUp()
  const isSecondTrip = (next: URL) => next.searchParams.get('claims')?.includes('acrs') !== true
  const away = await browser.open(`${loginPath}?return_to=/session`, isSecondTrip)
  const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
  const query = new URLSearchParams({ error: 'access_denied', error_description: 'AADSTS50076', state })
  const answer = await browser.open(`${callbackPath}?${query.toString()}`)
  expect(await answer.json()).toMatchObject({ signedIn: true })
  expect(logLines.join()).toContain('claims not satisfied')
})

test('a database that does not answer keeps nobody from going to Entra, and is told when they come back', async () => {
  const { browser } = setUp(dead)
  const answer = await browser.open(loginPath)
  expect(answer.status).toBe(503)
  expect(await answer.text()).toMatch(/You are not signed in[^]*on our side/)
  expect(claimsAsked(browser.visited)).toHaveLength(1)
  expect(browser.cookies().has('egs_session')).toBe(false)
})

test('a sign-in stored later ends whatever was refused', async () => {
  const { userId } = await store(true)
  expect(await findTokens(database.db, userId, 'entra-id')).toMatchObject({ state: 'needs_login' })
  await store(false)
  expect(await findTokens(database.db, userId, 'entra-id')).toMatchObject({ state: 'valid', reason: null })
})

test('a person with a session who does not satisfy the claims is told so, and not that they are signed out', async () => {
  const { browser } = setUp()
  await browser.open(loginPath)
  await store(true)
  const away = await browser.fetchOnce(loginPath)
  const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
  const query = new URLSearchParams({ error: 'access_denied', error_description: 'AADSTS53003', state })
  const answer = await browser.open(`${callbackPath}?${query.toString()}`)
  const text = await answer.text()
  expect(answer.status).toBe(403)
  expect(text).toContain('You are still signed in')
  expect(text).not.toContain('You are not signed in')
  expect(text).toContain('AADSTS53003')
})

test('another person at the same browser is asked for her own claims, whoever was signed in before', async () => {
  const { browser } = setUp()
  await browser.open(loginPath)
  await store(true)
  const bob = '55555555-5555-4555-8555-555555555555'
  const hers = JSON.stringify({ access_token: { acrs: { essential: true, value: 'hers' } } })
  await store(true, bob, hers)
  entra.next.claims = { oid: bob }
  const before = browser.visited.length
  await browser.open(`${loginPath}?return_to=/session`)
  expect(claimsAsked(browser.visited.slice(before))).toEqual([
    { access_token: { ...capability, ...wanted } },
    { access_token: { ...capability, acrs: { essential: true, value: 'hers' } } },
  ])
})

test('what Entra wants once it sees the code is asked for too, with what was asked before, and once', async () => {
  const { browser } = setUp()
  await browser.open(loginPath)
  await store(true)
  const more = { nbf: { essential: true, value: '1604106651' } }
  const body = { error: 'interaction_required', claims: JSON.stringify({ access_token: more }) }
  entra.next.tokenError = { status: 400, body: JSON.stringify(body) }
  const before = browser.visited.length
  const answer = await browser.open(loginPath)
  expect(claimsAsked(browser.visited.slice(before))).toEqual([
    { access_token: { ...capability, ...wanted } },
    { access_token: { ...capability, ...wanted, ...more } },
  ])
  expect([answer.status, await answer.text()]).toEqual([
    403,
    expect.stringContaining('You are still signed in'),
  ])
})

test('who is about to choose another account is not asked for the claims of the one before', async () => {
  const { browser } = setUp()
  await browser.open(loginPath)
  await store(true)
  const away = await browser.fetchOnce(`${loginPath}?prompt=select_account`)
  expect(claimsAsked([away.headers.get('location') ?? ''])).toEqual([{ access_token: capability }])
})

test('claims that left no room for stored ones are met first, and the stored ones after them', async () => {
  const [first, second] = ['a', 'b'].map((name) => ({ [name]: { value: 'x'.repeat(600) } }))
  const { browser } = setUp()
  await browser.open(loginPath)
  await store(true, person.oid, JSON.stringify({ access_token: first }))
  challengeAtCode(JSON.stringify({ access_token: second }))
  const before = browser.visited.length
  const answer = await browser.open(`${loginPath}?return_to=/session`)
  expect(await answer.json()).toMatchObject({ signedIn: true })
  expect(claimsAsked(browser.visited.slice(before))).toEqual(
    [first, second, first].map((asked) => ({ access_token: { ...capability, ...asked } })),
  )
})

describe('Graph’s claims, wanted before it tells of groups,', () => {
  const graphs = { polids: { value: 'g' } }
  const wants = (asked: object) =>
    new TokenRejected('insufficient_claims', 'refused', { claims: JSON.stringify({ access_token: asked }) })

  test('are asked for together with those stored of the person, and stored is one sign-in', async () => {
    await store(true)
    const { browser, logins } = setUpMembers(wants(graphs))
    const answer = await browser.open(`${loginPath}?return_to=/session`)
    expect(await answer.json()).toMatchObject({ signedIn: true })
    expect(claimsAsked(browser.visited)).toEqual([
      { access_token: capability },
      { access_token: { ...capability, ...wanted, ...graphs } },
    ])
    expect(logins).toHaveLength(1)
  })

  test('leave stored ones that find no room beside them for a trip of their own', async () => {
    const [stored, long] = ['a', 'b'].map((name) => ({ [name]: { value: 'x'.repeat(600) } }))
    await store(true, person.oid, JSON.stringify({ access_token: stored }))
    const { browser } = setUpMembers(wants(long ?? {}))
    await browser.open(`${loginPath}?return_to=/session`)
    expect(claimsAsked(browser.visited)).toEqual(
      [{}, long, stored].map((asked) => ({ access_token: { ...capability, ...asked } })),
    )
  })

  test('are followed also where Entra wanted some at the code, and each once', async () => {
    const { browser } = setUpMembers(wants(graphs), wants(graphs))
    challengeAtCode(claims)
    const answer = await browser.open(loginPath)
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining('claims_unmet')])
    expect(claimsAsked(browser.visited)).toEqual([
      { access_token: capability },
      { access_token: { ...capability, ...wanted } },
      { access_token: { ...capability, ...wanted, ...graphs } },
    ])
  })

  test('leave Entra’s own challenge at the code to be followed after them', async () => {
    const { browser } = setUpMembers(wants(graphs))
    const isSecondTrip = (next: URL) => next.searchParams.get('claims')?.includes('polids') !== true
    const away = await browser.open(`${loginPath}?return_to=/session`, isSecondTrip)
    challengeAtCode(claims)
    const answer = await browser.open(away.headers.get('location') ?? '')
    expect(await answer.json()).toMatchObject({ signedIn: true })
    expect(claimsAsked(browser.visited).at(-1)).toEqual({
      access_token: { ...capability, ...graphs, ...wanted },
    })
  })

  test.for([
    [503, 'membership_unknown', [new GraphUnavailable('down')]],
    [403, 'claims_unmet', [wants(graphs), wants(graphs)]],
  ] as const)('or nothing (%i %s), end no session that there is', async ([status, reason, failures]) => {
    await store(true)
    const { browser } = setUpMembers(undefined, ...failures)
    const answer = await browser.open(`${loginPath}?return_to=/session`)
    const text = await answer.text()
    expect([answer.status, text]).toEqual([status, expect.stringMatching(`still signed in[^]*${reason}`)])
    expect(text).toContain('href="/session"')
    expect(text).not.toContain('You are not signed in')
    expect(await (await browser.open('/session')).json()).toMatchObject({ signedIn: true })
  })

  test('are another person’s to meet: whose session the browser has is not who is refused', async () => {
    const { browser } = setUpMembers(undefined, new GraphUnavailable('down'))
    await browser.open(loginPath)
    entra.next.claims = { oid: randomUUID() }
    const answer = await browser.open(loginPath)
    expect([answer.status, await answer.text()]).toEqual([
      503,
      expect.stringContaining('You are not signed in'),
    ])
  })
})
