import { SERVER } from '../../test/support/league.ts'
import type { MemoryLook } from '../harness/process-watch.ts'

/** MB that the processes of a league held over time, from the submission of a job to its end. */
export interface MemoryCurves {
  /** Since the submission; one for each value of a line. */
  readonly seconds: readonly number[]
  /** The server and all it started: its job's process and the one that waits for the next. */
  readonly serverTogether: readonly number[]
  readonly serverJob: readonly number[]
  /** A site and all it started but trainers, at the site that holds most at that time. */
  readonly siteTogether: readonly number[]
  readonly siteJob: readonly number[]
}

/** Which lines there are, in the order they are drawn and named in. */
export const LINES = ['serverTogether', 'serverJob', 'siteTogether', 'siteJob'] as const
export type Line = (typeof LINES)[number]

/** What belongs to the researcher's code and not to us. */
const OTHERS = new Set(['trainer', 'confinement'])

/** Adds up by place what was seen; pages that processes of a place share count at each. */
export function curvesOf(looks: readonly MemoryLook[]): MemoryCurves {
  const start = looks[0]?.at ?? 0
  const values = looks.map(({ processes }) => {
    const together = new Map<string, number>()
    const job = new Map<string, number>()
    for (const { root, role, rssMb } of processes) {
      if (OTHERS.has(role)) continue
      together.set(root, (together.get(root) ?? 0) + rssMb)
      // Of a job's process and the one that waits, the job's is the larger.
      if (role.endsWith(' job')) job.set(root, Math.max(job.get(root) ?? 0, rssMb))
    }
    return {
      serverTogether: together.get(SERVER) ?? 0,
      serverJob: job.get(SERVER) ?? 0,
      siteTogether: largestOfSites(together),
      siteJob: largestOfSites(job),
    }
  })
  return {
    seconds: looks.map(({ at }) => (at - start) / 1000),
    serverTogether: values.map((it) => it.serverTogether),
    serverJob: values.map((it) => it.serverJob),
    siteTogether: values.map((it) => it.siteTogether),
    siteJob: values.map((it) => it.siteJob),
  }
}

/** As many points or fewer; each stands for some that follow each other and has their largest values, in whole MB. */
export function coarser(curves: MemoryCurves, points: number): MemoryCurves {
  const size = Math.max(1, Math.ceil(curves.seconds.length / points))
  const starts = curves.seconds.map((_, i) => i).filter((i) => i % size === 0)
  const largest = (line: Line) =>
    starts.map((start) => Math.round(Math.max(...curves[line].slice(start, start + size))))
  return {
    seconds: starts.map((start) => Math.round(curves.seconds[start]! * 10) / 10),
    serverTogether: largest('serverTogether'),
    serverJob: largest('serverJob'),
    siteTogether: largest('siteTogether'),
    siteJob: largest('siteJob'),
  }
}

export function peakOf(curves: MemoryCurves, line: Line): number {
  return Math.max(...curves[line])
}

function largestOfSites(byPlace: ReadonlyMap<string, number>): number {
  return Math.max(0, ...[...byPlace].map(([place, mb]) => (place === SERVER ? 0 : mb)))
}
