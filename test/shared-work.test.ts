import { expect, test } from 'vitest'
import { createLimit, createSharedWork } from '../src/shared-work.ts'

/** Work that counts how often it was begun, and rests for a minute after a failure, or as long as that says. */
function givenWork() {
  let clock = 0
  let begun = 0
  const shared = createSharedWork({
    restMsAfter: (error) => (error instanceof RangeError ? 1000 : 60_000),
    now: () => clock,
  })
  const join = async (work: () => Promise<void>, id = 'one') =>
    await shared.join(id, async () => {
      begun += 1
      await work()
    })
  return { join, pass: (ms: number) => void (clock += ms), begun: () => begun }
}

const good = () => Promise.resolve()
const bad = () => Promise.reject(new Error('bad'))

test('who comes while it goes on shares it, and who comes later begins anew', async () => {
  const { join, begun } = givenWork()
  const { promise, resolve } = Promise.withResolvers<void>()
  const all = [join(() => promise), join(good), join(good, 'another')]
  expect(begun()).toBe(2)
  resolve()
  await Promise.all(all)
  await join(good)
  expect(begun()).toBe(3)
})

test('a failure is everybody’s until it has rested', async () => {
  const { join, pass, begun } = givenWork()
  await expect(join(bad)).rejects.toThrow('bad')
  pass(59_000)
  await expect(join(good)).rejects.toThrow('bad')
  expect(begun()).toBe(1)
  pass(2000)
  await join(good)
  expect(begun()).toBe(2)
  await expect(join(() => Promise.reject(new RangeError('short')))).rejects.toThrow('short')
  pass(2000)
  await join(good)
  expect(begun()).toBe(4)
})

test('a limit lets so many go on at once, and every other have its turn', async () => {
  const limit = createLimit(2)
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<number>())
  const begun: number[] = []
  const results = gates.map(({ promise }, index) =>
    limit(async () => {
      begun.push(index)
      return await promise
    }).catch(() => -1),
  )
  expect(begun).toEqual([0, 1])
  gates[1]?.reject(new Error('no'))
  await results[1]
  expect(begun).toEqual([0, 1, 2])
  for (const [index, { resolve }] of gates.entries()) resolve(index)
  expect(await Promise.all(results)).toEqual([0, -1, 2, 3])
})
