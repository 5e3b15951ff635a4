import { messageOf } from '@hanse/contract'
import type { Shareable } from '@hanse/session'
import type { Filter, FilterContext } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'

/** One chain of a job's config (jobs.md §3.4). */
export interface FilterChain {
  /** Task names, matched exactly. */
  readonly tasks: readonly string[]
  readonly filters: readonly Filter[]
  readonly direction: 'in' | 'out' | 'inout'
}

type Payload = FilterContext['payload']

/** The filters of a job at one place: for each task and direction at most one chain. */
export class FilterChains {
  readonly #chains = new Map<string, readonly Filter[]>()
  /** Run first, whatever the task: what the place itself demands. */
  readonly #always: {
    readonly payload: Payload
    readonly direction: 'in' | 'out'
    readonly filters: readonly Filter[]
  }[] = []

  /**
   * Adds filters of the place (a site's privacy scope), which run before the job's own.
   * @param filters in order
   */
  addAlways(payload: Payload, direction: 'in' | 'out', filters: readonly Filter[]): void {
    this.#always.push({ payload, direction, filters })
  }

  /** @throws {LearningError} `ERR_APP_CONFIG` on a second chain for a task and direction */
  add(payload: Payload, { tasks, filters, direction }: FilterChain): void {
    const directions = direction === 'inout' ? (['in', 'out'] as const) : [direction]
    for (const task of tasks)
      for (const one of directions) {
        const key = keyOf(payload, task, one)
        if (this.#chains.has(key))
          throw new LearningError(
            'ERR_APP_CONFIG',
            `task "${task}" has two chains of ${payload} filters for "${one}"`,
          )
        this.#chains.set(key, filters)
      }
  }

  /**
   * Runs the filters in order: the place's, then the job's.
   * @throws {LearningError} `ERR_FILTER` when one refuses or fails; the message must not go on
   */
  async run(message: Shareable, context: FilterContext): Promise<Shareable> {
    const { payload, direction, taskName } = context
    const place = this.#always
      .filter((chain) => chain.payload === payload && chain.direction === direction)
      .flatMap(({ filters }) => filters)
    const own = this.#chains.get(keyOf(payload, taskName, direction)) ?? []
    let current = message
    for (const filter of [...place, ...own]) {
      try {
        current = await filter.process(current, context)
      } catch (cause) {
        throw new LearningError(
          'ERR_FILTER',
          `a filter for ${payload} of task "${taskName}" refused it: ${messageOf(cause)}`,
          {},
          { cause },
        )
      }
    }
    return current
  }
}

function keyOf(payload: Payload, task: string, direction: 'in' | 'out'): string {
  return `${payload}/${direction}/${task}`
}
