import type { BytePart, StoredBytes } from '@hanse/contract'
import type { FobsLimits } from './fobs-limits.ts'
import type { FobsValue } from './fobs-value.ts'

/** What a codec may ask for while it builds a value. */
export interface ComposeContext {
  readonly limits: FobsLimits
  /**
   * The item `id` of the download that the message names for this kind; a placeholder (`LazyReference`) while
   * the message is only being checked or passed on.
   * @param dot datum object type of a registered reference kind
   * @throws {FobsError} `ERR_FOBS_REFERENCE`, `ERR_FOBS_ITEM_MISSING`
   */
  reference(dot: number, id: string): FobsValue
}

/** What a codec may ask for while it takes a value apart. */
export interface DecomposeContext {
  /**
   * Leaves `value` out of the message for the receiver to download.
   * @returns the item's id, the same for the same object; `undefined` when the value must be sent natively
   */
  reference(dot: number, value: object): string | undefined
}

/** The class of `T` objects, abstract or not. */
// biome-ignore lint/suspicious/noExplicitAny: a constructor's parameters are contravariant, so nothing else admits every class
export type FobsClass<T extends object = object> = abstract new (...args: any[]) => T

/**
 * How one type of objects travels. `compose` reads what a hostile peer may have written: it checks everything
 * and builds no object by a name from the wire.
 */
export interface FobsCodec<T extends object = object> {
  /** Type name on the wire: Python module, dot, qualified class name. */
  readonly typeName: string
  /** Decomposer name written beside it; never looked at when reading. */
  readonly decomposer: string
  /** Class, or classes, of the objects written by this codec. Absent for codecs that only read. */
  readonly class?: FobsClass<T> | readonly FobsClass<T>[] | undefined
  /** Chooses between codecs of one class; absent means every object of the class. */
  handles?(value: T): boolean
  /**
   * True for what is a subclass of dict or list in Python: large values inside are moved out before the rest
   * of the message is written, as stock does. Only the order of datums depends on it.
   */
  readonly isContainer?: boolean | undefined
  /** The kind of download that objects of this type can be left to. */
  readonly reference?: ReferenceKind | undefined
  /**
   * Builds the object from its data, in which inner objects are built already.
   * @throws {FobsError} `ERR_FOBS_SHAPE`; any other error is wrapped in one
   */
  compose(data: FobsValue, context: ComposeContext): FobsValue
  /** The data of an object: any value, inner objects as they are. */
  decompose(value: T, context: DecomposeContext): unknown
}

/** How an item is to be written or read. */
export interface ItemOptions {
  /**
   * With checksums, if items of the kind have them; default true. False: zeros stand in their place, and are not looked
   * at.
   */
  readonly checksums?: boolean | undefined
}

/** A kind of values that can be downloaded item by item instead of travelling in the message (§8). */
export interface ReferenceKind {
  /** Datum object type: 3 for NumPy arrays, 6 for PyTorch tensors, 7–127 for applications. */
  readonly dot: number
  /**
   * One item as the source serves it.
   * @returns consecutive parts, borrowed from `value`
   */
  encodeItem(id: string, value: unknown, options?: ItemOptions): BytePart[]
  /**
   * The items of one served piece by id: usually one.
   * @param bytes borrowed for as long as the values live
   * @throws {FobsError} `ERR_FOBS_SHAPE`; any other error is wrapped in one
   */
  decodeItem(bytes: Uint8Array, limits: FobsLimits, options?: ItemOptions): Map<string, unknown>
  /**
   * The same for a piece outside of memory, where long values stay.
   * @param stored the values' own: they release it. Still the caller's when this throws
   */
  decodeStoredItem?(
    stored: StoredBytes,
    limits: FobsLimits,
    options?: ItemOptions,
  ): Map<string, unknown>
}

/** A codec of any type, as lists of them have it. */
// biome-ignore lint/suspicious/noExplicitAny: `decompose` is contravariant in the object's class, so a list of codecs needs it
export type AnyFobsCodec = FobsCodec<any>
