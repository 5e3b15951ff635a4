import { paramsTypeEnum } from '@hanse/session'
import { FLModelObject } from '../codecs/model-objects.ts'
import { encodeObjectFile } from '../codecs/object-file.ts'
import type { FLModel } from '../model/fl-model.ts'

/** The model as stock writes it into a file of its own: one FOBS object, arrays included, in pieces. */
export function encodeFLModel(model: FLModel): Uint8Array[] {
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
