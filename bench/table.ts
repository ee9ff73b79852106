import { goalMet, ratioOf, type BenchReport, type BenchRow } from './part.ts'

/** A part's report as text columns. */
export function formatReport(name: string, report: BenchReport): string {
  const rows = [['', 'measured', 'floor', 'ratio', 'goal', '', 'floor is'], ...report.rows.map(cells)]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column > 0 && column < 4 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
  const checks = report.checks.map(
    ({ name: check, passed, detail }) => `${passed ? 'ok    ' : 'FAILED'} ${check}: ${detail}`,
  )
  return [name, ...lines, ...checks, ...report.notes.map((note) => `- ${note}`)].join('\n')
}

function cells(row: BenchRow): string[] {
  const met = goalMet(row)
  const goal = row.goal && ('atMost' in row.goal ? `<= ${row.goal.atMost}` : `>= ${row.goal.atLeast}`)
  const unit = { ms: ' ms', 'per s': '/s', MB: ' MB', '': '' }[row.unit]
  return [
    row.name,
    `${number(row.value)}${unit}`,
    `${number(row.floor)}${unit}`,
    ratioOf(row).toFixed(2),
    goal ?? '',
    met === undefined ? '' : met ? 'met' : 'MISSED',
    row.against,
  ]
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3)
}
