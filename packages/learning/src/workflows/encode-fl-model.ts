import { paramsTypeEnum } from '@hanse/session'
import {
  elementBlocks,
  storedElementsOf,
  Tensor,
  tensorByteLength,
  tensorFromBytes,
} from '@hanse/tensor'
import { FLModelObject } from '../codecs/model-objects.ts'
import { encodeObjectFile } from '../codecs/object-file.ts'
import type { FLModel } from '../model/fl-model.ts'

/** Shorter arrays may be joined with what is around them, and are simply fetched. */
const MIN_PART_BYTES = 1024 * 1024

/**
 * The model as stock writes it into a file of its own: one FOBS object, arrays included, in pieces, which are borrowed
 * until the next is asked for. Stored tensors are read in blocks, so that little of the model is in memory.
 */
export function* encodeFLModel(model: FLModel): Generator<Uint8Array, void> {
  const stored = [...(model.params ?? [])].flatMap(([name, value]) =>
    value instanceof Tensor &&
    storedElementsOf(value) !== undefined &&
    tensorByteLength(value) >= MIN_PART_BYTES
      ? [{ name, value }]
      : [],
  )
  // Stands for the elements of each while the object is laid out. Never looked at: it takes addresses, not memory.
  const blank = new ArrayBuffer(Math.max(0, ...stored.map(({ value }) => tensorByteLength(value))))
  const params = model.params && new Map(model.params)
  for (const { name, value } of stored) {
    const { dtype, shape, framework } = value
    const bytes = new Uint8Array(blank, 0, tensorByteLength(value))
    params?.set(name, tensorFromBytes(dtype, shape, bytes, framework && { framework }))
  }
  let next = 0
  for (const part of encodeWhole({ ...model, params }))
    if (part.buffer === blank)
      yield* elementBlocks(stored[next++]!.value) // in the order of the parameters
    else yield part
  if (next !== stored.length) throw new TypeError('a stored array was written as something else')
}

function encodeWhole(model: FLModel): Uint8Array[] {
  const { paramsType, params, metrics, startRound, currentRound, totalRounds, meta } = model
  return encodeObjectFile(
    new FLModelObject({
      paramsType: paramsType === undefined ? null : paramsTypeEnum.member(paramsType),
      params: params === undefined ? null : new Map(params),
      optimizerParams: null,
      metrics: metrics === undefined ? null : new Map(metrics),
      startRound: startRound ?? null,
      currentRound: currentRound ?? null,
      totalRounds: totalRounds ?? null,
      meta: new Map(meta),
    }),
  )
}
