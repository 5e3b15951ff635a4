import type { Cell } from '@hanse/cellnet'
import type { Clock, Logger } from '@hanse/contract'
import { notifyAux, type PublicProperties, Shareable } from '@hanse/session'
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

const TOPIC = 'fed.event'
const EVENT = 'fed.analytix_log_stats'

/** Sends a trainer's numbers to the server as stock's analytics events (`spec/client-api.md` §6), in order. */
export function createMetricReporter(
  { cell, clock, logger }: MetricReporterComponents,
  { serverCell, site, ownProperties, maxWaiting = 1000 }: MetricReporterOptions,
): (metric: TrainerMetric) => void {
  let waiting = 0
  let last: Promise<unknown> = Promise.resolve()

  return (metric) => {
    if (waiting >= maxWaiting) {
      logger.debug('metric dropped: too many wait', { key: metric.key })
      return
    }
    waiting += 1
    last = last
      .then(() => notifyAux(cell, serverCell, TOPIC, eventOf(metric), ownProperties, { optional: true }))
      .catch((error: unknown) => logger.debug('metric not sent', { error }))
      .finally(() => {
        waiting -= 1
      })
  }

  function eventOf({ key, value, step }: TrainerMetric): Shareable {
    const event = new Shareable()
    event.headers.set('_event_type', EVENT)
    event.headers.set('_origin', site)
    event.headers.set('_timestamp', clock.now() / 1000)
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
