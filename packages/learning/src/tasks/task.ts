import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'

/** How a task ended (session.md §7.1). */
export type TaskStatus = 'ok' | 'timeout' | 'error' | 'cancelled' | 'aborted' | 'client_dead'

/** Who gets a task, and when it is done (session.md §7.2). */
export type Distribution =
  | {
      /** Each target once; done when all answered, or `waitMs` after `minResponses` did. */
      readonly kind: 'broadcast'
      /** 0: all targets. */
      readonly minResponses?: number
      readonly waitMs?: number
    }
  | {
      /** Each target whenever it asks; ends by time-out or cancellation only. */
      readonly kind: 'broadcast-forever'
    }
  | {
      /** One target; done with its answer. */
      readonly kind: 'send'
      /** `sequential`: the first target, and every `assignmentMs` one more of them may take it. */
      readonly order: 'any' | 'sequential'
      readonly assignmentMs?: number
    }
  | {
      /** One target after the other; done when the last answered. */
      readonly kind: 'relay'
      readonly order: 'any' | 'sequential'
      /** How long a target may take to fetch the task before the next one may; 0: for ever. */
      readonly assignmentMs?: number
      /** How long a target may take to answer before the next one is served; 0: for ever. */
      readonly resultMs?: number
      /** Sites that ask and are not in the list are added at its end. */
      readonly dynamicTargets?: boolean
    }

/** One task to post. */
export interface TaskSpec {
  readonly name: string
  /** Shared by all sites and not changed; a function makes it when a site is served, for relays. */
  readonly data: Shareable | ((site: string) => Shareable)
  /** Site names, in order. */
  readonly targets: readonly string[]
  readonly distribution: Distribution
  /** From posting; 0 or absent: never. */
  readonly timeoutMs?: number
  /** What hierarchical sites are told about the distribution; header `__task_operator__`. */
  readonly operator?: ReadonlyMap<string, FobsValue>
  /** Before a site gets it. A throw ends the task with `error`. */
  readonly onBeforeSend?: (site: string) => void
  /**
   * With each answer, once per delivery. Awaited before the site is told that its result arrived, so slow
   * work slows the sender. A throw ends the task with `error`.
   */
  readonly onResult?: (site: string, result: Shareable) => void | Promise<void>
}

/** How a task went. */
export interface TaskOutcome {
  readonly status: TaskStatus
  /** Sites that answered, in the order of their answers. */
  readonly answered: readonly string[]
  /** Of an `error`: what was thrown. */
  readonly cause?: unknown
}

/** A posted task. */
export interface StandingTask {
  readonly name: string
  /** Resolves when the task ends; never rejects. */
  readonly done: Promise<TaskOutcome>
  /** Ends the task; answers that are being handled still finish first. */
  cancel(status?: 'cancelled' | 'aborted'): void
}

/** Where workflows post tasks. */
export interface TaskPoster {
  /**
   * Sites that ask get the task from now on, tasks in the order of posting.
   * @throws {LearningError} `ERR_TASK` on a spec that could never end or be served
   */
  post(spec: TaskSpec): StandingTask
}
