import { messageOf } from '@hanse/contract'
import { type FobsValue, joinBytes } from '@hanse/fobs'
import { Shareable } from '@hanse/session'
import { encodeObjectFile } from '../codecs/object-file.ts'
import { StatisticConfig } from '../codecs/statistics.ts'
import type { Workflow } from '../components/contracts.ts'
import { isStatisticsWriter } from '../components/guards.ts'
import { needComponent } from '../components/need-component.ts'
import type { WorkflowContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { readDxo, type ValueMap } from '../model/dxo.ts'
import { type ReturnCode, taskReturnCode } from '../model/return-codes.ts'
import { firstPass, secondPass } from '../statistics/global-statistics.ts'
import {
  type ByFeature,
  readSiteStatistics,
  STATISTICS_KEY,
  Statistics,
} from '../statistics/site-statistics.ts'
import { statisticsReport } from '../statistics/statistics-report.ts'
import { awaitTask } from './await-task.ts'
import { failureText } from './result-errors.ts'

/** Arguments of StatisticsController under our names (workflows.md §10). */
export interface StatisticsControllerSettings {
  /** Statistic → its configuration by feature, `*` for all; in the order of the job. */
  readonly statistics: ReadonlyMap<string, ValueMap>
  readonly writerId: string
  /** How long the others may take after so many sites have answered. */
  readonly waitMs: number
  /** Digits after the point. */
  readonly digits: number
  /** Sites without which there is no result; 0: all. */
  readonly minClients: number
  /** Whether sites are told first what will be asked. */
  readonly preRun: boolean
}

type Pass = 'first' | 'second'

/** Errors after which stock does not go on either. */
const FATAL: ReadonlySet<ReturnCode> = new Set([
  'EXECUTION_EXCEPTION',
  'TASK_DATA_FILTER_ERROR',
  'TASK_RESULT_FILTER_ERROR',
])

const OF_PASS: Readonly<Record<Pass, ReadonlySet<string>>> = {
  first: new Set(['count', 'sum', 'mean']),
  second: new Set(['failure_count', 'histogram', 'var', 'stddev']),
}

/**
 * Computes statistics over the data of all sites in two passes: the second one needs the means and ends that the
 * first one finds. Sites send sums and histograms only, their own filters decide what of it leaves them.
 */
export class StatisticsController implements Workflow {
  readonly #settings: StatisticsControllerSettings

  constructor(settings: StatisticsControllerSettings) {
    this.#settings = settings
  }

  async run(context: WorkflowContext): Promise<void> {
    const { statistics, writerId, digits, preRun } = this.#settings
    const writer = needComponent(context, writerId, isStatisticsWriter, 'statistics writer')
    const targets = context.sites()
    const minClients = this.#settings.minClients || targets.length
    const answers = new Map<string, Statistics>()
    const post = async (name: string, data: Shareable, pass?: Pass): Promise<void> => {
      const outcome = await awaitTask(
        context.tasks.post({
          name,
          data,
          targets,
          distribution: {
            kind: 'broadcast',
            minResponses: minClients,
            waitMs: this.#settings.waitMs,
          },
          onResult: (site, result) => take(context, answers, { site, result, pass }),
        }),
        { signal: context.signal },
      )
      if (outcome.status !== 'ok')
        context.log.warn('the statistics go on without some sites', {
          status: outcome.status,
          answered: outcome.answered.length,
          asked: targets.length,
        })
    }

    if (preRun) await post('fed_stats_pre_run', asked(this.#announced()))
    await post('fed_stats', asked(this.#targets('first'), 'first'), 'first')
    const all = firstPass(sorted(answers), digits)
    await post('fed_stats', this.#second(all), 'second')
    all.update(secondPass(sorted(answers), digits))

    const missing = shortfall(answers, minClients)
    if (missing !== undefined) throw new LearningError('ERR_ROUND', missing)
    const wanted = new Set(statistics.keys())
    await writer.saveStatistics(statisticsReport(answers, all, { wanted, digits }))
    context.log.info('statistics are written', { sites: answers.size })
  }

  /** What sites are told beforehand: everything. */
  #announced(): StatisticConfig[] {
    const { statistics } = this.#settings
    return [...statistics.keys()].map((name) => this.#config(name))
  }

  #targets(pass: Pass): StatisticConfig[] {
    const { statistics } = this.#settings
    const needsMean = statistics.has('var') || statistics.has('stddev')
    const targets = [...statistics.keys()].flatMap((name) => {
      if (name === 'histogram' && pass === 'first') return this.#ends()
      if (!OF_PASS[pass].has(name)) return []
      // Deviations are made of variances.
      return name === 'stddev' && !statistics.has('var')
        ? [new StatisticConfig('var', new Map()), this.#config(name)]
        : [this.#config(name)]
    })
    // Without it sites cannot compute a variance, and stock fails.
    if (pass === 'first' && needsMean && !statistics.has('mean'))
      targets.push(new StatisticConfig('mean', new Map()))
    return targets
  }

  #second(all: Statistics): Shareable {
    const data = asked(this.#targets('second'), 'second')
    const { statistics } = this.#settings
    const add = (key: string, values: ByFeature<number> | undefined): void => {
      if (values !== undefined) data.content.set(key, values)
    }
    if (statistics.has('histogram'))
      for (const name of ['min', 'max'] as const) add(name, all.numbers.get(name))
    if (statistics.has('var') || statistics.has('stddev')) {
      add(STATISTICS_KEY.globalCount, all.numbers.get('count'))
      add(STATISTICS_KEY.globalMean, all.numbers.get('mean'))
    }
    return data
  }

  /** A histogram needs its ends first, unless the job gives them: then sites send these. */
  #ends(): StatisticConfig[] {
    const config = this.#settings.statistics.get('histogram') ?? new Map()
    return [new StatisticConfig('min', config), new StatisticConfig('max', config)]
  }

  #config(name: string): StatisticConfig {
    return new StatisticConfig(name, this.#settings.statistics.get(name) ?? new Map())
  }
}

async function take(
  { log }: WorkflowContext,
  answers: Map<string, Statistics>,
  { site, result, pass }: { site: string; result: Shareable; pass: Pass | undefined },
): Promise<void> {
  const code = taskReturnCode(result)
  if (FATAL.has(code))
    throw new LearningError(
      'ERR_RESULT',
      `site '${site}' has no statistics: ${failureText(result)}`,
    )
  if (code !== 'OK') return log.warn('a site has no statistics', { site, code })
  if (pass === undefined) return
  try {
    const statistics = readSiteStatistics(readDxo(result), pass)
    const known = answers.get(site) ?? new Statistics()
    known.update(statistics)
    answers.set(site, known)
  } catch (error) {
    log.warn('statistics of a site are not used', { site, pass, reason: messageOf(error) })
  }
}

function asked(targets: readonly StatisticConfig[], pass?: Pass): Shareable {
  const content = new Map<string, FobsValue>()
  if (pass !== undefined) content.set(STATISTICS_KEY.task, STATISTICS_KEY[pass])
  content.set(STATISTICS_KEY.targets, joinBytes(encodeObjectFile([...targets])))
  return new Shareable(new Map(), content)
}

/** In the order of their names, so that roundings come in the same order every time. */
function sorted(answers: ReadonlyMap<string, Statistics>): Statistics[] {
  return [...answers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, statistics]) => statistics)
}

/** Why there is no result: every statistic and every data set must be known from enough sites. */
function shortfall(
  answers: ReadonlyMap<string, Statistics>,
  minClients: number,
): string | undefined {
  const sitesOf = new Map<string, number>()
  const sitesWith = new Map<string, Set<string>>()
  for (const [site, { numbers, histograms }] of answers)
    for (const [name, datasets] of [
      ...numbers,
      ...(histograms === undefined ? [] : [['histogram', histograms] as const]),
    ]) {
      sitesOf.set(name, (sitesOf.get(name) ?? 0) + 1)
      for (const [dataset, features] of datasets) {
        const known = sitesWith.get(dataset) ?? new Set()
        sitesWith.set(dataset, features.size > 0 ? known.add(site) : known)
      }
    }
  if (sitesWith.size === 0) return 'no site sent any statistics'
  const rare = [...sitesOf].find(([, count]) => count < minClients)
  if (rare !== undefined)
    return `statistic "${rare[0]}" came from ${rare[1]} sites, ${minClients} are needed`
  const poor = [...sitesWith].find(([, sites]) => sites.size < minClients)
  return (
    poor &&
    `data set "${poor[0].slice(0, 80)}" is at ${poor[1].size} sites, ${minClients} are needed`
  )
}
