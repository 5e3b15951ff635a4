import type { Shareable } from '@hanse/session'
import { HEADER } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'

/**
 * What an error code of a site means for a round (workflows.md §3.2): `false` ends the run, `true` is
 * ignored, `null` is ignored as long as enough other sites are left.
 */
export class ResultErrors {
  readonly #ignore: boolean | null
  readonly #targets: number
  readonly #minResponses: number
  readonly #failed = new Set<string>()

  constructor(ignore: boolean | null, targets: number, minResponses: number) {
    this.#ignore = ignore
    this.#targets = targets
    this.#minResponses = minResponses
  }

  /** Records that `site` failed. @returns whether the run may go on */
  tolerates(site: string): boolean {
    if (this.#ignore !== null) return this.#ignore
    this.#failed.add(site)
    return this.#targets - this.#failed.size >= this.#minResponses
  }
}

const MAX_REASON_CHARS = 500

/** Why a site has no result: its code, and its own words where it gave some. */
export function failureText(result: Shareable): string {
  const code = taskReturnCode(result)
  const reason = result.headers.get(HEADER.reason)
  return typeof reason === 'string' && reason !== ''
    ? `${code}: ${reason.slice(0, MAX_REASON_CHARS)}`
    : code
}
