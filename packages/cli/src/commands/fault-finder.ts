import { messageOf } from '@hanse/contract'
import type { Diagnosis, Fault } from '@hanse/doctor'

export interface FaultFinderComponents {
  diagnose(): Promise<Diagnosis>
  onFault(fault: Fault): void
  /** It could not be looked into. */
  onFailed(reason: string): void
}

/** A server that is just being started makes one attempt fail: that is no fault yet. */
const PATIENCE = 2

/**
 * Says what is wrong when a site does not get through to its server, as `hanse doctor` would, once for each stretch of
 * failures.
 */
export class FaultFinder {
  readonly #components: FaultFinderComponents
  #failures = 0
  #search: Promise<void> | undefined

  constructor(components: FaultFinderComponents) {
    this.#components = components
  }

  /** Takes what happened on the way to the server. */
  heard(event: string): void {
    if (event === 'connected') {
      this.#failures = 0
      this.#search = undefined
    }
    if (event === 'waiting') this.#failures += 1
    if (event === 'refused' || this.#failures >= PATIENCE) void this.search()
  }

  /** Looks for the fault, unless that was done since things worked last. Resolves when it was said. */
  search(): Promise<void> {
    this.#search ??= this.#find()
    return this.#search
  }

  async #find(): Promise<void> {
    const { diagnose, onFault, onFailed } = this.#components
    try {
      for (const fault of (await diagnose()).faults) onFault(fault)
    } catch (error) {
      onFailed(messageOf(error))
    }
  }
}
