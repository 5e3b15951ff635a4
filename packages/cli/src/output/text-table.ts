import { plainLine } from './plain-text.ts'

/** Columns under their headings, two blanks apart; numbers to the right. No rows give the headings alone. */
export function textTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const cells = rows.map((row) => row.map((cell) => plainLine(cell)))
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...cells.map((row) => row[column]?.length ?? 0)),
  )
  const isNumeric = headings.map(
    (_, column) =>
      cells.length > 0 && cells.every((row) => /^-?[\d.,]+( ?%)?$/.test(row[column] ?? '')),
  )
  const line = (row: readonly string[]) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? ''
        return isNumeric[column] ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return [line(headings), ...cells.map(line)].join('\n')
}
