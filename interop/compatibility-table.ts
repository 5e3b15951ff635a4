import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { BY_DRIVER, MATRIX_FILE, type Matrix, type MatrixRow } from './support/matrix.ts'

const PAGE = fileURLToPath(new URL('../docs/compatibility.md', import.meta.url))
const END = '<!-- end -->'

/** A part of the page between its mark and the end mark; a run that has no rows for it leaves it. */
interface Block {
  readonly mark: string
  readonly isOf: (row: MatrixRow) => boolean
  readonly text: (matrix: Matrix) => string
}

const BLOCKS: readonly Block[] = [
  {
    mark: '<!-- from here to the end mark: interop/compatibility-table.ts, drivers -->',
    isOf: ({ area }) => area === BY_DRIVER,
    text: driverTable,
  },
  {
    mark: '<!-- from here to the end mark: interop/compatibility-table.ts -->',
    isOf: ({ area }) => area !== BY_DRIVER,
    text: claimTables,
  },
]

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
  const written = BLOCKS.reduce((text, block) => withBlock(text, block, matrix), page)
  if (!args.includes('--check')) return writeFile(PAGE, written)
  if (written !== page)
    throw new Error('docs/compatibility.md is not what the last run has shown; generate it anew')
}

function withBlock(page: string, { mark, isOf, text }: Block, matrix: Matrix): string {
  const rows = matrix.rows.filter(isOf)
  if (rows.length === 0) return page
  const [before, rest] = split(page, mark)
  const [, after] = split(rest, END)
  return `${before}${mark}\n${text({ ...matrix, rows })}\n${END}${after}`
}

function split(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark)
  if (at < 0) throw new Error(`docs/compatibility.md has no ${mark}`)
  return [text.slice(0, at), text.slice(at + mark.length)]
}

/** One table for each area, in the order of the areas' first rows. */
function claimTables({ flare, rows }: Matrix): string {
  const areas = new Map<string, MatrixRow[]>()
  const sorted = rows.toSorted((a, b) => (a.area < b.area ? -1 : a.area > b.area ? 1 : 0))
  for (const row of sorted) areas.set(row.area, [...(areas.get(row.area) ?? []), row])
  return [...areas]
    .map(([area, claims]) => claimTable(area, claims, flare))
    .join('\n')
    .trimStart()
}

function claimTable(area: string, claims: readonly MatrixRow[], flare: string | null): string {
  return [
    '',
    `| ${cell(area)} | FLARE ${flare ?? 'unknown'} |`,
    '|---|---|',
    ...claims.map(({ claim, result }) => `| ${cell(claim)} | ${result} |`),
  ].join('\n')
}

/** A row for each driver and mode, a column for each kind of server: claims are `<driver>, <mode>: <server>`. */
function driverTable({ flare, rows }: Matrix): string {
  const parts = (index: number) => [
    ...new Set(rows.map(({ claim }) => claim.split(': ')[index] ?? '')),
  ]
  const links = parts(0).toSorted()
  const servers = parts(1).toSorted()
  const resultOf = (link: string, server: string) =>
    rows.find(({ claim }) => claim === `${link}: ${server}`)?.result ?? 'not run'
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [
    `${BY_DRIVER} (FLARE ${flare ?? 'unknown'}):`,
    '',
    line(['driver, mode', ...servers]),
    `|${'---|'.repeat(servers.length + 1)}`,
    ...links.map((link) => line([link, ...servers.map((server) => resultOf(link, server))])),
  ].join('\n')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

await main(process.argv.slice(2))
