import { readFile, writeFile } from 'node:fs/promises'
import type { Machine } from './machine.ts'
import { optionText, type Report } from './report.ts'
import { FIGURE_COLUMNS, figureRows } from './table.ts'

const PAGE = new URL('../../docs/performance.md', import.meta.url)
/** The published reports themselves, from which the page is made. */
const RESULTS = new URL('../results.json', import.meta.url)
const BEGIN = '<!-- results: written by npm run bench -- --write -->'
const END = '<!-- end of results -->'

/** Puts a report in the place of the last one of the same benchmark and options, and makes the page anew. */
export async function publish(report: Report): Promise<void> {
  const reports = await readReports()
  const title = titleOf(report)
  const at = reports.findIndex((other) => titleOf(other) === title)
  if (at === -1) reports.push(report)
  else reports[at] = report
  await writeFile(RESULTS, `${JSON.stringify(reports, null, 2)}\n`)
  const page = await readFile(PAGE, 'utf8')
  await writeFile(PAGE, withResults(page, reports))
}

/**
 * The page with its part between the marks replaced.
 * @throws {Error} when a mark is not there
 */
export function withResults(page: string, reports: readonly Report[]): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin === -1 || end < begin) throw new Error(`the page has no part '${BEGIN} … ${END}'`)
  const parts = reports.map(section).join('\n')
  return `${page.slice(0, begin)}${BEGIN}\n\n${parts}\n${page.slice(end)}`
}

async function readReports(): Promise<Report[]> {
  try {
    return JSON.parse(await readFile(RESULTS, 'utf8')) as Report[] // written by `publish`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function titleOf({ benchmark, options }: Report): string {
  return `${benchmark} ${optionText(options)}`.trim()
}

function section(report: Report): string {
  const rows = report.figures.flatMap(figureRows)
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [
    `### ${titleOf(report)}`,
    '',
    line(FIGURE_COLUMNS),
    line(FIGURE_COLUMNS.map(() => '---')),
    ...rows.map(line),
    '',
    `${report.at.slice(0, 10)}, ${machineText(report.machine)}`,
    '',
  ].join('\n')
}

function machineText(it: Machine): string {
  return (
    `Hanse ${it.hanse} (${it.commit}), Node ${it.node}, OpenSSL ${it.openssl}; nvflare ${it.nvflare}, ` +
    `NumPy ${it.numpy}, Python ${it.python}; Linux ${it.kernel}, ${it.cpu}, ${it.cores} cores, ` +
    `${it.memoryGb} GB, load ${it.load}`
  )
}
