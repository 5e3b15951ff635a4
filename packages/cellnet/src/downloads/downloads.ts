import type { AbortOptions, Clock, Logger } from '@hanse/contract'
import type { ReportMisdeed } from '../misdeed.ts'
import type { RandomSource } from '../streams/random-source.ts'
import type { Streams } from '../streams/streams.ts'
import type { SourceFailure } from './download-messages.ts'
import type { DownloadObject } from './download-object.ts'
import {
  DEFAULT_OFFER_LIMITS,
  type DownloadOffer,
  DownloadOffers,
  type OfferLimits,
  type OfferOptions,
} from './download-offers.ts'
import { DOWNLOAD_CHANNEL, DOWNLOAD_TOPIC, SOURCE_FAILURE_TOPIC } from './download-protocol.ts'
import {
  DEFAULT_PULL_LIMITS,
  DownloadPuller,
  type PullLimits,
  type PullOptions,
  type PullSink,
  type PullSummary,
} from './download-puller.ts'

/** Collaborators of {@link createDownloads}. */
export interface DownloadsComponents {
  readonly streams: Pick<Streams, 'handle' | 'request' | 'notify'>
  readonly clock: Clock
  readonly logger: Logger
  readonly random: RandomSource
  /** Hears of those who pull what was offered to others. */
  readonly report?: ReportMisdeed | undefined
}

/** The download service of one cell, both halves. */
export interface Downloads extends Disposable {
  /**
   * Lets receivers pull objects, which are kept until every receiver is through or the offer ends otherwise.
   * @throws {CellError} `ERR_DOWNLOAD_OPTIONS`
   */
  offer(objects: readonly DownloadObject[], options: OfferOptions): DownloadOffer
  /**
   * Pulls everything behind a reference into `sink`.
   * @throws {CellError} `ERR_DOWNLOAD_*`; what the sink threw; or `signal.reason`
   */
  pull(source: string, refId: string, options: PullOptions, sink: PullSink): Promise<PullSummary>
  /**
   * Tells receivers that a source directly below this cell died, so that they need not wait for time-outs.
   * @returns the receivers that acknowledged
   */
  reportSourceFailure(
    targets: readonly string[],
    failure: SourceFailure,
    options?: AbortOptions,
  ): Promise<string[]>
}

const MAX_REQUEST_BYTES = 64 * 1024

/** Opens the download service on a cell's streams (`spec/streaming.md` §7). */
export function createDownloads(
  { streams, clock, logger, random, report }: DownloadsComponents,
  limits: Partial<OfferLimits & PullLimits> = {},
): Downloads {
  const offers = new DownloadOffers(
    { clock, logger, random, report },
    { ...DEFAULT_OFFER_LIMITS, ...limits },
  )
  const puller = new DownloadPuller(
    { streams, clock, logger },
    { ...DEFAULT_PULL_LIMITS, ...limits },
  )
  streams.handle(
    DOWNLOAD_CHANNEL,
    DOWNLOAD_TOPIC,
    (request, _value, options) => offers.serve(request, options),
    { maxBodyBytes: MAX_REQUEST_BYTES, raw: true },
  )
  streams.handle(
    DOWNLOAD_CHANNEL,
    SOURCE_FAILURE_TOPIC,
    (request) => puller.onSourceFailure(request),
    { maxBodyBytes: MAX_REQUEST_BYTES, raw: true },
  )
  return {
    offer: (objects, options) => offers.offer(objects, options),
    pull: (source, refId, options, sink) => puller.pull(source, refId, options, sink),
    reportSourceFailure: (targets, failure, options) =>
      puller.reportSourceFailure(targets, failure, options),
    [Symbol.dispose]() {
      puller[Symbol.dispose]()
      offers[Symbol.dispose]()
    },
  }
}
