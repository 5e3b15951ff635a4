import type { FobsCodec } from '../codec.ts'
import type { FobsValue } from '../fobs-value.ts'
import { arrayData, mapData, shapeError, textMapData } from '../shape.ts'
import { Named } from './named.ts'

/** Written for every data class. */
export const DATA_CLASS_DECOMPOSER = 'nvflare.fuel.utils.fobs.decomposer.DataClassDecomposer'

/** An object of a Python class of which only the attributes matter. */
export class RecordValue extends Named {
  readonly typeName: string
  /** In the order of assignment. */
  readonly attributes: Map<string, FobsValue>
  /** The content of a subclass of dict or list. */
  readonly content: Map<FobsValue, FobsValue> | FobsValue[] | undefined

  constructor(
    typeName: string,
    attributes: Map<string, FobsValue> = new Map(),
    content?: Map<FobsValue, FobsValue> | FobsValue[],
  ) {
    super()
    this.typeName = typeName
    this.attributes = attributes
    this.content = content
  }
}

/** A data class that a process knows. */
export interface RecordType {
  readonly typeName: string
  readonly codec: FobsCodec<RecordValue>
  /** An object of this type. */
  create(
    attributes?: Iterable<readonly [string, FobsValue]>,
    content?: Map<FobsValue, FobsValue> | FobsValue[],
  ): RecordValue
}

export interface RecordOptions {
  /**
   * The attributes that may occur: any other name is refused, since in Python it could shadow a method.
   * `'any'` is for namespaces.
   */
  readonly attributes?: readonly string[] | 'any'
  /** Set for a subclass of dict or list. */
  readonly content?: 'dict' | 'list'
  /** Keys that may occur in the content of a dict; absent means any. */
  readonly contentKeys?: readonly string[]
}

/** A data class without a decomposer of its own: the names of its attributes say all. */
export function defineRecord(typeName: string, options: RecordOptions = {}): RecordType {
  const { attributes = [], content, contentKeys } = options
  const known = attributes === 'any' ? undefined : new Set<FobsValue>(attributes)
  const knownKeys = contentKeys && new Set<FobsValue>(contentKeys)

  function contentOf(part: FobsValue | undefined): Map<FobsValue, FobsValue> | FobsValue[] {
    if (part === undefined) throw shapeError(typeName, `a map with an entry ${content}`)
    if (content === 'list') return arrayData(typeName, part)
    const dict = mapData(typeName, part)
    if (knownKeys !== undefined)
      for (const key of dict.keys())
        if (!knownKeys.has(key)) throw shapeError(typeName, 'a map of known fields')
    return dict
  }

  return {
    typeName,
    create: (given = [], part) => new RecordValue(typeName, new Map(given), part),
    codec: {
      typeName,
      decomposer: DATA_CLASS_DECOMPOSER,
      class: RecordValue,
      handles: (value) => value.typeName === typeName,
      isContainer: content !== undefined,
      compose(data) {
        const { attributes: found, content: part } = recordParts(typeName, data, content)
        if (known !== undefined)
          for (const name of found.keys())
            if (!known.has(name)) throw shapeError(typeName, 'a map of known attributes')
        return new RecordValue(typeName, found, content === undefined ? undefined : contentOf(part))
      },
      decompose(record) {
        const parts = new Map<string, unknown>([['data', record.attributes]])
        if (content !== undefined)
          parts.set(content, record.content ?? (content === 'list' ? [] : new Map()))
        return parts
      },
    },
  }
}

/**
 * The two parts of a data class's data, for codecs that build classes of their own.
 * @throws {FobsError} `ERR_FOBS_SHAPE`
 */
export function recordParts(
  typeName: string,
  data: FobsValue,
  content?: 'dict' | 'list',
): { attributes: Map<string, FobsValue>; content: FobsValue | undefined } {
  const parts = textMapData(typeName, data)
  for (const name of parts.keys())
    if (name !== 'data' && name !== content)
      throw shapeError(typeName, `a map of data${content === undefined ? '' : ` and ${content}`}`)
  return {
    attributes: textMapData(typeName, parts.get('data') ?? new Map()),
    content: content === undefined ? undefined : parts.get(content),
  }
}
