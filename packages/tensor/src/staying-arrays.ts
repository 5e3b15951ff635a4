import { type BytePart, type StoredBytes, stretchesOf } from '@hanse/contract'
import type { DType } from './dtype.ts'
import { storedTensor } from './stored-tensor.ts'
import { type Framework, Tensor } from './tensor.ts'

/** Shorter arrays are not worth reading them from a file again and again. */
export const MIN_STAYING_BYTES = 64 * 1024

/** An array that stays in the stored file where it was found. */
export interface StayingArray {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Of the elements, in the file. */
  readonly start: number
  readonly byteLength: number
}

/** Some bytes of a file: a view on one in memory, else a copy. */
export function bytesAt(file: BytePart, start: number, byteLength: number): Uint8Array {
  if (file instanceof Uint8Array) return file.subarray(start, start + byteLength)
  const bytes = new Uint8Array(byteLength)
  file.read(bytes, start)
  return bytes
}

/**
 * Tensors of what was found in a stored file. The arrays that stay share it: it is released when all of them are, or at
 * once if there are none.
 */
export function tensorsStaying(
  file: StoredBytes,
  found: ReadonlyMap<string, Tensor | StayingArray>,
  framework?: Framework,
): Map<string, Tensor> {
  const staying = [...found.values()].filter(isStaying)
  const stretches = stretchesOf(file, staying)
  if (staying.length === 0) file.release()
  let next = 0
  return new Map(
    [...found].map(([name, array]) => [
      name,
      isStaying(array)
        ? storedTensor(array.dtype, array.shape, stretches[next++]!, framework)
        : array,
    ]),
  )
}

function isStaying(array: Tensor | StayingArray): array is StayingArray {
  return !(array instanceof Tensor)
}
