import { type EnumMember, type FobsCodec, type FobsValue, shapeError, Tuple } from '@hanse/fobs'
import { dataKindEnum, paramsTypeEnum } from '@hanse/session'

const DXO = 'nvflare.apis.dxo.DXO'
const FL_MODEL = 'nvflare.app_common.abstract.fl_model.FLModel'

type Dict = ReadonlyMap<FobsValue, FobsValue>

/**
 * A DXO sent as an object: in collections and wherever stock code puts one into a value. A DXO in a Shareable is
 * a plain map instead (fobs.md §12.3).
 */
export class DxoObject {
  /** A member of `dataKindEnum`, or the text that the sender put in its place. */
  readonly dataKind: EnumMember | string
  /** A map unless the kind is `APP_DEFINED`. */
  readonly data: FobsValue
  readonly meta: Dict | null

  /** @throws {FobsError} `ERR_FOBS_SHAPE` */
  constructor(dataKind: EnumMember | string, data: FobsValue, meta: Dict | null = new Map()) {
    this.dataKind = dataKind
    this.data = data
    this.meta = meta
    if (this.kind !== 'APP_DEFINED' && !(data instanceof Map))
      throw shapeError(DXO, 'a map, except for APP_DEFINED')
  }

  /** The kind as text; unknown ones are for the application to judge. */
  get kind(): string {
    return typeof this.dataKind === 'string' ? this.dataKind : this.dataKind.name
  }
}

/** `tuple[data_kind, meta, data]`, meta before data. */
export const dxoObjectCodec: FobsCodec<DxoObject> = {
  typeName: DXO,
  decomposer: 'nvflare.apis.utils.decomposers.flare_decomposers.DXODecomposer',
  class: DxoObject,
  compose(tuple) {
    const [kind, meta, data] = tupleItems(DXO, tuple, 3) as [FobsValue, FobsValue, FobsValue] // length checked
    if (typeof kind !== 'string' && dataKindEnum.find(kind) === undefined)
      throw shapeError(DXO, 'a data kind, meta and data')
    return new DxoObject(kind as EnumMember | string, data, dictOrNull(DXO, meta)) // just checked
  },
  decompose: ({ dataKind, meta, data }) => new Tuple([dataKind, meta, data]),
}

/** The fields of an `FLModel`; absent ones are null. */
interface FLModelFields {
  /** A member of `paramsTypeEnum`, or the text that the sender put in its place. */
  readonly paramsType: EnumMember | string | null
  readonly params: FobsValue
  readonly optimizerParams: FobsValue
  readonly metrics: Dict | null
  readonly startRound: number | null
  readonly currentRound: number | null
  readonly totalRounds: number | null
  readonly meta: Dict | null
}

/** A model sent as an object; in tasks and results it is a DXO in a Shareable instead. */
export class FLModelObject {
  readonly fields: FLModelFields

  constructor(fields: FLModelFields) {
    this.fields = fields
  }
}

/** A `tuple` of the eight fields. */
export const flModelObjectCodec: FobsCodec<FLModelObject> = {
  typeName: FL_MODEL,
  decomposer: 'nvflare.app_common.decomposers.common_decomposers.FLModelDecomposer',
  class: FLModelObject,
  compose(tuple) {
    const [type, params, optimizer, metrics, start, current, total, meta] = tupleItems(
      FL_MODEL,
      tuple,
      8,
    ) as [FobsValue, FobsValue, FobsValue, FobsValue, FobsValue, FobsValue, FobsValue, FobsValue] // length checked
    if (type !== null && paramsTypeEnum.find(type) === undefined)
      throw shapeError(FL_MODEL, 'of params type FULL, DIFF or null')
    if (type !== null && params === null)
      throw shapeError(FL_MODEL, 'with params when it has a params type')
    return new FLModelObject({
      paramsType: type as EnumMember | string | null, // just checked
      params,
      optimizerParams: optimizer,
      metrics: dictOrNull(FL_MODEL, metrics),
      startRound: roundOrNull(start),
      currentRound: roundOrNull(current),
      totalRounds: roundOrNull(total),
      meta: dictOrNull(FL_MODEL, meta),
    })
  },
  decompose({ fields }) {
    return new Tuple([
      fields.paramsType,
      fields.params,
      fields.optimizerParams,
      fields.metrics,
      fields.startRound,
      fields.currentRound,
      fields.totalRounds,
      fields.meta,
    ])
  },
}

function tupleItems(typeName: string, data: FobsValue, count: number): readonly FobsValue[] {
  if (!(data instanceof Tuple) || data.items.length !== count)
    throw shapeError(typeName, `a tuple of ${count}`)
  return data.items
}

function dictOrNull(typeName: string, value: FobsValue): Dict | null {
  if (value === null || value instanceof Map) return value
  throw shapeError(typeName, 'made of maps where it has maps')
}

function roundOrNull(value: FobsValue): number | null {
  if (value === null) return null
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw shapeError(FL_MODEL, 'with rounds of 0 or more')
}
