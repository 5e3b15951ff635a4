import { FobsError } from './fobs-error.ts'
import { Float, type FobsValue } from './fobs-value.ts'

/** Says that the data of `typeName` is not what the type requires. */
export function shapeError(typeName: string, expected: string): FobsError {
  return new FobsError('ERR_FOBS_SHAPE', `the data of ${typeName} must be ${expected}`)
}

/** An array, of exactly `length` entries if given. @throws {FobsError} `ERR_FOBS_SHAPE` */
export function arrayData(typeName: string, data: FobsValue, length?: number): FobsValue[] {
  if (!Array.isArray(data)) throw shapeError(typeName, 'an array')
  if (length !== undefined && data.length !== length)
    throw shapeError(typeName, `an array of ${length} entries, got ${data.length}`)
  return data
}

/** A map of any keys. @throws {FobsError} `ERR_FOBS_SHAPE` */
export function mapData(typeName: string, data: FobsValue): Map<FobsValue, FobsValue> {
  if (!(data instanceof Map)) throw shapeError(typeName, 'a map')
  return data
}

/** A map whose keys are all texts; the same object. @throws {FobsError} `ERR_FOBS_SHAPE` */
export function textMapData(typeName: string, data: FobsValue): Map<string, FobsValue> {
  const map = mapData(typeName, data)
  for (const key of map.keys())
    if (typeof key !== 'string') throw shapeError(typeName, 'a map with text keys')
  return map as Map<string, FobsValue> // just checked
}

/** A text. @throws {FobsError} `ERR_FOBS_SHAPE` */
export function textData(typeName: string, data: FobsValue | undefined): string {
  if (typeof data !== 'string') throw shapeError(typeName, 'a text')
  return data
}

/** A number, also one marked as a float. @throws {FobsError} `ERR_FOBS_SHAPE` */
export function numberData(typeName: string, data: FobsValue | undefined): number {
  if (typeof data === 'number') return data
  if (data instanceof Float) return data.value
  throw shapeError(typeName, 'a number')
}
