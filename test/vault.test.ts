import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createVault } from '../src/login/vault.ts'

const key = (id: string) => ({ id, key: new Uint8Array(randomBytes(32)) })
const [first, second] = [key('first'), key('second')]

test('whatever is sealed for a person opens again for that person', async () => {
  const vault = createVault([first])
  await fc.assert(
    fc.asyncProperty(
      fc.string(),
      fc.option(fc.string(), { nil: undefined }),
      fc.string(),
      async (accessToken, refreshToken, binding) => {
        const tokens = refreshToken === undefined ? { accessToken } : { accessToken, refreshToken }
        const sealed = await vault.seal(tokens, binding)
        expect(await vault.unseal(sealed.text, binding)).toEqual(tokens)
      },
    ),
    { numRuns: 50 },
  )
})

test('the first key seals and the others still open', async () => {
  const old = await createVault([first]).seal({ accessToken: 'secret' }, 'person')
  const rotated = createVault([second, first])
  expect(await rotated.unseal(old.text, 'person')).toEqual({ accessToken: 'secret' })
  expect((await rotated.seal({ accessToken: 'secret' }, 'person')).keyId).toBe('second')
})

test('the sealed text shows no token', async () => {
  const sealed = await createVault([first]).seal(
    { accessToken: 'eyJ-very-secret', refreshToken: '0.A-secret' },
    'person',
  )
  expect(sealed.text).not.toContain('secret')
  expect(Buffer.from(sealed.text, 'base64').toString()).not.toContain('secret')
})

test.for([
  ['another person', (text: string) => createVault([first]).unseal(text, 'someone else')],
  ['an unknown key', (text: string) => createVault([second]).unseal(text, 'person')],
  [
    'the right key id over another key',
    (text: string) => createVault([{ ...second, id: 'first' }]).unseal(text, 'person'),
  ],
  [
    'an altered text',
    (text: string) => createVault([first]).unseal(`${text.slice(0, -8)}AAAAAAAA`, 'person'),
  ],
  ['no JWE at all', () => createVault([first]).unseal('nonsense', 'person')],
] as const)('sealed tokens do not open for %s, and the error says so by its code', async ([, open]) => {
  const { text } = await createVault([first]).seal({ accessToken: 'secret' }, 'person')
  await expect(open(text)).rejects.toMatchObject({ name: 'TokenRejected', code: 'token_unreadable' })
})
