import { type JsonObject, messageOf } from '@hanse/contract'
import { type FobsValue, joinBytes } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { type InMemoryRunOptions, runInMemory, type Trainer } from '../../test/in-memory-run.ts'
import { decodeObjectFile, encodeObjectFile } from '../codecs/object-file.ts'
import { Bin, Histogram, histogramTypeEnum, StatisticConfig } from '../codecs/statistics.ts'
import { withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'

const SITES = ['site-1', 'site-2']
const DATA: Readonly<Record<string, readonly number[]>> = {
  'site-1': [1, 2, 3, 4, 5, 6],
  'site-2': [2, 4, 9],
}

const config = (statistics: JsonObject, args: JsonObject = {}): JsonObject => ({
  format_version: 2,
  workflows: [
    {
      id: 'statistics',
      name: 'StatisticsController',
      args: { statistic_configs: statistics, writer_id: 'writer', ...args },
    },
  ],
  components: [{ id: 'writer', name: 'JsonStatsFileWriter', args: { output_path: 'out/s.json' } }],
})

const targetsOf = (data: Shareable): StatisticConfig[] => {
  const bytes = data.content.get('statistics')
  const targets = bytes instanceof Uint8Array ? decodeObjectFile(bytes) : null
  if (!Array.isArray(targets)) throw new Error('the task names no statistics')
  return targets.filter((item: unknown) => item instanceof StatisticConfig)
}
const given = (data: Shareable, key: string): number => {
  const values = data.content.get(key)
  const features = values instanceof Map ? values.get('all') : undefined
  return features instanceof Map ? Number(features.get('x')) : Number.NaN
}

function compute(
  data: Shareable,
  name: string,
  x: readonly number[],
  options: FobsValue,
): FobsValue {
  const sum = x.reduce((a, b) => a + b, 0)
  switch (name) {
    case 'count':
      return x.length
    case 'failure_count':
      return 0
    case 'sum':
      return sum
    case 'mean':
      return sum / x.length
    case 'min':
      return Math.min(...x)
    case 'max':
      return Math.max(...x)
    case 'var':
      return (
        x.reduce((all, v) => all + (v - given(data, 'global_mean')) ** 2, 0) /
        (given(data, 'global_count') - 1)
      )
    case 'stddev':
      return 1
    default: {
      const [low, high] = [given(data, 'min'), given(data, 'max')]
      const all = options instanceof Map ? options.get('*') : undefined
      const count = all instanceof Map ? Number(all.get('bins')) : Number.NaN
      const width = (high - low) / count
      const bins = Array.from({ length: count }, (_, i) => {
        const inside = x.filter((v) => Math.min(Math.floor((v - low) / width), count - 1) === i)
        return new Bin(low + i * width, low + (i + 1) * width, inside.length)
      })
      return new Histogram(histogramTypeEnum.member('STANDARD'), bins)
    }
  }
}

const answer = (data: Shareable, statistics: FobsValue): Shareable => {
  const key = String(data.content.get('fed_stats_task_key'))
  const map = new Map<string, FobsValue>([
    ['fed_stats_task_key', key],
    [key, joinBytes(encodeObjectFile(statistics))],
  ])
  return withDxo({ kind: 'STATISTICS', data: new Shareable(new Map(), map), meta: new Map() })
}

/** What StatisticsExecutor does, over one feature. */
const site: Trainer = ({ name, data }, who) => {
  const targets = targetsOf(data)
  if (name === 'fed_stats_pre_run')
    return withDxo({ kind: 'STATISTICS', data: new Map([['ok', true]]), meta: new Map() })
  const statistics = new Map<string, FobsValue>()
  for (const target of [...targets, new StatisticConfig('count', new Map())]) {
    const value = compute(data, target.name, DATA[who]!, new Map(target.config))
    statistics.set(target.name, new Map([['all', new Map([['x', value]])]]))
  }
  return answer(data, statistics)
}

const run = (
  trainer: Trainer,
  statistics: JsonObject,
  args: JsonObject = {},
  rest: Partial<InMemoryRunOptions> = {},
) => runInMemory({ sites: SITES, config: config(statistics, args), trainer, ...rest })
const failure = (running: Promise<unknown>): Promise<string> =>
  running.then(() => 'no failure', messageOf)
const coded = (code: string): Shareable => new Shareable(new Map([[HEADER.returnCode, code]]))

const ALL = { count: {}, sum: {}, mean: {}, var: {}, stddev: {}, failure_count: {} }

describe('StatisticsController', () => {
  it('writes what the sites sent, and what it makes for all of them together', async () => {
    const { files } = await run(site, { ...ALL, histogram: { '*': { bins: 2 } } })
    const report = JSON.parse(files.text('out/s.json'))
    const all = [...DATA['site-1']!, ...DATA['site-2']!]
    const variance = all.reduce((sum, v) => sum + (v - 4) ** 2, 0) / (all.length - 1)
    expect(report.x).toMatchObject({
      count: { 'site-1': { all: 6 }, 'site-2': { all: 3 }, Global: { all: 9 } },
      sum: { Global: { all: 36 } },
      mean: { 'site-1': { all: 3.5 }, 'site-2': { all: 5 }, Global: { all: 4 } },
      failure_count: { Global: { all: 0 } },
      var: { Global: { all: expect.closeTo(variance, 4) } },
      stddev: { 'site-1': { all: 1 }, Global: { all: expect.closeTo(Math.sqrt(variance), 4) } },
      histogram: {
        'site-2': {
          all: [
            [1, 5, 2],
            [5, 9, 1],
          ],
        },
        Global: {
          all: [
            [1, 5, 6],
            [5, 9, 3],
          ],
        },
      },
    })
    expect(Object.keys(report)).toEqual(['x'])
  })

  it('tells sites beforehand what it will ask, and asks in two passes', async () => {
    const asked: unknown[] = []
    const trainer: Trainer = (task, who) => {
      const { content } = task.data
      if (who === 'site-1')
        asked.push([
          task.name,
          content.get('fed_stats_task_key'),
          targetsOf(task.data).map(({ name }) => name),
          [...content.keys()].filter((key) => /min|max|global/.test(key)).sort(),
        ])
      return site(task, who)
    }
    await run(trainer, {
      count: {},
      mean: {},
      sum: {},
      stddev: {},
      histogram: { '*': { bins: 2 } },
    })
    expect(asked).toEqual([
      ['fed_stats_pre_run', undefined, ['count', 'sum', 'mean', 'stddev', 'histogram'], []],
      ['fed_stats', 'fed_stats_1st_statistics', ['count', 'sum', 'mean', 'min', 'max'], []],
      [
        'fed_stats',
        'fed_stats_2nd_statistics',
        ['var', 'stddev', 'histogram'],
        ['global_count', 'global_mean', 'max', 'min'],
      ],
    ])
    asked.length = 0
    await run(trainer, { count: {} }, { enable_pre_run_task: false })
    expect(asked.map((item) => (item as unknown[])[0])).toEqual(['fed_stats', 'fed_stats'])
  })

  it('computes a deviation for jobs that do not ask for a mean', async () => {
    const { files } = await run(site, { stddev: {} })
    const report = JSON.parse(files.text('out/s.json'))
    expect(Object.keys(report.x)).toEqual(['stddev'])
    expect(report.x.stddev.Global.all).toBeCloseTo(Math.sqrt(48 / 8), 3)
  })

  it.each(['EXECUTION_EXCEPTION', 'TASK_RESULT_FILTER_ERROR', 'TASK_DATA_FILTER_ERROR'])(
    'fails with the site that answers %s',
    async (code) => {
      const trainer: Trainer = (task, who) => (who === 'site-2' ? coded(code) : site(task, who))
      expect(await failure(run(trainer, ALL, { min_clients: 1 }))).toBe(
        `site 'site-2' has no statistics: ${code}`,
      )
    },
  )

  it.each<[string, (data: Shareable) => Shareable]>([
    ['has a bad result', () => coded('EXECUTION_RESULT_ERROR')],
    ['answers with a model', () => withDxo({ kind: 'WEIGHTS', data: new Map(), meta: new Map() })],
    ['sends bytes that are no statistics', (data) => answer(data, 'rubbish')],
    ['sends a text for a count', (data) => answer(data, new Map([['count', 'many']]))],
    [
      'sends a text for a value',
      (data) => answer(data, new Map([['count', new Map([['all', new Map([['x', 'many']])]])]])),
    ],
  ])('does without a site that %s, if enough others are left', async (_, bad) => {
    const trainer: Trainer = (task, who) =>
      who === 'site-2' && task.name === 'fed_stats' ? bad(task.data) : site(task, who)
    const { files } = await run(trainer, ALL, { min_clients: 1 })
    expect(JSON.parse(files.text('out/s.json')).x.count).toEqual({
      'site-1': { all: 6 },
      Global: { all: 6 },
    })
    expect(await failure(run(trainer, ALL))).toContain('came from 1 sites, 2 are needed')
  })

  it('has no result when a data set is at too few sites, or nobody sent anything', async () => {
    const elsewhere: Trainer = async (task, who) => {
      if (who === 'site-1' || task.name !== 'fed_stats') return site(task, who)
      return answer(task.data, new Map([['count', new Map([['all', new Map()]])]]))
    }
    expect(await failure(run(elsewhere, { count: {} }))).toContain('data set "all" is at 1 sites')
    const nobody: Trainer = () => coded('EXECUTION_RESULT_ERROR')
    expect(await failure(run(nobody, ALL))).toBe('no site sent any statistics')
  })

  it('leaves out what a site could not compute', async () => {
    const trainer: Trainer = (task, who) =>
      who === 'site-2' && task.name === 'fed_stats'
        ? answer(
            task.data,
            new Map([
              [
                'sum',
                new Map([
                  [
                    'all',
                    new Map([
                      ['x', null],
                      ['y', 3],
                    ]),
                  ],
                ]),
              ],
            ]),
          )
        : site(task, who)
    const { files } = await run(trainer, { sum: {} }, { min_clients: 1 })
    const report = JSON.parse(files.text('out/s.json'))
    expect(report.x.sum).toEqual({ 'site-1': { all: 21 }, Global: { all: 21 } })
    expect(report.y.sum).toEqual({ 'site-2': { all: 3 }, Global: { all: 3 } })
  })

  it.each<[string, JsonObject, JsonObject, string]>([
    ['no statistic', {}, {}, 'at least one statistic'],
    ['one that is not there', { median: {} }, {}, 'median'],
    ['a histogram without bins', { histogram: { '*': {} } }, {}, 'bins'],
    ['a writer that is not there', ALL, { writer_id: 'nobody' }, 'has no statistics writer'],
  ])('refuses a job with %s', async (_, statistics, args, message) => {
    expect(await failure(run(site, statistics, args))).toContain(message)
  })

  it.each(['/etc/passwd', '../out.json', ''])('does not write to %j', async (path) => {
    const base = config(ALL)
    const components = [{ id: 'writer', name: 'JsonStatsFileWriter', args: { output_path: path } }]
    expect(await failure(run(site, ALL, {}, { config: { ...base, components } }))).toContain(
      'below the folder of the run',
    )
  })
})
