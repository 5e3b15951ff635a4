import type { Shareable } from '@hanse/session'
import type { Dxo, ValueMap } from '../model/dxo.ts'
import type { Learnable } from '../model/learnable.ts'
import type { StopCondition } from '../workflows/stop-condition.ts'

/** One site's part in a round, as shown to people. */
export interface ContributionReport {
  readonly site: string
  readonly round: number
  readonly accepted: boolean
  /** Why not, when it was not. */
  readonly reason?: string | undefined
  /** Examples that it says it trained on. */
  readonly steps?: number | undefined
  /** What it counts: steps × the site's factor. */
  readonly weight?: number | undefined
  /** Numbers that the site reported; of the model it received, unless the job says otherwise. */
  readonly metrics?: ReadonlyMap<string, number> | undefined
}

/**
 * What happens in a run, in the order of a round (workflows.md §8.7). Each event is given to the components
 * one after the other, awaited, before what it tells of goes on. Contributions of different sites may
 * overlap: those events come in the order of their arrival.
 */
export type RunEvent =
  | { readonly type: 'run-started' }
  | { readonly type: 'training-started'; readonly workflow: string }
  | { readonly type: 'initial-model-loaded'; readonly model: Learnable }
  | {
      readonly type: 'round-started'
      readonly round: number
      readonly startRound: number
      readonly totalRounds: number
      readonly sites: readonly string[]
    }
  | {
      readonly type: 'before-contribution'
      readonly site: string
      readonly round: number
      readonly result: Shareable
      readonly dxo: Dxo | undefined
    }
  | { readonly type: 'contribution'; readonly report: ContributionReport }
  | { readonly type: 'before-aggregation'; readonly round: number }
  | {
      readonly type: 'after-aggregation'
      readonly round: number
      readonly accepted: readonly string[]
      /** Weighted means of the sites' metrics. */
      readonly metrics: ReadonlyMap<string, number> | undefined
      /** What the weights were made of; `undefined` when an aggregator of the job's own decided. */
      readonly weighting: 'factor-and-steps' | 'steps' | undefined
      readonly stopCondition?: StopCondition | undefined
    }
  | { readonly type: 'model-updated'; readonly round: number; readonly model: Learnable }
  | {
      readonly type: 'best-model'
      readonly round: number
      readonly metric: string
      /** As sites reported it, averaged. */
      readonly value: number
      readonly better: 'max' | 'min'
      readonly model: Learnable
    }
  | { readonly type: 'model-saved'; readonly round: number; readonly path: string }
  | { readonly type: 'round-finished'; readonly round: number; readonly totalRounds: number }
  | { readonly type: 'training-finished'; readonly workflow: string; readonly model: Learnable }
  | {
      readonly type: 'validation-result'
      /** Where the model was tried. */
      readonly site: string
      readonly modelOwner: string
      /** As the site sent them: numbers, mostly. */
      readonly metrics: ValueMap
    }
  | {
      readonly type: 'site-event'
      readonly name: string
      readonly site: string
      readonly data: ValueMap
      readonly dxo: Dxo | undefined
    }
  | { readonly type: 'run-ending' }

/** A component that wants to know. It cannot stop the run: what it throws is logged. */
export interface EventHandler {
  onEvent(event: RunEvent): void | Promise<void>
}

/** True when a component has an `onEvent` method. */
export function isEventHandler(component: unknown): component is EventHandler {
  return (
    typeof component === 'object' &&
    component !== null &&
    'onEvent' in component &&
    typeof component.onEvent === 'function'
  )
}

/** Where a run's events go. */
export interface RunEvents {
  /** Resolves when every handler has dealt with it; never rejects. */
  fire(event: RunEvent): Promise<void>
}
