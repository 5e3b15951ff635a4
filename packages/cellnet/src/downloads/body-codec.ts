import { type AbortOptions, type BytePart, type ByteStore, bytesOf } from '@hanse/contract'
import {
  DEFAULT_FOBS_LIMITS,
  decode,
  encode,
  type FobsLimits,
  type FobsRegistry,
  type FobsValue,
  type ItemOptions,
  joinBytes,
  type ReferenceKind,
} from '@hanse/fobs'
import { CellError } from '../cell-error.ts'
import { bytesIn, EMPTY_BODY, type EncodedBody } from '../streams/encoded-body.ts'
import { isAtOrBelow } from '../streams/peer-family.ts'
import { type RandomSource, randomUuid } from '../streams/random-source.ts'
import type { DownloadObject } from './download-object.ts'
import type { DownloadOffer } from './download-offers.ts'
import type { Downloads } from './downloads.ts'

/** Collaborators of {@link createBodyCodec}. */
export interface BodyCodecComponents {
  /** Name of this cell: what our references point to. */
  readonly fqcn: string
  readonly registry: FobsRegistry
  /** Absent: arrays always travel in the message, and references of others are refused. */
  readonly downloads?: Downloads | undefined
  readonly random: RandomSource
  /** See {@link SetAside}. */
  readonly setAside?: SetAside | undefined
  /** Where long pieces of downloads go as they come. Absent: all are in memory. */
  readonly store?: ByteStore | undefined
}

/**
 * Puts what was pulled somewhere else, piece by piece, before the next is taken into memory.
 * @param items as they were decoded: views on the piece
 * @returns the same items, none of them a view on the piece any more; or `undefined` to leave them where they are
 */
export type SetAside = (
  items: ReadonlyMap<string, unknown>,
) => Promise<ReadonlyMap<string, unknown> | undefined>

export interface BodyCodecOptions {
  /** Limits of decoding. */
  readonly limits?: Partial<FobsLimits> | undefined
  /** All downloads of one message together. Default: the download service's. */
  readonly maxDownloadBytes?: number | undefined
  readonly maxDownloadItems?: number | undefined
  readonly downloadTimeoutMs?: number | undefined
  /** Bytes of one reply with items; default 2 MiB. */
  readonly pieceBytes?: number | undefined
  /** Shortest time without a pull before an offer ends; default 600 s. A longer `messageTtlMs` extends it. */
  readonly offerIdleMs?: number | undefined
}

export interface EncodeBodyOptions {
  /**
   * Cells that may pull what the body refers to, they and those below them. Empty or absent: arrays travel in
   * the message.
   */
  readonly receivers?: readonly string[] | undefined
  /** `cn__msg_root_ttl` of the message, in milliseconds. */
  readonly messageTtlMs?: number | undefined
}

/** A body ready to be sent. */
export interface EncodedMessage {
  readonly body: EncodedBody
  /** What receivers will pull. Cancel it when the message could not be delivered. */
  readonly offer: DownloadOffer | undefined
}

export interface DecodeBodyOptions extends AbortOptions {
  /** Who the message came from; references may point to this cell and those below it. */
  readonly origin: string
  /** The message was encrypted end to end. */
  readonly secure?: boolean | undefined
  /** Further sources, for messages that were passed on. */
  readonly allowSource?: ((fqcn: string) => boolean) | undefined
  /** Leave references as they are (`LazyReference`) instead of pulling: for cells that only pass on. */
  readonly passThrough?: boolean | undefined
}

/** Bodies to bytes and back, with arrays travelling by reference (`spec/fobs.md` §8). */
export interface BodyCodec {
  /**
   * Nothing, bytes as they are, or FOBS. With receivers, arrays stay here and are offered for download: each is
   * encoded when it is pulled. Values are borrowed until the offer ends.
   * @throws {FobsError} for what cannot be encoded; {CellError} `ERR_DOWNLOAD_OPTIONS`
   */
  encode(value: unknown, options?: EncodeBodyOptions): EncodedMessage
  /**
   * The value of a body, after pulling whatever it refers to. Byte strings are views on the body.
   * @throws {FobsError} for unreadable bytes; {CellError} `ERR_DOWNLOAD_*`; or `signal.reason`
   */
  decode(body: EncodedBody, options: DecodeBodyOptions): Promise<FobsValue>
}

/** The codec of one cell's message bodies. */
export function createBodyCodec(
  components: BodyCodecComponents,
  options: BodyCodecOptions = {},
): BodyCodec {
  return {
    encode: (value, encoding) => encodeBody(components, options, value, encoding ?? {}),
    decode: (body, decoding) => decodeBody(components, options, body, decoding),
  }
}

const MIN_OFFER_IDLE_MS = 600_000

function encodeBody(
  { fqcn, registry, downloads, random }: BodyCodecComponents,
  options: BodyCodecOptions,
  value: unknown,
  { receivers = [], messageTtlMs = 0 }: EncodeBodyOptions,
): EncodedMessage {
  if (value === null || value === undefined) return { body: EMPTY_BODY, offer: undefined }
  if (value instanceof Uint8Array)
    return { body: { encoding: 'bytes', parts: [value] }, offer: undefined }
  if (downloads === undefined || receivers.length === 0)
    return { body: { encoding: 'fobs', parts: encode(value, registry).parts }, offer: undefined }

  const refIds = new Map<number, string>()
  const { parts, items } = encode(value, registry, {
    references: {
      fqcn,
      refId: (dot) => {
        const id = refIds.get(dot) ?? randomUuid(random)
        refIds.set(dot, id)
        return id
      },
    },
  })
  const body: EncodedBody = { encoding: 'fobs', parts }
  const kinds = [...items].filter(([, ofKind]) => ofKind.size > 0)
  if (kinds.length === 0) return { body, offer: undefined }
  const objects = kinds.map(([dot, ofKind]) =>
    offeredItems(requireKind(registry, dot), ofKind, options.pieceBytes),
  )
  const offer = downloads.offer(objects, {
    receivers,
    refIds: kinds.map(([dot]) => refIds.get(dot) ?? ''),
    idleTimeoutMs: Math.max(options.offerIdleMs ?? MIN_OFFER_IDLE_MS, messageTtlMs),
  })
  return { body, offer }
}

function offeredItems(
  kind: ReferenceKind,
  items: ReadonlyMap<string, unknown>,
  pieceBytes: number | undefined,
): DownloadObject {
  const entries = [...items]
  return {
    kind: 'items',
    count: entries.length,
    item: (index, checks) => {
      const [id, value] = entries[index]!
      return kind.encodeItem(id, value, checks)
    },
    pieceBytes,
  }
}

async function decodeBody(
  { registry, downloads, setAside, store }: BodyCodecComponents,
  options: BodyCodecOptions,
  body: EncodedBody,
  { origin, secure = false, allowSource, passThrough = false, signal }: DecodeBodyOptions,
): Promise<FobsValue> {
  // An empty payload is no value, whatever its label (`spec/transport.md` §5.3).
  if (body.encoding === 'none' || bytesIn(body.parts) === 0) return null
  if (body.encoding === 'bytes') return joinBytes(body.parts)
  const limits = { ...DEFAULT_FOBS_LIMITS, ...options.limits }
  const decoded = decode(body.parts, registry, { limits })
  if (passThrough) return decoded.passThrough
  // All sources are checked before the first is asked.
  for (const { fqcn } of decoded.references)
    if (!isAtOrBelow(fqcn, origin) && allowSource?.(fqcn) !== true)
      throw new CellError(
        'ERR_DOWNLOAD_SOURCE',
        `a message of ${origin} refers to data of ${fqcn}, for which it may not speak`,
      )
  if (decoded.references.length === 0) return decoded.complete(() => new Map())
  if (downloads === undefined)
    throw new CellError('ERR_DOWNLOAD_SOURCE', 'this cell takes no references, only whole messages')

  const itemsByDot = new Map<number, Map<string, unknown>>()
  let bytesLeft = options.maxDownloadBytes
  let itemsLeft = options.maxDownloadItems
  for (const { dot, fqcn, refId } of decoded.references) {
    const kind = requireKind(registry, dot)
    const items = new Map<string, unknown>()
    const pulled = await downloads.pull(
      fqcn,
      refId,
      {
        kind: 'items',
        // Links protect bytes from accidents already; against attackers a CRC is nothing.
        checksums: false,
        // What was said in confidence is fetched in confidence; a third cell's key may not be known to us.
        secure: secure && fqcn === origin,
        signal,
        maxBytes: bytesLeft,
        maxItems: itemsLeft,
        totalTimeoutMs: options.downloadTimeoutMs,
        store,
      },
      {
        async piece(data, release, checks) {
          const decoded = new Map<string, unknown>()
          for (const part of data) addItems(decoded, itemsOf(kind, part, limits, checks))
          const elsewhere = await setAside?.(decoded)
          addItems(items, elsewhere ?? decoded)
          if (elsewhere !== undefined) release()
        },
      },
    )
    if (bytesLeft !== undefined) bytesLeft -= pulled.bytes
    if (itemsLeft !== undefined) itemsLeft -= pulled.items
    itemsByDot.set(dot, items)
  }
  return decoded.complete((dot) => itemsByDot.get(dot) ?? new Map())
}

function itemsOf(
  kind: ReferenceKind,
  part: BytePart,
  limits: FobsLimits,
  options: ItemOptions,
): ReadonlyMap<string, unknown> {
  if (part instanceof Uint8Array) return kind.decodeItem(part, limits, options)
  try {
    if (kind.decodeStoredItem !== undefined) return kind.decodeStoredItem(part, limits, options)
    const bytes = bytesOf(part)
    part.release()
    return kind.decodeItem(bytes, limits, options)
  } catch (error) {
    part.release()
    throw error
  }
}

function addItems(items: Map<string, unknown>, more: ReadonlyMap<string, unknown>): void {
  for (const [id, value] of more) {
    if (items.has(id)) throw new CellError('ERR_DOWNLOAD_PROTOCOL', 'the source sent an item twice')
    items.set(id, value)
  }
}

function requireKind(registry: FobsRegistry, dot: number): ReferenceKind {
  const kind = registry.referenceKind(dot)
  if (kind === undefined)
    throw new CellError('ERR_DOWNLOAD_PROTOCOL', `DOT ${dot} is no kind of download known here`)
  return kind
}
