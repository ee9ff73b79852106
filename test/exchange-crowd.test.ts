import postgres, { type Sql } from 'postgres'
import { expect, test } from 'vitest'
import { claiming, givenExchange } from './support/exchange-world.ts'
import { waitForWaiter } from './support/locks.ts'

const { given, signedIn, personIn } = givenExchange()

/** Tokens by the seconds since now at which they were issued, of the daemon or of another service. */
async function givenTokens() {
  const exchange = await given()
  const { world, entraToken, asAssertion } = exchange
  const now = Math.floor(Date.now() / 1000)
  const at = async (seconds: number, roles?: readonly string[], oid?: string) =>
    await entraToken({
      fault: claiming({ iat: now + seconds, nbf: now - 600, ...(oid && { oid, sub: oid }) }),
      ...(roles && { roles }),
    })
  const statusOf = async (token: string) => (await asAssertion(token)).status

  /** Does something while somebody holds the rows of all services. */
  const whileHeld = async (act: (other: Sql) => Promise<void>) => {
    const other = postgres(world.environment['DATABASE_URL'] ?? '', { max: 2, fetch_types: false })
    const [locked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const holding = other.begin(async (sql) => {
      await sql`select from users where kind = 'service' for update`
      locked.resolve()
      await released.promise
    })
    try {
      await locked.promise
      await act(other)
    } finally {
      released.resolve()
      await holding
      await other.end()
    }
  }
  return { ...exchange, at, statusOf, whileHeld }
}

/** The answers, and how many writes of users have waited for a lock at once before the last of them. */
async function answersOf(other: Sql, answers: readonly Promise<number>[]) {
  const all = Promise.all(answers)
  const ended = new AbortController()
  const ending = all.finally(() => ended.abort())
  let most = 0
  while (!ended.signal.aborted) {
    const waiting = await other`select from pg_stat_activity where wait_event_type = 'Lock'
      and datname = current_database() and query like '%membership_digest%'`
    most = Math.max(most, waiting.length)
  }
  return { statuses: await ending, most }
}

test('while somebody holds the row of a service, its exchanges keep nobody from signing in', async () => {
  const { world, url, at, statusOf, whileHeld, asAssertion, exchanged } = await givenTokens()
  await exchanged(asAssertion(await at(-300)))
  const event = await signedIn(personIn(1))
  const same = await Promise.all(Array.from({ length: 30 }, (_, index) => at(index - 200)))
  const others = await Promise.all(Array.from({ length: 30 }, (_, index) => at(index - 199, ['Other'])))
  await whileHeld(async (other) => {
    const answers = [...same, ...others].map(statusOf)
    await waitForWaiter(world.db)
    expect((await world.context.loginSucceeded(event)).outcome).toBe('pending')
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    const { statuses, most } = await answersOf(other, answers)
    expect(most).toBeLessThanOrEqual(1)
    // What a token says that is stored already is answered; what it would change can't be.
    expect(statuses.slice(0, 30)).toEqual(same.map(() => 200))
    expect(statuses.slice(30)).toEqual(others.map(() => 503))
  })
  const { claims } = await exchanged(asAssertion(await at(-100, ['Other'])))
  expect(claims['group_names']).toEqual(['Other'])
})

test('exchanges of however many services leave most connections to others', async () => {
  const { at, statusOf, whileHeld } = await givenTokens()
  const services = Array.from({ length: 8 }, () => crypto.randomUUID())
  for (const oid of services) expect(await statusOf(await at(-300, ['A'], oid))).toBe(200)
  const tokens = await Promise.all(services.map((oid) => at(-200, ['B'], oid)))
  await whileHeld(async (other) => {
    const { statuses, most } = await answersOf(other, tokens.map(statusOf))
    expect(new Set(statuses)).toEqual(new Set([503]))
    expect(most).toBeLessThanOrEqual(4)
  })
  expect(await Promise.all(tokens.map(statusOf))).toEqual(tokens.map(() => 200))
})

test('newer tokens of a service that come together end with the groups of the newest', async () => {
  const { world, at, asAssertion, exchanged } = await givenTokens()
  const tokens = await Promise.all(
    Array.from({ length: 20 }, (_, index) => at(index - 200, [`Role.${index}`])),
  )
  await Promise.all(tokens.map((token) => exchanged(asAssertion(token))))
  const groups = await world.db.$client`
    select g.display_name from memberships m join groups g on g.id = m.group_id`
  expect(groups).toEqual([{ display_name: 'Role.19' }])
  expect(await world.db.$client`select from sync_runs where outcome = 'stale'`).toHaveLength(0)
})
