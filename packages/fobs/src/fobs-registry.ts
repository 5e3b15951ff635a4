import type { AnyFobsCodec, FobsClass, FobsCodec, ReferenceKind } from './codec.ts'
import { FobsError } from './fobs-error.ts'
import { translated } from './translated.ts'
import { Named } from './types/named.ts'

/** Type names that the format itself uses; nobody can register them. */
export const DATUM_REF_TYPE = 'nvflare.fuel.utils.fobs.datum.DatumRef'
const DATUM_TYPE = 'nvflare.fuel.utils.fobs.datum.Datum'
const MAX_NAME_LENGTH = 256

/**
 * The closed table of types that a process sends and accepts. It is filled at start and frozen before the first
 * message: nothing a peer sends can add to it, and a name that is not in it is refused.
 */
export class FobsRegistry {
  readonly #byName = new Map<string, AnyFobsCodec>()
  readonly #byPrototype = new Map<unknown, AnyFobsCodec[]>()
  readonly #kinds = new Map<
    number,
    { readonly given: ReferenceKind; readonly guarded: ReferenceKind }
  >()
  #frozen = false

  /** True once `freeze` was called: encoding and decoding ask for it. */
  get frozen(): boolean {
    return this.#frozen
  }

  /** All registered type names. */
  get typeNames(): readonly string[] {
    return [...this.#byName.keys()]
  }

  /**
   * Adds types, and the kinds of download that belong to them.
   * @throws {FobsError} `ERR_FOBS_REGISTRY` after `freeze`, or for a name or DOT that is taken
   */
  register(...codecs: readonly AnyFobsCodec[]): this {
    for (const codec of codecs) this.#add(codec)
    return this
  }

  /** Closes the table for good. */
  freeze(): this {
    this.#frozen = true
    return this
  }

  /** The codec for a type name from the wire. */
  codecNamed(typeName: string): FobsCodec | undefined {
    return this.#byName.get(typeName)
  }

  /** The codec that writes `value`, by its class; `undefined` when its type is not registered. */
  codecFor(value: object): FobsCodec | undefined {
    if (value instanceof Named) {
      const codec = this.#byName.get(value.typeName)
      return codec?.handles?.(value) === false ? undefined : codec
    }
    for (
      let prototype: unknown = Object.getPrototypeOf(value);
      prototype !== null && prototype !== Object.prototype;
      prototype = Object.getPrototypeOf(prototype)
    ) {
      const codec = this.#byPrototype
        .get(prototype)
        ?.find((candidate) => candidate.handles?.(value) ?? true)
      if (codec !== undefined) return codec
    }
    return undefined
  }

  /** The kind of download behind a datum object type; it throws nothing but `FobsError`. */
  referenceKind(dot: number): ReferenceKind | undefined {
    return this.#kinds.get(dot)?.guarded
  }

  #add(codec: AnyFobsCodec): void {
    const { typeName, class: type, reference } = codec
    if (this.#frozen)
      throw new FobsError(
        'ERR_FOBS_REGISTRY',
        `${typeName} comes too late: the registry is frozen; register types at start`,
      )
    if (typeName === '' || typeName.length > MAX_NAME_LENGTH)
      throw new FobsError(
        'ERR_FOBS_REGISTRY',
        `a type name must have 1 to ${MAX_NAME_LENGTH} characters`,
      )
    if (typeName === DATUM_REF_TYPE || typeName === DATUM_TYPE)
      throw new FobsError('ERR_FOBS_REGISTRY', `${typeName} belongs to the format itself`)
    const taken = this.#byName.get(typeName)
    if (taken === codec) return
    if (taken !== undefined)
      throw new FobsError('ERR_FOBS_REGISTRY', `${typeName} is registered already`)
    if (reference !== undefined) this.#addKind(reference)
    this.#byName.set(typeName, codec)
    for (const { prototype } of type === undefined ? [] : ([type].flat() as FobsClass[])) {
      const ofClass = this.#byPrototype.get(prototype)
      if (ofClass === undefined) this.#byPrototype.set(prototype, [codec])
      else ofClass.push(codec)
    }
  }

  #addKind(kind: ReferenceKind): void {
    if (!Number.isInteger(kind.dot) || kind.dot < 1 || kind.dot > 127)
      throw new FobsError('ERR_FOBS_REGISTRY', `DOT ${kind.dot} is not between 1 and 127`)
    const taken = this.#kinds.get(kind.dot)
    if (taken !== undefined && taken.given !== kind)
      throw new FobsError('ERR_FOBS_REGISTRY', `DOT ${kind.dot} is registered already`)
    this.#kinds.set(kind.dot, { given: kind, guarded: guarded(kind) })
  }
}

/** A frozen registry of the given lists; `coreCodecs` must be among them. */
export function createFobsRegistry(...lists: readonly (readonly AnyFobsCodec[])[]): FobsRegistry {
  const registry = new FobsRegistry()
  for (const list of lists) registry.register(...list)
  return registry.freeze()
}

function guarded(kind: ReferenceKind): ReferenceKind {
  const { decodeStoredItem } = kind
  return {
    dot: kind.dot,
    encodeItem: (id, value, options) =>
      translated('ERR_FOBS_ENCODE', 'an item cannot be written', () =>
        kind.encodeItem(id, value, options),
      ),
    decodeItem: (bytes, limits, options) =>
      translated('ERR_FOBS_SHAPE', 'a downloaded item cannot be read', () =>
        kind.decodeItem(bytes, limits, options),
      ),
    ...(decodeStoredItem && {
      decodeStoredItem: (stored, limits, options) =>
        translated('ERR_FOBS_SHAPE', 'a downloaded item cannot be read', () =>
          decodeStoredItem.call(kind, stored, limits, options),
        ),
    }),
  }
}
