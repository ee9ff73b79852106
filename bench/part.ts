/** What a part may use. The server's settings are PostgreSQL's own: a commit waits for the disk. */
export type BenchContext = {
  /** A migrated database of the part's own, empty when it starts. */
  databaseUrl: string
  /** One line for a person who waits; goes to stderr. */
  progress: (line: string) => void
}

/** One line of the table: something of ours beside its floor, both measured in this run, turn by turn. */
export type BenchRow = {
  name: string
  unit: 'ms' | 'per s' | 'MB' | ''
  value: number
  floor: number
  /** What the floor is. */
  against: string
  /** The ratio value / floor that the line is to keep; absent where the line only informs. */
  goal?: { atMost: number } | { atLeast: number }
}

/** Something that has to be true rather than fast. A failed one makes the command exit with 1. */
export type BenchCheck = { name: string; passed: boolean; detail: string }

export type BenchReport = {
  rows: BenchRow[]
  checks: BenchCheck[]
  /** What a reader has to know about the numbers. */
  notes: string[]
}

/** A named part of `npm run bench`; registered in `main.ts`. */
export type BenchPart = {
  name: string
  /** One line for `--help`. */
  summary: string
  run: (context: BenchContext) => Promise<BenchReport>
}

export function ratioOf(row: BenchRow): number {
  return row.value / row.floor
}

/** Undefined where the row has no goal. */
export function goalMet(row: BenchRow): boolean | undefined {
  if (!row.goal) return undefined
  return 'atMost' in row.goal ? ratioOf(row) <= row.goal.atMost : ratioOf(row) >= row.goal.atLeast
}
