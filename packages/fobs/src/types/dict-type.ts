import type { FobsClass, FobsCodec } from '../codec.ts'
import type { FobsValue } from '../fobs-value.ts'
import { textMapData } from '../shape.ts'
import { Named } from './named.ts'

const DICT_DECOMPOSER = 'nvflare.fuel.utils.fobs.decomposer.DictDecomposer'

/** An object of a Python class that is a dict and no more. */
export class DictValue extends Named {
  readonly typeName: string
  readonly entries: Map<string, FobsValue>

  constructor(typeName: string, entries: Map<string, FobsValue> = new Map()) {
    super()
    this.typeName = typeName
    this.entries = entries
  }
}

/** A subclass of dict without anything of its own, with text keys. */
export function defineDict(typeName: string): FobsCodec<DictValue> {
  return {
    ...dictCodec(
      typeName,
      DictValue,
      (entries) => new DictValue(typeName, entries),
      (dict) => dict.entries,
    ),
    handles: (value) => value.typeName === typeName,
  }
}

/**
 * The codec of a class of ours that is a subclass of dict in Python and travels as a plain map with text keys.
 * @param create builds the object; owns the map
 * @param entriesOf what is written, in order
 */
export function dictCodec<T extends object>(
  typeName: string,
  type: FobsClass<T>,
  create: (entries: Map<string, FobsValue>) => T,
  entriesOf: (value: T) => ReadonlyMap<string, FobsValue>,
): FobsCodec<T> {
  return {
    typeName,
    decomposer: DICT_DECOMPOSER,
    class: type,
    isContainer: true,
    compose: (data) => create(textMapData(typeName, data)),
    decompose: entriesOf,
  }
}
