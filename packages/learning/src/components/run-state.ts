import { EMPTY_LEARNABLE, type Learnable } from '../model/learnable.ts'

/** What the components of a run share: stock's sticky context properties, as plain fields. */
export class RunState {
  /** The model that sites train on now. */
  globalModel: Learnable = EMPTY_LEARNABLE
  /** `undefined` before the first round. */
  currentRound: number | undefined
  startRound = 0
  totalRounds = 0
}
