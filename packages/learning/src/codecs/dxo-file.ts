import { dataKindEnum } from '@hanse/session'
import { LearningError } from '../learning-error.ts'
import { readDataKind } from '../model/data-kind.ts'
import { type Dxo, isValueMap } from '../model/dxo.ts'
import { DxoObject } from './model-objects.ts'
import { decodeObjectFile, encodeObjectFile } from './object-file.ts'

/** The DXO as a file that stock's `dxo.from_file` reads, in pieces. */
export function encodeDxoFile({ kind, data, meta }: Dxo): Uint8Array[] {
  return encodeObjectFile(new DxoObject(dataKindEnum.member(kind), data, new Map(meta)))
}

/**
 * The DXO in such a file; arrays are views on `bytes`.
 * @throws {LearningError} `ERR_DXO` when it holds something else
 * @throws {FobsError}
 */
export function decodeDxoFile(bytes: Uint8Array): Dxo {
  const object = decodeObjectFile(bytes)
  const meta = object instanceof DxoObject ? (object.meta ?? new Map()) : undefined
  if (!(object instanceof DxoObject) || !isValueMap(meta))
    throw new LearningError('ERR_DXO', 'the file holds no DXO')
  return { kind: readDataKind(object.dataKind), data: object.data, meta }
}
