import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { MATRIX_FILE, type Matrix, type MatrixRow } from './support/matrix.ts'

const PAGE = fileURLToPath(new URL('../docs/compatibility.md', import.meta.url))
const BEGIN = '<!-- from here to the end mark: interop/compatibility-table.ts -->'
const END = '<!-- end -->'

/**
 * Writes what the last run of `npm run test:interop` has shown into `docs/compatibility.md`; with `--check` it only
 * compares, and fails when the page says something else.
 */
async function main(args: readonly string[]): Promise<void> {
  const matrix = JSON.parse(await readFile(MATRIX_FILE, 'utf8')) as Matrix // written by the reporter
  const unproven = matrix.rows.filter(({ result }) => result !== 'passed')
  if (matrix.rows.length === 0 || unproven.length > 0)
    throw new Error(
      `the last run did not pass whole: ${unproven.map(({ claim, result }) => `${claim} (${result})`).join('; ')}`,
    )
  const page = await readFile(PAGE, 'utf8')
  const [before, rest] = split(page, BEGIN)
  const [, after] = split(rest, END)
  const written = `${before}${BEGIN}\n${tables(matrix)}\n${END}${after}`
  if (!args.includes('--check')) return writeFile(PAGE, written)
  if (written !== page)
    throw new Error('docs/compatibility.md is not what the last run has shown; generate it anew')
}

function split(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark)
  if (at < 0) throw new Error(`docs/compatibility.md has no ${mark}`)
  return [text.slice(0, at), text.slice(at + mark.length)]
}

/** One table for each area, in the order of the areas' first rows. */
function tables({ flare, rows }: Matrix): string {
  const areas = new Map<string, MatrixRow[]>()
  const sorted = rows.toSorted((a, b) => (a.area < b.area ? -1 : a.area > b.area ? 1 : 0))
  for (const row of sorted) areas.set(row.area, [...(areas.get(row.area) ?? []), row])
  return [...areas]
    .map(([area, claims]) =>
      [
        '',
        `| ${cell(area)} | FLARE ${flare ?? 'unknown'} |`,
        '|---|---|',
        ...claims.map(({ claim, result }) => `| ${cell(claim)} | ${result} |`),
      ].join('\n'),
    )
    .join('\n')
    .trimStart()
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

await main(process.argv.slice(2))
