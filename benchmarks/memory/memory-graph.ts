import { LINES, type Line, type MemoryCurves, peakOf } from './memory-curves.ts'

/** One panel of the graph. */
export interface MemoryPanel {
  readonly mb: number
  readonly sites: number
  readonly curves: MemoryCurves
}

/** What the graph holds its lines to. */
export const TARGET_MB = 400

export interface GraphSize {
  readonly mb: readonly number[]
  readonly sites: readonly number[]
}

const TEXT: Readonly<Record<Line, string>> = {
  serverTogether: 'server and its jobs’ processes',
  serverJob: 'server job alone',
  siteTogether: 'site and its jobs’ processes (largest of all sites)',
  siteJob: 'site job alone',
}

const WIDTH = 270
const HEIGHT = 150
const GAP = { x: 52, y: 62 }
const MARGIN = { left: 64, top: 104, right: 20, bottom: 62 }
const STEP_MB = 100

const STYLE = `
    .page { fill: #ffffff } .text { fill: #24292f } .quiet { fill: #59636e }
    .grid { stroke: #d8dee4; fill: none } .target { stroke: #b3261e; stroke-dasharray: 6 4; fill: none }
    .line { fill: none; stroke-linejoin: round }
    .serverTogether, .serverJob { stroke: #0b62c4 } .siteTogether, .siteJob { stroke: #a8500a }
    .serverTogether, .siteTogether { stroke-width: 2 } .serverJob, .siteJob { stroke-width: 1; stroke-dasharray: 2 2 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } .text { fill: #e6edf3 } .quiet { fill: #9198a1 }
      .grid { stroke: #2f3742 } .target { stroke: #ff8a80 }
      .serverTogether, .serverJob { stroke: #6cb0ff } .siteTogether, .siteJob { stroke: #f5a35c }
    }`

/**
 * The graph of memory over time as SVG: a row for each size of model, a column for each number of sites, one scale of
 * MB for all. It follows the reader's choice of light or dark.
 * @param caption one line below it
 */
export function memoryGraph(
  panels: readonly MemoryPanel[],
  { mb: rows, sites: columns }: GraphSize,
  caption: string,
): string {
  const width = MARGIN.left + columns.length * (WIDTH + GAP.x) - GAP.x + MARGIN.right
  const height = MARGIN.top + rows.length * (HEIGHT + GAP.y) - GAP.y + MARGIN.bottom
  const largest = Math.max(TARGET_MB, ...panels.flatMap(({ curves }) => peaks(curves)))
  const topMb = Math.ceil((largest + 1) / STEP_MB) * STEP_MB
  const parts = rows.flatMap((mb, row) =>
    columns.map((sites, column) => {
      const x = MARGIN.left + column * (WIDTH + GAP.x)
      const y = MARGIN.top + row * (HEIGHT + GAP.y)
      const curves = panels.find((it) => it.mb === mb && it.sites === sites)?.curves
      const title = `${sizeText(mb)} model, ${sites} sites`
      return `  <g transform="translate(${x} ${y})">\n${panel(title, curves, topMb)}\n  </g>`
    }),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="11" role="img" aria-label="Memory of a league's processes over time">
  <style>${STYLE}
  </style>
  <rect class="page" width="${width}" height="${height}"/>
  <text class="text" x="${MARGIN.left}" y="28" font-size="16" font-weight="600">Memory over time while models go to all sites and back</text>
${legend()}
${parts.join('\n')}
  <text class="quiet" x="${MARGIN.left}" y="${height - 14}">${escaped(caption)}</text>
</svg>
`
}

function legend(): string {
  const entry = (x: number, y: number, style: string, text: string) =>
    `  <path class="${style}" d="M${x} ${y}h26"/><text class="text" x="${x + 33}" y="${y + 4}">${escaped(text)}</text>`
  const at = {
    serverTogether: [0, 50],
    serverJob: [330, 50],
    siteTogether: [0, 68],
    siteJob: [330, 68],
  }
  return [
    ...LINES.map((line) => {
      const [x = 0, y = 0] = at[line]
      return entry(MARGIN.left + x, y, `line ${line}`, TEXT[line])
    }),
    entry(MARGIN.left + 540, 50, 'target', `target: ${TARGET_MB} MB`),
  ].join('\n')
}

function panel(title: string, curves: MemoryCurves | undefined, topMb: number): string {
  const y = (mb: number) => tenths(HEIGHT - (mb / topMb) * HEIGHT)
  const marks = Array.from({ length: topMb / STEP_MB + 1 }, (_, i) => i * STEP_MB)
  const shown = marks.filter((mb) => topMb <= 6 * STEP_MB || mb % (2 * STEP_MB) === 0)
  const head = `    <text class="text" y="-10" font-weight="600">${escaped(title)}</text>`
  const middle = `x="${WIDTH / 2}" text-anchor="middle"`
  if (curves === undefined)
    return `${head}\n    <rect class="grid" width="${WIDTH}" height="${HEIGHT}"/>\n    <text class="quiet" ${middle} y="${HEIGHT / 2}">not measured</text>`
  const end = Math.max(1, curves.seconds.at(-1) ?? 0)
  const x = (seconds: number) => tenths((seconds / end) * WIDTH)
  const [server, site] = peaks(curves)
  const path = (line: Line) =>
    curves[line].map((mb, i) => `${i === 0 ? 'M' : 'L'}${x(curves.seconds[i]!)} ${y(mb)}`).join('')
  return [
    head,
    `    <text class="quiet" x="${WIDTH}" y="-10" text-anchor="end">peaks ${Math.round(server!)} and ${Math.round(site!)} MB</text>`,
    ...shown.map(
      (mb) =>
        `    <path class="grid" d="M0 ${y(mb)}h${WIDTH}"/><text class="quiet" x="-6" y="${y(mb) + 4}" text-anchor="end">${mb}</text>`,
    ),
    ...ticks(end).map(
      (seconds) =>
        `    <path class="grid" d="M${x(seconds)} ${HEIGHT}v4"/><text class="quiet" x="${x(seconds)}" y="${HEIGHT + 16}" text-anchor="middle">${seconds}</text>`,
    ),
    `    <text class="quiet" ${middle} y="${HEIGHT + 31}">seconds since the job was submitted</text>`,
    `    <text class="quiet" transform="translate(-40 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">RSS, MB</text>`,
    `    <path class="target" d="M0 ${y(TARGET_MB)}h${WIDTH}"/>`,
    ...LINES.map((line) => `    <path class="line ${line}" d="${path(line)}"/>`),
  ].join('\n')
}

/** Of what belongs together: server, site. */
function peaks(curves: MemoryCurves): number[] {
  return [peakOf(curves, 'serverTogether'), peakOf(curves, 'siteTogether')]
}

/** Round numbers from 0 to `end`, four to eight of them. */
function ticks(end: number): number[] {
  const rough = end / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= rough) ?? rough
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => tenths(i * step))
}

function sizeText(mb: number): string {
  return mb < 1024 ? `${mb} MB` : `${mb / 1024} GB`
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
