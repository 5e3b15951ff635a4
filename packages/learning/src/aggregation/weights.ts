import type { FobsValue } from '@hanse/fobs'
import type { ValueMap } from '../model/dxo.ts'
import { META } from '../model/fl-model.ts'
import { scalarOf } from '../model/numbers.ts'

/**
 * How many examples a site says it trained on; 1 when it says nothing usable (workflows.md §4.1). It is the
 * site's own claim.
 */
export function stepsOf(meta: ValueMap): number {
  const value: FobsValue | undefined = meta.get(META.steps)
  if (typeof value === 'boolean') return 1
  const steps = scalarOf(value)
  return steps !== undefined && Number.isFinite(steps) && steps > 0 ? steps : 1
}
