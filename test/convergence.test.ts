import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { givenAppWorld } from './support/app-world.ts'
import { givenLife, stepsOf, type Step } from './support/life.ts'
import { givenWorld } from './support/people.ts'

/** `CONVERGENCE_SEED=… npm test -- convergence` plays the same lives again; fast-check names the seed where one ends wrong. */
const seed = Number(process.env['CONVERGENCE_SEED'] ?? Date.now() % 2 ** 31)
const runs = Number(process.env['CONVERGENCE_RUNS'] ?? 3)

/**
 * What could be held is let go: a plan that the guard holds waits for somebody to agree by design. So does one that a token
 * of less reach has made, which doesn't occur here. The index that groups are read from is never held back: what it doesn't
 * show yet nobody can read.
 */
const unguarded = {
  GUARD_MIN_REMOVALS: '1000000',
  GUARD_RESYNC_MIN_REMOVALS: '1000000000',
  RESYNC_SPREAD_MINUTES: '0',
  RESYNC_SCHEDULE: 'off',
  SYNC_CONCURRENCY: '5',
}

const seeded = { users: 25, groups: 30 }

function lives(steps: fc.Arbitrary<Step>) {
  return fc.record({
    parts: fc.array(fc.array(steps, { minLength: 8, maxLength: 25, size: 'max' }), {
      minLength: 3,
      maxLength: 5,
      size: 'max',
    }),
  })
}

// A shrunk life is another one: what it meets depends on what the queue does meanwhile. The whole of it is told instead.
const settings = { seed, numRuns: runs, endOnFailure: true, verbose: 1 } as const

describe('where the app reads', () => {
  const app = givenAppWorld()

  test(
    'after whatever happened, one clean round of changes or one clean resync by the app makes Postgres equal to the tenant',
    { timeout: Math.max(120_000, runs * 20_000) },
    async () => {
      await fc.assert(
        fc.asyncProperty(lives(stepsOf('app')), async ({ parts }) => {
          const world = await app.open('postgres', unguarded, seeded)
          try {
            const life = givenLife(world, app)
            await life.round()
            for (const [index, steps] of parts.entries()) {
              for (const step of steps) await life.take(step)
              await life.calm()
              await (index % 2 === 0 ? life.round() : life.resync())
              expect(await life.differences()).toEqual([])
            }
          } finally {
            await world.close()
          }
        }),
        settings,
      )
    },
  )
})

describe('where people read', () => {
  const delegated = givenWorld()

  test(
    'after whatever happened, one clean resync makes the groups of whoever has a usable token equal to the tenant',
    { timeout: Math.max(120_000, runs * 20_000) },
    async () => {
      await fc.assert(
        fc.asyncProperty(lives(stepsOf('delegated')), async ({ parts }) => {
          const world = await delegated.open({ backend: 'postgres', environment: unguarded, seed: seeded })
          try {
            const life = givenLife(world, delegated)
            for (const steps of parts) {
              for (const step of steps) await life.take(step)
              await life.calm()
              await life.resync()
              // Of whom the tokens are gone, nothing is known until they sign in: what is stored stays by design.
              expect(await life.differences({ withTokens: true })).toEqual([])
            }
          } finally {
            await world.close()
          }
        }),
        settings,
      )
    },
  )
})
