import { LearningError } from '../learning-error.ts'

/** When training is good enough, and which of two models is better (workflows.md §4.1). */
export interface StopCondition {
  readonly metric: string
  readonly operator: '>=' | '<=' | '>' | '<' | '='
  readonly target: number
  /** As the job wrote it. */
  readonly text: string
}

/**
 * Reads `"accuracy >= 0.8"`: metric, operator and number, with single spaces.
 * @throws {LearningError} `ERR_COMPONENT_ARGS`
 */
export function parseStopCondition(text: string): StopCondition {
  const [metric, operator, number, ...rest] = text.split(' ')
  const target = Number(number)
  if (
    !metric ||
    !isOperator(operator) ||
    number === undefined ||
    number === '' ||
    !Number.isFinite(target) ||
    rest.length > 0
  )
    throw new LearningError(
      'ERR_COMPONENT_ARGS',
      `stop_cond "${text.slice(0, 80)}" is not "<metric> <operator> <number>" with one of >= <= > < =`,
    )
  return { metric, operator, target, text }
}

/** Whether `value operator reference` holds. */
export function compares(
  operator: StopCondition['operator'],
  value: number,
  reference: number,
): boolean {
  switch (operator) {
    case '>=':
      return value >= reference
    case '<=':
      return value <= reference
    case '>':
      return value > reference
    case '<':
      return value < reference
    case '=':
      return value === reference
    default:
      return operator satisfies never
  }
}

function isOperator(text: string | undefined): text is StopCondition['operator'] {
  return text === '>=' || text === '<=' || text === '>' || text === '<' || text === '='
}

/**
 * Follows a run's metric and decides, after each round, whether the model is the best so far and whether
 * to stop.
 */
export class EarlyStopping {
  readonly #condition: StopCondition
  /** Rounds without improvement after which to stop; 0: never for that reason. */
  readonly #patience: number
  #best: number | undefined
  #stale = 0

  constructor(condition: StopCondition, patience = 0) {
    this.#condition = condition
    this.#patience = patience
  }

  /** Judges the model of a round by its metrics; a round without the metric improves nothing. */
  judge(metrics: ReadonlyMap<string, number> | undefined): { better: boolean; stop: boolean } {
    const value = metrics?.get(this.#condition.metric)
    if (value === undefined) return { better: false, stop: false }
    const better = this.#isBetter(value)
    const stop =
      (this.#patience > 0 && this.#stale >= this.#patience) ||
      compares(this.#condition.operator, value, this.#condition.target)
    return { better, stop }
  }

  #isBetter(value: number): boolean {
    const { operator } = this.#condition
    const improves = this.#best === undefined || compares(operator, value, this.#best)
    // With patience a model that is only as good as the best does not buy more time.
    if (!improves || (this.#patience > 0 && value === this.#best)) {
      this.#stale++
      return false
    }
    this.#best = value
    this.#stale = 0
    return true
  }
}
