import type { ValueMap } from './dxo.ts'

/** The global model between rounds: what persistors load and save (workflows.md §1.5). Immutable. */
export interface Learnable {
  /** Parameter name → tensor or other value; empty means: no model yet. */
  readonly weights: ValueMap
  readonly meta: ValueMap
}

/** A model that does not exist yet. */
export const EMPTY_LEARNABLE: Learnable = Object.freeze({ weights: new Map(), meta: new Map() })
