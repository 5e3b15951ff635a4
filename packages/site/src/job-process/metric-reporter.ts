import type { Cell } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import type { PlaceFilterChain } from '@hanse/learning'
import {
  EVENT_TOPIC,
  notifyAux,
  type PublicProperties,
  Shareable,
  secureRandom,
} from '@hanse/session'
import type { TrainerMetric } from '../trainer/trainer-run.ts'

export interface MetricReporterComponents {
  readonly cell: Cell
  readonly clock: Clock
  readonly logger: Logger
}

export interface MetricReporterOptions {
  readonly serverCell: string
  readonly site: string
  readonly ownProperties: PublicProperties
  /** Numbers that may wait to be sent; past it the newest are dropped. Default 1000. */
  readonly maxWaiting?: number
}

const EVENT = 'fed.analytix_log_stats'
/** Numbers of one task that leave a site whose filters results must pass; more are data. */
const MAX_OBEYING = 100
/** How long a result waits for the numbers logged before it. */
const DRAIN_MS = 2_000

/** Sends a trainer's numbers to the server as stock's analytics events (`spec/client-api.md` §6), in order. */
export class MetricReporter {
  readonly #components: MetricReporterComponents
  readonly #options: Required<MetricReporterOptions>
  #waiting = 0
  #taskName = ''
  #ofTask = 0
  #rules: PlaceFilterChain | undefined
  #last: Promise<void> = Promise.resolve()

  constructor(components: MetricReporterComponents, options: MetricReporterOptions) {
    this.#components = components
    this.#options = { maxWaiting: 1_000, ...options }
  }

  /** From now on every number must pass these filters, as data of kind `ANALYTIC`, and of each task 100 at most leave. */
  obey(rules: PlaceFilterChain): void {
    this.#rules = rules
  }

  /** What is reported from now on belongs to this task. */
  beginTask(name: string): void {
    this.#taskName = name
    this.#ofTask = 0
  }

  /** Queues one number; never waits. */
  report(metric: TrainerMetric): void {
    const { cell, logger } = this.#components
    const { serverCell, ownProperties, maxWaiting } = this.#options
    if (this.#waiting >= maxWaiting) {
      logger.debug('metric dropped: too many wait', { key: metric.key })
      return
    }
    this.#ofTask += 1
    if (this.#rules !== undefined && this.#ofTask > MAX_OBEYING) {
      if (this.#ofTask === MAX_OBEYING + 1)
        logger.warn('the privacy scope lets no more numbers of this task out', {
          limit: MAX_OBEYING,
        })
      return
    }
    this.#waiting += 1
    const event = this.#eventOf(metric)
    const rules = this.#rules
    const taskName = this.#taskName
    const send = (one: Shareable) =>
      notifyAux(cell, serverCell, EVENT_TOPIC, one, ownProperties, { optional: true })
    this.#last = this.#last
      .then(() =>
        rules === undefined ? send(event) : this.#filtered(event, rules, taskName).then(send),
      )
      .catch((error: unknown) => logger.debug('metric not sent', { error }))
      .finally(() => {
        this.#waiting -= 1
      })
  }

  /** Resolves when what was reported is on its way, or after 2 s: numbers come before the result they belong to. */
  async drained(): Promise<void> {
    if (this.#waiting === 0) return
    const enough = Promise.withResolvers<void>()
    using _timer = this.#components.clock.setTimer(DRAIN_MS, enough.resolve)
    await Promise.race([this.#last, enough.promise])
  }

  #filtered(event: Shareable, rules: PlaceFilterChain, taskName: string): Promise<Shareable> {
    return rules.process(event, {
      taskName,
      direction: 'out',
      payload: 'result',
      site: this.#options.site,
      log: this.#components.logger,
      random: secureRandom,
    })
  }

  #eventOf({ key, value, step }: TrainerMetric): Shareable {
    const event = new Shareable()
    event.headers.set('_event_type', EVENT)
    event.headers.set('_origin', this.#options.site)
    event.headers.set('_timestamp', this.#components.clock.now() / 1000)
    event.headers.set('_event_id', crypto.randomUUID().replaceAll('-', ''))
    event.headers.set('_direction', 'out')
    event.headers.set('__content_type__', 'DXO')
    event.content.set(
      'DXO',
      new Map<string, string | Map<string, string | number>>([
        ['kind', 'ANALYTIC'],
        [
          'data',
          new Map<string, string | number>([
            ['track_key', key],
            ['track_value', value],
            ...(step === undefined ? [] : [['global_step', step] as const]),
          ]),
        ],
        ['meta', new Map([['analytics_data_type', 'SCALAR']])],
      ]),
    )
    return event
  }
}
