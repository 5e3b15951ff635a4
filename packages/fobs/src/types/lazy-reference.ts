import type { FobsCodec } from '../codec.ts'
import { FobsError } from '../fobs-error.ts'
import { mapData, shapeError } from '../shape.ts'

const TYPE_NAME = 'nvflare.fuel.utils.fobs.decomposers.via_downloader.LazyDownloadRef'

/**
 * An item that nobody here downloads: it is passed on, and still names its original source. What a decoded
 * message holds in place of arrays before `complete`.
 */
export class LazyReference {
  readonly dot: number
  /** Cell that serves the item. */
  readonly fqcn: string
  readonly refId: string
  readonly itemId: string

  constructor(dot: number, fqcn: string, refId: string, itemId: string) {
    this.dot = dot
    this.fqcn = fqcn
    this.refId = refId
    this.itemId = itemId
  }
}

export const lazyReferenceCodec: FobsCodec<LazyReference> = {
  typeName: TYPE_NAME,
  decomposer: 'nvflare.fuel.utils.fobs.decomposers.via_downloader.LazyDownloadRefDecomposer',
  class: LazyReference,
  compose(data, context) {
    const map = mapData(TYPE_NAME, data)
    const id = map.get('data')
    const dot = map.get('lazy_dot')
    if (map.get('type') !== 'ref' || typeof id !== 'string' || typeof dot !== 'number')
      throw shapeError(TYPE_NAME, 'a map of type, data and lazy_dot')
    return context.reference(dot, id)
  },
  decompose(reference) {
    return new Map<string, string | number>([
      ['type', 'ref'],
      ['data', reference.itemId],
      ['lazy_dot', reference.dot],
    ])
  },
}

/** The two members of a download datum's JSON text. */
export interface ReferenceTarget {
  readonly fqcn: string
  readonly refId: string
}

const MAX_TEXT_BYTES = 4096
const MAX_REF_ID_LENGTH = 128

/** @throws {FobsError} `ERR_FOBS_REFERENCE` */
export function parseReferenceTarget(bytes: Uint8Array): ReferenceTarget {
  if (bytes.length > MAX_TEXT_BYTES)
    throw new FobsError(
      'ERR_FOBS_REFERENCE',
      `a download pointer of ${bytes.length} bytes is over ${MAX_TEXT_BYTES}`,
    )
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new FobsError('ERR_FOBS_REFERENCE', 'a download pointer is not JSON', {}, { cause })
  }
  const { fqcn, ref_id: refId } = isRecord(value) ? value : {}
  if (typeof fqcn !== 'string' || fqcn === '' || typeof refId !== 'string' || refId === '')
    throw new FobsError('ERR_FOBS_REFERENCE', 'a download pointer must have fqcn and ref_id')
  if (refId.length > MAX_REF_ID_LENGTH)
    throw new FobsError(
      'ERR_FOBS_REFERENCE',
      `a ref_id of ${refId.length} characters is over ${MAX_REF_ID_LENGTH}`,
    )
  return { fqcn, refId }
}

/** The JSON text as stock writes it. */
export function formatReferenceTarget({ fqcn, refId }: ReferenceTarget): Uint8Array {
  const text = `{"fqcn": ${JSON.stringify(fqcn)}, "ref_id": ${JSON.stringify(refId)}}`
  return new TextEncoder().encode(text)
}

function isRecord(value: unknown): value is { fqcn?: unknown; ref_id?: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
