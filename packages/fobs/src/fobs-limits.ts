/** What a decoder accepts; every limit is checked before memory is taken. */
export interface FobsLimits {
  /** The whole envelope. Stock streams carry 4 GiB at most. */
  readonly maxPayloadBytes: number
  /** Main section and datums together. */
  readonly maxSections: number
  /** Levels of MessagePack; a tuple or object costs two or three. */
  readonly maxDepth: number
  /**
   * Values in the main section. A scalar counts 1 and an array or map 8, since an empty one costs its sender
   * a byte and us a hundred.
   */
  readonly maxElements: number
  /** UTF-8 or binary length of one map key. */
  readonly maxKeyBytes: number
  /** UTF-8 length of one text. */
  readonly maxTextBytes: number
}

/** Limits that suit whole models from admitted peers; tighten them for peers that are not admitted yet. */
export const DEFAULT_FOBS_LIMITS: FobsLimits = Object.freeze({
  maxPayloadBytes: 4 * 1024 ** 3,
  maxSections: 10_000,
  maxDepth: 256,
  maxElements: 20_000_000,
  maxKeyBytes: 64 * 1024,
  maxTextBytes: 256 * 1024 ** 2,
})

/** `overrides` over the defaults; `undefined` means the default. */
export function fobsLimits(overrides: Partial<FobsLimits> = {}): FobsLimits {
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined)
  return { ...DEFAULT_FOBS_LIMITS, ...Object.fromEntries(given) }
}
