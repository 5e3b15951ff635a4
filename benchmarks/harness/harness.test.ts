import { describe, expect, it } from 'vitest'
import { parseArguments } from './arguments.ts'
import type { Benchmark } from './benchmark.ts'
import { figure, ratioAtLeast, ratioAtMost } from './figure.ts'
import { withResults } from './performance-page.ts'
import { processTree } from './process-watch.ts'
import type { Report } from './report.ts'
import { spreadOf } from './spread.ts'
import { alignedTable, FIGURE_COLUMNS, figureRows, short } from './table.ts'

const none = async () => []
const BENCHMARKS: Benchmark[] = [
  {
    name: 'round',
    summary: 'rounds',
    options: { mb: { default: '16', values: ['1', '16'] }, sites: { default: '2' } },
    small: [{ mb: '1' }, {}],
    full: [{ mb: '16', sites: '8' }],
    run: none,
  },
  { name: 'fobs', summary: 'values', options: {}, run: none },
]

describe('a spread', () => {
  it.each([
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[7], 7],
  ])('of %j has the median %d', (values, median) => {
    expect(spreadOf(values)).toEqual({
      median,
      min: Math.min(...values),
      max: Math.max(...values),
      repetitions: values.length,
    })
  })

  it.each([[[]], [[1, Number.NaN]], [[Infinity]]])('of %j is refused', (values) => {
    expect(() => spreadOf(values)).toThrow(RangeError)
  })
})

describe('a figure', () => {
  it.each([
    [ratioAtMost(0.5), [1], true],
    [ratioAtMost(0.5), [1.1], false],
    [ratioAtLeast(0.5), [1], true],
    [ratioAtLeast(0.6), [1], false],
  ])('held to %j with %j against 2 is met: %s', (target, values, met) => {
    expect(figure('a', { unit: 's', values, baselines: { stock: [2] }, target }).met).toBe(met)
  })

  it('is held against its first baseline only', () => {
    const options = { unit: 's', values: [1], target: ratioAtMost(0.5) }
    const baselines = { stock: undefined, bare: [100] }
    const made = figure('a', { ...options, baselines })
    expect(made.met).toBeUndefined()
    expect(made.baselines).toMatchObject([{ name: 'bare', ratio: 0.01 }])
  })
})

describe('a baseline of nothing', () => {
  it('is left out: no ratio to it says anything', () => {
    expect(figure('a', { unit: 's', values: [1], baselines: { stock: [0] } }).baselines).toEqual([])
  })
})

describe('the command line', () => {
  const runs = (...args: string[]) => {
    const wanted = parseArguments(args, BENCHMARKS)
    if (wanted.action !== 'run') throw new Error('nothing to run')
    return wanted.runs.map(({ benchmark, options }) => [benchmark.name, options])
  }

  it('runs everything in the small size when nothing is named', () => {
    expect(runs()).toEqual([
      ['round', { mb: '1', sites: '2' }],
      ['round', { mb: '16', sites: '2' }],
      ['fobs', {}],
    ])
  })

  it('runs the full size to write, and what is asked for', () => {
    expect(runs('round', '--write')).toEqual([['round', { mb: '16', sites: '8' }]])
    expect(runs('round', '--mb', '1', '--write')).toEqual([['round', { mb: '1', sites: '2' }]])
  })

  it.each([
    [['nothing'], "no benchmark 'nothing'"],
    [['round', '--mb', '2'], '--mb 2 is not possible: 1, 16'],
    [['round', '--sites', '0'], '--sites 0 is not possible: a whole number from 1'],
    [['fobs', '--mb', '1'], 'fobs has no option --mb'],
    [['--mb', '1'], 'need the name of one benchmark'],
    [['--unheard'], '--unheard'],
  ])('refuses %j and says why', (args, reason) => {
    expect(() => parseArguments(args, BENCHMARKS)).toThrow(reason)
  })
})

describe('what is shown', () => {
  it.each([
    [0, '0'],
    [0.012345, '0.0123'],
    [1.2345, '1.23'],
    [123.45, '123'],
    [12345.6, '12346'],
  ])('%d is short as %s', (value, text) => {
    expect(short(value)).toBe(text)
  })

  it('is a table with columns of one width', () => {
    const lines = alignedTable(
      ['name', 'n'],
      [
        ['a', '1'],
        ['longer', '100'],
      ],
    ).split('\n')
    expect(lines).toEqual(['name      n', 'a         1', 'longer  100'])
  })

  it('has one row for each baseline', () => {
    const rows = figureRows(
      figure('a', { unit: 's', values: [1, 2, 3], baselines: { stock: [4], bare: [1] } }),
    )
    expect(rows).toHaveLength(2)
    expect(rows.every((row) => row.length === FIGURE_COLUMNS.length)).toBe(true)
    expect(rows[0]).toContain('× 0.500')
  })
})

describe('the published page', () => {
  const report: Report = {
    benchmark: 'round',
    options: { mb: '1' },
    figures: [figure('a round', { unit: 's', values: [1, 2, 3] })],
    machine: {
      ...{ node: '26', openssl: '3.5', hanse: '0.1', commit: 'c', nvflare: '2.9.0', numpy: '2' },
      ...{ python: '3', kernel: '6', cpu: 'a cpu', cores: 2, memoryGb: 8, load: 0 },
    },
    at: '2026-01-02T03:04:05.000Z',
  }
  const page = `before\n<!-- results: written by npm run bench -- --write -->\nold\n<!-- end of results -->\nafter\n`

  it('keeps what people wrote and replaces the results, however often', () => {
    const once = withResults(page, [report])
    expect(once).toMatch(/^before\n/)
    expect(once).toMatch(/\nafter\n$/)
    expect(once).not.toContain('old')
    expect(once).toContain('### round --mb 1')
    expect(once).toContain('Node 26')
    expect(withResults(once, [report])).toBe(once)
  })

  it('is not written without its marks', () => {
    expect(() => withResults('nothing', [report])).toThrow('has no part')
  })
})

describe('a tree of processes', () => {
  it('has the process itself', () => {
    expect(processTree(process.pid)).toContain(process.pid)
  })
})
