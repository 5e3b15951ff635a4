/** One thing that is wrong with a job. */
export interface Problem {
  /**
   * Where: the file's path in the job folder, then `#` and a JSON pointer into it, e.g.
   * `app/config/config_fed_server.json#/workflows/0/path`.
   */
  readonly place: string
  readonly code: ProblemCode
  /** What was seen, what is allowed, what to do. */
  readonly message: string
}

export type ProblemCode =
  | 'layout'
  | 'meta-missing'
  | 'meta-invalid'
  | 'name-invalid'
  | 'deploy-map'
  | 'min-clients'
  | 'mandatory-clients'
  | 'resource-spec'
  | 'launcher-spec'
  | 'config-missing'
  | 'config-format'
  | 'config-invalid'
  | 'component-unknown'
  | 'component-invalid'
  | 'command'
  | 'datasets'
  | 'too-many'

/** More are not told: the first hundred are enough to see what is wrong. */
const MAX_PROBLEMS = 100

/** Collects problems; every check reports and goes on. */
export class ProblemList {
  readonly #problems: Problem[] = []
  #dropped = 0

  add(place: string, code: ProblemCode, message: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ place, code, message })
    else this.#dropped++
  }

  get all(): readonly Problem[] {
    if (this.#dropped === 0) return this.#problems
    const message = `${this.#dropped} more problems are not listed`
    return [...this.#problems, { place: '', code: 'too-many', message }]
  }

  get isEmpty(): boolean {
    return this.#problems.length === 0
  }
}

/** One step of a JSON pointer (RFC 6901). */
export function pointerTo(parent: string, step: string | number): string {
  return `${parent}/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** All problems as one text, one a line, for replies and terminals. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems
    .map(({ place, message }) => (place === '' ? message : `${place}: ${message}`))
    .join('\n')
}
