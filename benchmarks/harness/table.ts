import type { Figure, Target } from './figure.ts'
import type { Spread } from './spread.ts'

/** Heads of the columns that `figureRow` fills. */
export const FIGURE_COLUMNS = [
  'figure',
  'median',
  'min … max',
  'unit',
  'baseline',
  'its median',
  'ratio',
  'target',
  '',
]

/** One row for each baseline of a figure, the first with the figure itself. */
export function figureRows(figure: Figure): string[][] {
  const { name, unit, value, baselines, target, met } = figure
  const verdict = met === undefined ? '' : met ? 'met' : 'missed'
  const own = [name, short(value.median), range(value), unit]
  const rows = baselines.map(({ name: baseline, value: its, ratio }, index) => [
    ...(index === 0 ? own : ['', '', '', '']),
    baseline,
    short(its.median),
    `× ${short(ratio)}`,
    index === 0 ? targetText(target, unit) : '',
    index === 0 ? verdict : '',
  ])
  return rows.length > 0 ? rows : [[...own, '–', '', '', targetText(target, unit), verdict]]
}

/** Rows under their heads, in columns as wide as their widest cell. */
export function alignedTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const isNumeric = heads.map((_, column) =>
    rows.every((row) => /^[×\d. ]*$/.test(row[column] ?? '')),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        isNumeric[column] === true ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  return [line(heads), ...rows.map(line)].join('\n')
}

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  if (value === 0) return '0'
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(digits, 6))
}

function range({ min, max, repetitions }: Spread): string {
  return repetitions === 1 ? 'once' : `${short(min)} … ${short(max)}`
}

function targetText(target: Target | undefined, unit: string): string {
  if (target === undefined) return ''
  const sign = target.bound === 'at most' ? '≤' : '≥'
  return target.of === 'ratio' ? `${sign} × ${target.limit}` : `${sign} ${target.limit} ${unit}`
}
