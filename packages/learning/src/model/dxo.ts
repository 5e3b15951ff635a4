import { DictValue, type FobsValue } from '@hanse/fobs'
import { dataKindEnum, Shareable } from '@hanse/session'
import { LearningError } from '../learning-error.ts'
import { type DataKind, readDataKind } from './data-kind.ts'

/** Named values, by name. */
export type ValueMap = ReadonlyMap<string, FobsValue>

/** Data of a known kind with facts about it: what filters and aggregators work on (workflows.md §1). */
export interface Dxo {
  readonly kind: DataKind
  /** For every kind but `APP_DEFINED` a map; use `mapOf`. */
  readonly data: FobsValue
  readonly meta: ValueMap
}

const CONTENT_TYPE = '__content_type__'
const DXO = 'DXO'

/** True when the Shareable says that it carries a DXO. */
export function carriesDxo(shareable: Shareable): boolean {
  return shareable.headers.get(CONTENT_TYPE) === DXO
}

/**
 * The DXO in a Shareable. Maps are borrowed from it, not copied.
 * @throws {LearningError} `ERR_DXO` when there is none or it breaks the rules of fobs.md §12.3
 */
export function readDxo(shareable: Shareable): Dxo {
  if (!carriesDxo(shareable)) throw new LearningError('ERR_DXO', 'the message carries no DXO')
  const content = shareable.content.get(DXO)
  if (!(content instanceof Map) || content.size === 0)
    throw new LearningError('ERR_DXO', 'the DXO is empty or no map')
  const kind = readDataKind(content.get('kind'))
  const data: FobsValue = plainMap(content.get('data') ?? null)
  const meta: FobsValue = content.get('meta') ?? new Map()
  if (kind !== 'APP_DEFINED' && !isValueMap(data))
    throw new LearningError('ERR_DXO', `the data of a DXO of ${kind} is no map with text as keys`)
  if (!isValueMap(meta))
    throw new LearningError('ERR_DXO', 'the meta of a DXO is no map with text as keys')
  return { kind, data, meta }
}

/** Stock's statistics put a whole message there, its NumPy trainer a model: to Python both are maps. */
function plainMap(value: FobsValue): FobsValue {
  if (value instanceof Shareable) return value.content
  return value instanceof DictValue ? value.entries : value
}

/** A new Shareable that carries `dxo` and has the headers and other content of `base`. */
export function withDxo(dxo: Dxo, base: Shareable = new Shareable()): Shareable {
  const shareable = new Shareable()
  for (const [key, value] of base.headers) shareable.headers.set(key, value)
  for (const [key, value] of base.content) shareable.content.set(key, value)
  shareable.headers.set(CONTENT_TYPE, DXO)
  shareable.content.set(
    DXO,
    new Map<FobsValue, FobsValue>([
      ['kind', dataKindEnum.member(dxo.kind)],
      ['data', dxo.data],
      ['meta', new Map<FobsValue, FobsValue>(dxo.meta)],
    ]),
  )
  return shareable
}

/**
 * The data of a DXO whose kind demands a map.
 * @throws {LearningError} `ERR_DXO`
 */
export function mapOf(dxo: Dxo): ValueMap {
  if (isValueMap(dxo.data)) return dxo.data
  throw new LearningError('ERR_DXO', `the data of this DXO of ${dxo.kind} is no map`)
}

/** True for a map whose keys are all text. */
export function isValueMap(value: unknown): value is Map<string, FobsValue> {
  if (!(value instanceof Map)) return false
  for (const key of value.keys()) if (typeof key !== 'string') return false
  return true
}
