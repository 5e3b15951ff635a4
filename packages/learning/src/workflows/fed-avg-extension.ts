import type { FobsValue } from '@hanse/fobs'
import type { ValueMap } from '../model/dxo.ts'

/**
 * What an algorithm averages besides the parameters, or in their place. Its values are part of the contribution
 * they came with, so all of it counts whole or not at all, with the same weight.
 */
export interface FedAvgExtension {
  /** Before the first round. */
  begin(model: ValueMap): void
  /** Added to the meta of a round's task. */
  taskMeta(): ValueMap
  /**
   * What is averaged of a site's result.
   * @param params of the site, checked against the model
   * @throws {LearningError} `ERR_CONTRIBUTION` when the site sent too little or what does not fit
   */
  contribution(params: ValueMap, meta: ValueMap): ValueMap
  /**
   * Takes its own part out of the means.
   * @returns the parameters of the next model, or the differences that sites sent
   * @throws {LearningError} `ERR_ROUND` when nothing can be made of it
   */
  takeMeans(means: ReadonlyMap<string, FobsValue>): Map<string, FobsValue>
}
