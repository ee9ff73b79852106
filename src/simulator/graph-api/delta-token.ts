import { z } from 'zod'

/** Where a round goes on. A round that is over goes on with the changes from `until` on. */
const cursor = z.object({
  round: z.enum(['first', 'changes']),
  /** First round: the last object that is told, or, where `member` is set, the one that is told in part. */
  after: z.string(),
  /** The last member told of the object at which the page ended. */
  member: z.string(),
  /** Round of changes: the next mark of the journal. */
  at: z.int(),
  /** How much of the journal this round tells; the first round tells what may have changed meanwhile later. */
  until: z.int(),
})
const deltaToken = cursor.extend({
  set: z.enum(['users', 'groups']),
  select: z.array(z.string()).optional(),
  ids: z.array(z.string()).optional(),
  generation: z.int(),
  issuedAt: z.number(),
  /** Of the round, counted from 1. */
  page: z.int(),
  /** How many empty pages came before the page this token leads to. */
  empty: z.int(),
})

export type DeltaCursor = z.infer<typeof cursor>
export type DeltaToken = z.infer<typeof deltaToken>

const prefix = 'pqwSUjGYvb3j'

export function encodeDeltaToken(token: DeltaToken): string {
  return prefix + Buffer.from(JSON.stringify(token), 'utf8').toString('base64url')
}

/** Undefined for what no delta query gave. */
export function decodeDeltaToken(text: string): DeltaToken | undefined {
  try {
    return deltaToken.parse(JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString('utf8')))
  } catch {
    return undefined
  }
}
