import { coreCodecs, createFobsRegistry, encode, type FobsRegistry } from '@hanse/fobs'
import { paramsTypeEnum, platformCodecs } from '@hanse/session'
import { learningCodecs } from '../codecs/codec-lists.ts'
import { FLModelObject } from '../codecs/model-objects.ts'
import type { FLModel } from '../model/fl-model.ts'

let registry: FobsRegistry | undefined

/** The model as stock writes it into a file of its own: one FOBS object, arrays included, in pieces. */
export function encodeFLModel(model: FLModel): Uint8Array[] {
  registry ??= createFobsRegistry(coreCodecs, platformCodecs, learningCodecs)
  const { paramsType, params, metrics, startRound, currentRound, totalRounds, meta } = model
  return encode(
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
    registry,
  ).parts
}
