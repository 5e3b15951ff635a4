import {
  arrayData,
  type FobsCodec,
  type FobsValue,
  mapData,
  shapeError,
  textMapData,
} from '@hanse/fobs'

const TYPE_NAME = 'nvflare.apis.fl_context.FLContext'
const STICKY = 1
const PRIVATE = 2

/** One property of a context. */
export interface ContextProperty {
  readonly value: FobsValue
  /** 1 sticky, 2 private, added up. */
  readonly mask: number
}

/**
 * Properties that a participant tells about itself and its run (fobs.md §12.4). All are claims: identity and job
 * come from the connection.
 */
export class FLContext {
  readonly props: ReadonlyMap<string, ContextProperty>
  /** None in every message; stored contexts may hold one. */
  readonly model: FobsValue

  constructor(props: ReadonlyMap<string, ContextProperty>, model: FobsValue = null) {
    this.props = props
    this.model = model
  }

  /** A context of public properties, as messages carry it. */
  static ofPublic(properties: Iterable<readonly [string, FobsValue]>): FLContext {
    return new FLContext(
      new Map(Array.from(properties, ([name, value]) => [name, { value, mask: 0 }] as const)),
    )
  }

  /** The value of a property that is not private; `undefined` if there is none. */
  publicProperty(name: string): FobsValue | undefined {
    const property = this.props.get(name)
    return property === undefined || (property.mask & PRIVATE) !== 0 ? undefined : property.value
  }
}

/** @param allowPrivate also private properties and a model, as stored contexts have them */
function contextCodec(allowPrivate: boolean): FobsCodec<FLContext> {
  function propertyOf(entry: FobsValue): ContextProperty {
    const map = mapData(TYPE_NAME, entry)
    const value = map.get('value')
    const mask = map.get('mask')
    const isMask = mask === 0 || mask === STICKY || (allowPrivate && (mask === 2 || mask === 3))
    if (map.size !== 2 || value === undefined || !isMask)
      throw shapeError(
        TYPE_NAME,
        `properties of value and mask${allowPrivate ? '' : ', none of them private'}`,
      )
    return { value, mask }
  }
  return {
    typeName: TYPE_NAME,
    decomposer: 'nvflare.apis.utils.decomposers.flare_decomposers.ContextDecomposer',
    class: FLContext,
    compose(data) {
      const [model, props] = arrayData(TYPE_NAME, data, 2) as [FobsValue, FobsValue] // length checked
      if (model !== null && !allowPrivate) throw shapeError(TYPE_NAME, 'without a model')
      const entries = textMapData(TYPE_NAME, props)
      return new FLContext(
        new Map(Array.from(entries, ([name, entry]) => [name, propertyOf(entry)] as const)),
        model,
      )
    },
    decompose: ({ model, props }) => [
      model,
      new Map(
        Array.from(props, ([name, { value, mask }]) => [
          name,
          new Map<string, FobsValue>([
            ['value', value],
            ['mask', mask],
          ]),
        ]),
      ),
    ],
  }
}

/** Contexts in messages: a peer that sends private properties is refused. */
export const peerContextCodec: FobsCodec<FLContext> = contextCodec(false)

/** Contexts in our own storage, with private properties. */
export const storedContextCodec: FobsCodec<FLContext> = contextCodec(true)
