import { dictCodec, type FobsCodec, type FobsValue, numberIn, shapeError } from '@hanse/fobs'

const TYPE_NAME = 'nvflare.apis.shareable.Shareable'
const HEADERS = '__headers__'

/**
 * The platform's message body: headers, which say what it is and where it belongs, and content (fobs.md §12.2).
 * Mutable; whoever shares one must not change it afterwards.
 */
export class Shareable {
  readonly headers: Map<string, FobsValue>
  /** Everything but the headers, e.g. the entry `DXO`. */
  readonly content: Map<string, FobsValue>

  /** Takes over both maps. */
  constructor(
    headers: Map<string, FobsValue> = new Map(),
    content: Map<string, FobsValue> = new Map(),
  ) {
    this.headers = headers
    this.content = content
  }

  /** A header's text; `undefined` if it is absent or anything else. */
  textHeader(name: string): string | undefined {
    const value = this.headers.get(name)
    return typeof value === 'string' ? value : undefined
  }

  /** A header's number; `undefined` if it is absent or anything else. */
  numberHeader(name: string): number | undefined {
    return numberIn(this.headers.get(name))
  }

  /** A header's whole number of 0 or more; `undefined` if it is absent or anything else. */
  countHeader(name: string): number | undefined {
    const value = this.headers.get(name)
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
      ? value
      : undefined
  }

  /** A header's boolean; `undefined` if it is absent or anything else. */
  booleanHeader(name: string): boolean | undefined {
    const value = this.headers.get(name)
    return typeof value === 'boolean' ? value : undefined
  }

  /** A header's map, the same object; `undefined` if it is absent or anything else. */
  mapHeader(name: string): ReadonlyMap<FobsValue, FobsValue> | undefined {
    const value = this.headers.get(name)
    return value instanceof Map ? value : undefined
  }
}

export const shareableCodec: FobsCodec<Shareable> = dictCodec(
  TYPE_NAME,
  Shareable,
  (entries) => {
    const headers = entries.get(HEADERS) ?? new Map()
    if (!isTextMap(headers)) throw shapeError(TYPE_NAME, `a map with a map as ${HEADERS}`)
    entries.delete(HEADERS)
    return new Shareable(headers, entries)
  },
  // Headers come first, as stock writes them.
  ({ headers, content }) => {
    if (content.has(HEADERS)) throw new TypeError(`${HEADERS} cannot be an entry of the content`)
    return new Map<string, FobsValue>([[HEADERS, headers], ...content])
  },
)

function isTextMap(value: FobsValue): value is Map<string, FobsValue> {
  if (!(value instanceof Map)) return false
  for (const key of value.keys()) if (typeof key !== 'string') return false
  return true
}
