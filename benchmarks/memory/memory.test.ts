import { describe, expect, it } from 'vitest'
import { SERVER } from '../../test/support/league.ts'
import type { MemoryLook } from '../harness/process-watch.ts'
import { coarser, curvesOf, type MemoryCurves, peakOf } from './memory-curves.ts'
import { memoryGraph } from './memory-graph.ts'

const process = (root: string, role: string, rssMb: number) => ({ root, role, rssMb })

const LOOKS: MemoryLook[] = [
  {
    at: 1000,
    processes: [
      process(SERVER, 'server', 100),
      process(SERVER, 'server job', 80),
      process('site-1', 'site', 90),
      process('site-2', 'site', 95),
    ],
  },
  {
    at: 3500,
    processes: [
      process(SERVER, 'server', 110),
      process(SERVER, 'server job', 200),
      process(SERVER, 'server job', 70),
      process('site-1', 'site', 90),
      process('site-1', 'site job', 150),
      process('site-1', 'trainer', 4000),
      process('site-1', 'confinement', 5),
      process('site-2', 'site', 95),
      process('site-2', 'site job', 120),
    ],
  },
]

const flat = (points: number, mb: number): MemoryCurves => {
  const line = new Array<number>(points).fill(mb)
  return {
    seconds: line.map((_, i) => i / 5),
    ...{ serverTogether: line, serverJob: line, siteTogether: line, siteJob: line },
  }
}

describe('curves of memory', () => {
  it('add up what belongs to a place, without trainers, and show the largest site', () => {
    expect(curvesOf(LOOKS)).toEqual({
      seconds: [0, 2.5],
      serverTogether: [180, 380],
      serverJob: [80, 200],
      siteTogether: [95, 240],
      siteJob: [0, 150],
    })
  })

  it('keep their peaks when they are made coarser', () => {
    const curves = flat(1000, 10)
    const peaked = { ...curves, siteJob: curves.siteJob.with(777, 99.6) }
    const coarse = coarser(peaked, 130)
    expect(coarse.seconds.length).toBeLessThanOrEqual(130)
    expect(coarse.siteJob).toHaveLength(coarse.seconds.length)
    expect(peakOf(coarse, 'siteJob')).toBe(100)
    expect(peakOf(coarse, 'serverJob')).toBe(10)
  })
})

describe('the graph of memory', () => {
  const size = { mb: [128, 2048], sites: [2, 8] }
  const graph = (...panels: Parameters<typeof memoryGraph>[0][number][]) =>
    memoryGraph(panels, size, 'a < b & c')

  it('has a panel for each size and number of sites, and says which was not measured', () => {
    const svg = graph({ mb: 128, sites: 2, curves: flat(5, 200) })
    expect(svg.match(/<g /g)).toHaveLength(4)
    expect(svg.match(/not measured/g)).toHaveLength(3)
    expect(svg).toContain('2 GB model, 8 sites')
    expect(svg).toContain('peaks 200 and 200 MB')
  })

  it('draws every line and its target to one scale, whatever the peak', () => {
    const heights = [200, 1234].map((mb) => {
      const svg = graph({ mb: 128, sites: 2, curves: flat(5, mb) })
      expect(svg.match(/class="line \w+" d="M0 /g)).toHaveLength(4)
      const line = Number(/class="line serverTogether" d="M0 ([\d.]+)L/.exec(svg)?.[1])
      const target = Number(/class="target" d="M0 ([\d.]+)h/.exec(svg)?.[1])
      expect(line).toBeGreaterThan(0)
      // The axis begins at 0, at 150 from above: equal steps for equal MB.
      expect((150 - line) / mb).toBeCloseTo((150 - target) / 400, 2)
      return line
    })
    expect(heights[1]).toBeLessThan(heights[0]!)
  })

  it('is XML without numbers that are none', () => {
    const svg = graph({ mb: 2048, sites: 8, curves: flat(1, 0) })
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
    expect(svg).toContain('a &lt; b &amp; c')
    const tags = svg.match(/<\/?[a-z]+[^<>]*>/g) ?? []
    const depth = tags.reduce((open, tag) => {
      expect(open).toBeGreaterThanOrEqual(0)
      return tag.startsWith('</') ? open - 1 : tag.endsWith('/>') ? open : open + 1
    }, 0)
    expect(depth).toBe(0)
  })
})
