import { expect, test } from 'vitest'
import { leaksIn } from './support/leaks.ts'

test.for([
  ['a path', '/x/', '/y'],
  ['the end of a sentence', 'refused: ', '.'],
  ['a value', 'token=', '&x=1'],
  ['a name with hyphens', 'x-', '-y'],
  ['another token', 'eyJhbGciOiJub25lIn0.', '.x'],
  ['quotes', '{"x":"', '"}'],
  ['spaces', 'a ', ' b'],
  ['nothing', '', ''],
] as const)('a token is found in %s', ([, before, behind]) => {
  for (const token of ['eyJhbGciOi.abc-def_ghi.sig', '0.AXoA/b+c==', 'M.C5 ë!']) {
    expect(leaksIn(['other', token], `a\nb ${before}${token}${behind}\n`)).toEqual([token])
    expect(leaksIn([token], `${before}${token.slice(1)}${behind}`)).toEqual([])
  }
})
