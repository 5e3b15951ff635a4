import type { Executor } from '../components/contracts.ts'
import { LearningError } from '../learning-error.ts'
import { matchesPattern } from './task-pattern.ts'

/** Which executor does which task: exact names first, then patterns in order (jobs.md §3.3). */
export class ExecutorTable {
  readonly #exact = new Map<string, Executor>()
  readonly #patterns: { readonly pattern: string; readonly executor: Executor }[] = []

  /**
   * @param tasks names, and patterns with `*`
   * @throws {LearningError} `ERR_APP_CONFIG` on an empty list or a task that has an executor already
   */
  add(tasks: readonly string[], executor: Executor): void {
    if (tasks.length === 0) throw new LearningError('ERR_APP_CONFIG', 'an executor has no tasks')
    for (const task of new Set(tasks)) {
      if (this.#exact.has(task) || this.#patterns.some(({ pattern }) => pattern === task))
        throw new LearningError('ERR_APP_CONFIG', `task "${task}" has two executors`)
      if (task.includes('*')) this.#patterns.push({ pattern: task, executor })
      else this.#exact.set(task, executor)
    }
  }

  find(task: string): Executor | undefined {
    return (
      this.#exact.get(task) ??
      this.#patterns.find(({ pattern }) => matchesPattern(pattern, task))?.executor
    )
  }
}
