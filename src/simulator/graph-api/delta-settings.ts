import type { DirectoryIndex, IndexLag } from '../directory/index-lag.ts'
import type { Directory } from '../directory/store.ts'

/** How delta queries behave: all of it is allowed by Graph docs (delta-query-overview, delta-query-groups). */
export type DeltaSettings = {
  /** Objects on a page; Graph names no number. Default 200. */
  pageSize?: number
  /** Members a group shows on one page; more follow, with the group repeated, on the next. Default 500. */
  membersPerPage?: number
  /** Default 7 days, from when the link was given. */
  tokenLifeMs?: number
  /**
   * What a link that is too old answers: `syncStateNotFound` with 400 (the default) or 410, or `reset`, the 410 with a
   * Location that `forgetTokens` always brings.
   */
  expired?: 400 | 410 | 'reset'
  /** Whether a changed object shows all properties asked for (the default), or those that changed, as it may. */
  properties?: 'all' | 'changed'
  /** So many pages without any entry, but with a next link, come before each page. Default 0. */
  emptyPages?: number
  /** So many entries of the page before are on each page again. Default 0. */
  repeats?: number
  /** So many changes that the round before had told are in each round of changes again. Default 0. */
  replays?: number
  /** The first round tells members who left since the start, and objects that are softly deleted, as removed. */
  removedAtFirst?: boolean
}

export type DeltaControl = {
  /** Changes what is given from the next request on; what is left out stays. */
  set(settings: DeltaSettings): void
  /** How far delta queries are behind the directory. Independent of the index behind `ConsistencyLevel: eventual`. */
  lag: IndexLag
  /** Every link given so far answers 410, with a Location whose `$deltatoken` is empty: a sync reset. */
  forgetTokens(): void
}

export type Delta = DeltaControl & {
  directory(): Directory
  settings(): Required<DeltaSettings>
  /** Tokens of another generation are forgotten. */
  generation(): number
  /** As at the start, with earlier tokens forgotten. */
  restart(): void
}

const initial: Required<DeltaSettings> = {
  pageSize: 200,
  membersPerPage: 500,
  tokenLifeMs: 7 * 24 * 60 * 60 * 1000,
  expired: 400,
  properties: 'all',
  emptyPages: 0,
  repeats: 0,
  replays: 0,
  removedAtFirst: false,
}

/** Starts without any of the troubles, unless told otherwise. */
export function createDelta(index: DirectoryIndex, wanted: DeltaSettings | undefined): Delta {
  let settings = { ...initial, ...wanted }
  let generation = 0
  return {
    set(changes) {
      settings = { ...settings, ...changes }
    },
    lag: index,
    forgetTokens() {
      generation += 1
    },
    directory: () => index.current(),
    settings: () => settings,
    generation: () => generation,
    restart() {
      settings = { ...initial, ...wanted }
      generation += 1
      index.set(0)
      index.catchUp()
    },
  }
}
