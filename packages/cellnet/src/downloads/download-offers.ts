import { type Clock, type Logger, messageOf } from '@hanse/contract'
import { CellError } from '../cell-error.ts'
import type { ReportMisdeed } from '../misdeed.ts'
import type { OutgoingBody } from '../streams/encoded-body.ts'
import { isAtOrBelow } from '../streams/peer-family.ts'
import { type RandomSource, randomNonce, randomUuid } from '../streams/random-source.ts'
import type { IncomingStreamRequest, OutgoingStreamReply } from '../streams/streams.ts'
import { Ticker } from '../streams/ticker.ts'
import { Tombstones } from '../streams/tombstones.ts'
import {
  type DownloadRequest,
  readDownloadRequest,
  writeEnd,
  writePiece,
} from './download-messages.ts'
import {
  createPieceProducer,
  type DownloadObject,
  type PieceProducer,
  type Produced,
} from './download-object.ts'

/** Limits of the source's half. */
export interface OfferLimits {
  /** An offer ends when nobody pulled for this long; a message's own time to live may extend it. */
  readonly idleTimeoutMs: number
  /** How long a finished reference still answers its receivers. */
  readonly tombstoneMs: number
  readonly maxTombstones: number
  readonly maxOffers: number
  readonly maxRefsPerOffer: number
  /** Cells below one declared receiver that may pull. */
  readonly maxPullersPerReceiver: number
}

export const DEFAULT_OFFER_LIMITS: OfferLimits = {
  idleTimeoutMs: 600_000,
  tombstoneMs: 1_800_000,
  maxTombstones: 10_000,
  maxOffers: 4096,
  maxRefsPerOffer: 64,
  maxPullersPerReceiver: 32,
}

/** Who may pull, and for how long. */
export interface OfferOptions {
  /** FQCNs; each of them and every cell below it may pull, nobody else. At least one. */
  readonly receivers: readonly string[]
  /** Default {@link OfferLimits.idleTimeoutMs}. */
  readonly idleTimeoutMs?: number | undefined
  /** A receiver that has not begun by then counts as failed. */
  readonly acquireTimeoutMs?: number | undefined
  /** A receiver that was quiet for this long counts as failed. */
  readonly receiverIdleTimeoutMs?: number | undefined
  /** Ids chosen by the caller, one per object; must be unpredictable. Default: random UUIDs. */
  readonly refIds?: readonly string[] | undefined
}

/** How an offer ended, by declared receiver. */
export interface OfferOutcome {
  readonly status: 'completed' | 'failed' | 'timeout' | 'cancelled'
  readonly succeeded: readonly string[]
  readonly failed: readonly string[]
}

/** Objects that receivers may pull. */
export interface DownloadOffer {
  /** One per object, in order. Secrets: whoever is a receiver needs only them. */
  readonly refIds: readonly string[]
  /** Resolves when every receiver is through, or the offer ends otherwise. Never rejects. */
  readonly ended: Promise<OfferOutcome>
  /** Ends it now: the references are forgotten. */
  cancel(): void
}

interface Pull {
  readonly receiver: string
  lastAt: number
  /** The end was served and waits for its confirmation. */
  pending: { nonce: string; succeeded: boolean } | undefined
  result: 'success' | 'failed' | undefined
}

interface Ref {
  readonly id: string
  readonly offer: Offer
  readonly producer: PieceProducer
  /** By pulling cell. */
  readonly pulls: Map<string, Pull>
}

interface Offer {
  readonly receivers: readonly string[]
  readonly refs: Ref[]
  readonly options: OfferOptions
  readonly idleTimeoutMs: number
  readonly startedAt: number
  lastRequestAt: number
  /** Receivers given up on; they count as failed. */
  readonly givenUp: Set<string>
  ended: boolean
  readonly resolve: (outcome: OfferOutcome) => void
}

const TICK_MS = 5_000
const INVALID: OutgoingStreamReply = { returnCode: 'invalid_request' }
const ACCEPTED: OutgoingStreamReply = { returnCode: 'ok' }

/**
 * The source's half of the download service (`spec/streaming.md` §7.4). Unlike the reference, a reference id alone
 * opens nothing: the pulling cell must be a declared receiver or below one.
 */
export class DownloadOffers implements Disposable {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #random: RandomSource
  readonly #report: ReportMisdeed | undefined
  readonly #limits: OfferLimits
  readonly #refs = new Map<string, Ref>()
  readonly #offers = new Set<Offer>()
  readonly #finished: Tombstones<ReadonlyMap<string, 'success' | 'failed'>>
  readonly #ticker: Ticker

  constructor(
    components: {
      clock: Clock
      logger: Logger
      random: RandomSource
      report?: ReportMisdeed | undefined
    },
    limits: OfferLimits,
  ) {
    this.#clock = components.clock
    this.#logger = components.logger
    this.#random = components.random
    this.#report = components.report
    this.#limits = limits
    this.#finished = new Tombstones(limits.maxTombstones)
    this.#ticker = new Ticker(components.clock, TICK_MS, (now) => this.#tick(now))
  }

  /** Offers that have not ended. */
  get active(): number {
    return this.#offers.size
  }

  /** @throws {CellError} `ERR_DOWNLOAD_OPTIONS` */
  offer(objects: readonly DownloadObject[], options: OfferOptions): DownloadOffer {
    const { maxOffers, maxRefsPerOffer, idleTimeoutMs } = this.#limits
    if (objects.length === 0 || objects.length > maxRefsPerOffer)
      throw new CellError(
        'ERR_DOWNLOAD_OPTIONS',
        `an offer holds 1 to ${maxRefsPerOffer} objects, got ${objects.length}`,
      )
    if (options.receivers.length === 0)
      throw new CellError('ERR_DOWNLOAD_OPTIONS', 'an offer needs at least one receiver')
    if (this.#offers.size >= maxOffers)
      throw new CellError('ERR_DOWNLOAD_OPTIONS', `more than ${maxOffers} offers at once`)
    const refIds = options.refIds ?? objects.map(() => `R${randomUuid(this.#random)}`)
    const now = this.#clock.now()
    const fresh = refIds.every(
      (id) => !this.#refs.has(id) && this.#finished.get(id, now) === undefined,
    )
    if (refIds.length !== objects.length || new Set(refIds).size !== refIds.length || !fresh)
      throw new CellError(
        'ERR_DOWNLOAD_OPTIONS',
        'every object needs a new reference id of its own',
      )

    const { promise, resolve } = Promise.withResolvers<OfferOutcome>()
    const offer: Offer = {
      receivers: [...new Set(options.receivers)],
      refs: [],
      options,
      idleTimeoutMs: options.idleTimeoutMs ?? idleTimeoutMs,
      startedAt: now,
      lastRequestAt: now,
      givenUp: new Set(),
      ended: false,
      resolve,
    }
    for (const [index, object] of objects.entries()) {
      const id = refIds[index]!
      const producer = createPieceProducer(object)
      const ref: Ref = { id, offer, producer, pulls: new Map() }
      offer.refs.push(ref)
      this.#refs.set(id, ref)
    }
    this.#offers.add(offer)
    this.#ticker.wake()
    return { refIds, ended: promise, cancel: () => this.#end(offer, 'cancelled') }
  }

  /** Answers one message of the download topic. */
  async serve(
    message: IncomingStreamRequest,
    options: { readonly signal: AbortSignal },
  ): Promise<OutgoingStreamReply> {
    let request: DownloadRequest
    try {
      request = readDownloadRequest(message.body)
    } catch (error) {
      this.#logger.debug('unreadable download request', {
        origin: message.origin,
        error: messageOf(error),
      })
      return INVALID
    }
    const { origin } = message
    const ref = this.#refs.get(request.refId)
    if (request.action === 'confirm') {
      if (ref !== undefined) this.#confirm(ref, origin, request.succeeded, request.nonce)
      return ACCEPTED
    }
    if (request.action === 'cancel') {
      if (ref !== undefined) this.#cancelBy(ref.offer, origin)
      return ACCEPTED
    }
    if (ref === undefined) return this.#answerFinished(request.refId, origin)
    return await this.#pull(ref, message, request, options)
  }

  [Symbol.dispose](): void {
    for (const offer of [...this.#offers]) this.#end(offer, 'cancelled')
    this.#ticker[Symbol.dispose]()
  }

  async #pull(
    ref: Ref,
    { origin, link }: IncomingStreamRequest,
    request: Extract<DownloadRequest, { action: 'pull' }>,
    options: { readonly signal: AbortSignal },
  ): Promise<OutgoingStreamReply> {
    const pull = this.#pullOf(ref, origin)
    // The same answer as for an unknown id: a thief learns nothing.
    if (pull === undefined) {
      this.#report?.(link, 'foreign_download', `'${origin}' pulls what was offered to others`)
      return INVALID
    }
    const now = this.#clock.now()
    ref.offer.lastRequestAt = now
    pull.lastAt = now
    if (pull.result !== undefined)
      return reply(writeEnd(pull.result === 'success' ? 'eof' : 'error', undefined))
    const { checksums } = request
    if (request.state === 'invalid') return this.#serveEnd(ref, pull, false, request.confirmCapable)
    let produced: Produced | undefined
    try {
      produced = await ref.producer.produce(request.state, { ...options, checksums })
    } catch (error) {
      this.#logger.error('producing a download failed', { origin, error: messageOf(error) })
      return { returnCode: 'process_exception', error: 'the source could not produce the data' }
    }
    if (produced === undefined) return this.#serveEnd(ref, pull, false, request.confirmCapable)
    if (produced.end) return this.#serveEnd(ref, pull, true, request.confirmCapable)
    return reply(writePiece(produced.state, produced.data, { checksums }))
  }

  #pullOf(ref: Ref, origin: string): Pull | undefined {
    const known = ref.pulls.get(origin)
    if (known !== undefined) return known
    const receiver = ref.offer.receivers
      .filter((candidate) => isAtOrBelow(origin, candidate))
      .reduce<string | undefined>(
        (longest, it) => (it.length > (longest?.length ?? 0) ? it : longest),
        undefined,
      )
    if (receiver === undefined) {
      this.#logger.warn('download refused: not one of its receivers', { origin })
      return undefined
    }
    const siblings = [...ref.pulls.values()].filter((pull) => pull.receiver === receiver)
    if (siblings.length >= this.#limits.maxPullersPerReceiver) {
      this.#logger.warn('download refused: too many cells pull for one receiver', { receiver })
      return undefined
    }
    const pull: Pull = {
      receiver,
      lastAt: this.#clock.now(),
      pending: undefined,
      result: undefined,
    }
    ref.pulls.set(origin, pull)
    return pull
  }

  #serveEnd(
    ref: Ref,
    pull: Pull,
    succeeded: boolean,
    confirmCapable: boolean,
  ): OutgoingStreamReply {
    const status = succeeded ? 'eof' : 'error'
    if (confirmCapable) {
      const nonce = randomNonce(this.#random)
      pull.pending = { nonce, succeeded }
      return reply(writeEnd(status, nonce))
    }
    // An old receiver never confirms: being served is its end.
    pull.result = succeeded ? 'success' : 'failed'
    this.#settleIfDone(ref.offer)
    return reply(writeEnd(status, undefined))
  }

  #confirm(ref: Ref, origin: string, succeeded: boolean, nonce: string): void {
    const pull = ref.pulls.get(origin)
    if (pull?.pending === undefined || pull.result !== undefined || pull.pending.nonce !== nonce) {
      this.#logger.debug('confirmation ignored', { origin })
      return
    }
    // The receiver knows best whether it could use the data.
    pull.result = succeeded && pull.pending.succeeded ? 'success' : 'failed'
    pull.pending = undefined
    ref.offer.lastRequestAt = this.#clock.now()
    this.#settleIfDone(ref.offer)
  }

  #cancelBy(offer: Offer, origin: string): void {
    const receiver = offer.refs
      .map((ref) => ref.pulls.get(origin)?.receiver)
      .find((found) => found !== undefined)
    if (receiver === undefined) {
      this.#logger.debug('cancellation ignored: nothing was pulled', { origin })
      return
    }
    for (const ref of offer.refs) {
      const pull = ref.pulls.get(origin)
      if (pull !== undefined) pull.result ??= 'failed'
      else
        ref.pulls.set(origin, {
          receiver,
          lastAt: this.#clock.now(),
          pending: undefined,
          result: 'failed',
        })
    }
    this.#settleIfDone(offer)
  }

  #answerFinished(refId: string, origin: string): OutgoingStreamReply {
    const result = this.#finished.get(refId, this.#clock.now())?.get(origin)
    if (result === undefined) return INVALID
    return reply(writeEnd(result === 'success' ? 'eof' : 'error', undefined))
  }

  #settleIfDone(offer: Offer): void {
    const results = offer.receivers.map((receiver) => resultOf(offer, receiver))
    if (results.some((result) => result === undefined)) return
    this.#end(offer, results.includes('failed') ? 'failed' : 'completed')
  }

  #end(offer: Offer, status: OfferOutcome['status']): void {
    if (offer.ended) return
    offer.ended = true
    this.#offers.delete(offer)
    const until = this.#clock.now() + this.#limits.tombstoneMs
    for (const ref of offer.refs) {
      this.#refs.delete(ref.id)
      // Only what ended by its receivers' doing is remembered; the rest is forgotten at once.
      if (status !== 'completed' && status !== 'failed') continue
      const results = new Map<string, 'success' | 'failed'>()
      for (const [origin, pull] of ref.pulls) results.set(origin, pull.result ?? 'failed')
      this.#finished.set(ref.id, results, until)
    }
    const succeeded = offer.receivers.filter((it) => resultOf(offer, it) === 'success')
    const failed = offer.receivers.filter((it) => !succeeded.includes(it))
    // Ended by time or by us, but everybody had got everything already.
    const final = failed.length === 0 ? 'completed' : status
    this.#logger.debug('download offer ended', { status: final, failed: failed.length })
    offer.resolve({ status: final, succeeded, failed })
  }

  #tick(now: number): boolean {
    for (const offer of [...this.#offers]) {
      this.#giveUpQuietReceivers(offer, now)
      if (!offer.ended && now - offer.lastRequestAt >= offer.idleTimeoutMs)
        this.#end(offer, 'timeout')
    }
    this.#finished.sweep(now)
    return this.#offers.size > 0 || this.#finished.size > 0
  }

  #giveUpQuietReceivers(offer: Offer, now: number): void {
    const { acquireTimeoutMs, receiverIdleTimeoutMs } = offer.options
    for (const receiver of offer.receivers) {
      if (resultOf(offer, receiver) !== undefined) continue
      const times = offer.refs.flatMap((ref) =>
        [...ref.pulls.values()].filter((it) => it.receiver === receiver).map((it) => it.lastAt),
      )
      const limitMs = times.length === 0 ? acquireTimeoutMs : receiverIdleTimeoutMs
      const since = times.length === 0 ? offer.startedAt : Math.max(...times)
      if (limitMs === undefined || now - since < limitMs) continue
      this.#logger.warn('download receiver given up', { receiver, quietMs: now - since })
      offer.givenUp.add(receiver)
    }
    this.#settleIfDone(offer)
  }
}

/** A receiver is through when on every reference one of its cells succeeded, or all that pulled have ended. */
function resultOf(offer: Offer, receiver: string): 'success' | 'failed' | undefined {
  if (offer.givenUp.has(receiver)) return 'failed'
  let failed = false
  for (const ref of offer.refs) {
    const results = [...ref.pulls.values()]
      .filter((pull) => pull.receiver === receiver)
      .map((pull) => pull.result)
    if (results.includes('success')) continue
    if (results.length === 0 || results.includes(undefined)) return undefined
    failed = true
  }
  return failed ? 'failed' : 'success'
}

function reply(body: OutgoingBody): OutgoingStreamReply {
  return { returnCode: 'ok', body }
}
