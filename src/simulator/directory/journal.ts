import type { Group, OtherMember, User } from './objects.ts'

/** One thing that changed. What it is now is looked up when somebody asks, so a mark never tells anything untrue. */
export type Mark =
  /** `properties` undefined: made, deleted or restored, and so all of it. */
  | { what: 'user' | 'group'; id: string; properties: readonly string[] | undefined; restored?: true }
  /** A link of a group and a direct member; the type is kept because the member may be gone when it is asked for. */
  | { what: 'member'; id: string; member: string; type: MemberType }

export type MemberType = (User | Group | OtherMember)['@odata.type']

/** What changed, in order. A mark's position never changes; readers keep positions as their tokens. */
export type Journal = {
  mark(mark: Mark): void
  at(position: number): Mark | undefined
  size(): number
  /** From now on marks are kept: what a tenant is filled with at the start is no change. */
  start(): void
  /** Back to before `start`. */
  clear(): void
  copy(): Journal
  /** Told of each mark when it is kept; replaces who was told before. */
  listen(listener: (mark: Mark, position: number) => void): void
}

/** Starts without keeping anything. */
export function createJournal(kept: readonly Mark[] = [], isKeeping = false): Journal {
  let marks = [...kept]
  let keeping = isKeeping
  let tell: ((mark: Mark, position: number) => void) | undefined
  return {
    mark(mark) {
      if (!keeping) return
      marks.push(mark)
      tell?.(mark, marks.length - 1)
    },
    at: (position) => marks[position],
    size: () => marks.length,
    start() {
      keeping = true
    },
    clear() {
      marks = []
      keeping = false
    },
    copy: () => createJournal(marks, keeping),
    listen(listener) {
      tell = listener
    },
  }
}
