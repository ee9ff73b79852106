import { expect, test } from 'vitest'
import { hintAgain, maxAgain } from '../db/hints.ts'
import { aboutOf, beginDelta, givenDeltaWorld } from './support/delta-world.ts'

const { given } = givenDeltaWorld()

test('of more people who are due again than a round has room for it takes those who have waited longest', async () => {
  const { world, workers } = await given(1)
  const { db, source, simulator } = world
  const sql = db.$client
  await workers.stop()
  await sql`
    with more as (
      insert into users (tenant_id, object_id, user_principal_name)
      select ${simulator.tenant.id}, gen_random_uuid(), 'person' || at from generate_series(1, ${maxAgain + 2}) at returning id
    ), known as (
      insert into delegated_tokens (user_id, source, sealed, key_id, expires_at, scopes, state)
      select id, ${source.slug}, '', '', now(), '{}', 'needs_login' from more returning user_id
    )
    insert into delta_hints (source, user_id, told_at, due_at)
    select ${source.slug}, user_id, now() - interval '1 hour',
      now() - interval '1 minute' * row_number() over (order by user_id desc) from known`
  const about = aboutOf(world, await beginDelta(world))
  const left = async () =>
    await sql`
    select user_id from delta_hints where source = ${source.slug} and due_at <= now() order by due_at, user_id`
  const waiting = await left()
  expect(await hintAgain(db, about)).toBe(maxAgain)
  expect(await left()).toEqual(waiting.slice(maxAgain))
  expect(await hintAgain(db, about)).toBe(2)
  expect(await hintAgain(db, about)).toBe(0)
  expect(await sql`select from resync_users`).toHaveLength(maxAgain + 2)
})
