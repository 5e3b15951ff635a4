import type { Clock } from '@hanse/contract'

/** What a job asks of a site; `spec/jobs.md` §2.3. */
export type ResourceRequest = ReadonlyMap<string, unknown>

export interface ResourceManagerOptions {
  /** GPUs that jobs may use. */
  readonly gpus: number
  /** Memory of each, GiB. */
  readonly gpuMemoryGib: number
  /** How long a reservation lasts unless it is allocated. */
  readonly expirationMs: number
}

/** Reservations that may stand at the same time: a server that asks without end must not fill the memory. */
const MAX_RESERVATIONS = 1_000

export type Reservation = { readonly token: string } | { readonly refusal: string }

/**
 * Counts what a site lends to jobs: reserved when the schedule asks, allocated at start, freed at the end
 * (`spec/session.md` §6.1). A job cannot start without a reservation, also if it needs nothing.
 */
export class ResourceManager {
  readonly #clock: Clock
  readonly #options: ResourceManagerOptions
  readonly #reserved = new Map<string, { readonly gpus: number; readonly expires: number }>()
  readonly #allocated = new Map<string, number>()

  constructor(clock: Clock, options: ResourceManagerOptions) {
    this.#clock = clock
    this.#options = options
  }

  reserve(request: ResourceRequest): Reservation {
    const gpus = wholeNumber(request.get('num_of_gpus') ?? 0)
    const memory = request.get('mem_per_gpu_in_GiB') ?? 0
    if (gpus === undefined) return { refusal: 'num_of_gpus must be a whole number of at least 0' }
    if (typeof memory !== 'number' || memory < 0)
      return { refusal: 'mem_per_gpu_in_GiB must be a number of at least 0' }
    if (gpus > 0 && memory > this.#options.gpuMemoryGib)
      return {
        refusal: `a GPU with ${memory} GiB was asked for, this site's have ${this.#options.gpuMemoryGib}`,
      }
    const free = this.#options.gpus - this.#inUse()
    if (gpus > free)
      return { refusal: `${gpus} GPU(s) were asked for, ${free} of ${this.#options.gpus} are free` }
    if (this.#reserved.size >= MAX_RESERVATIONS)
      return { refusal: `${MAX_RESERVATIONS} reservations stand already; start or cancel some` }
    const token = crypto.randomUUID()
    this.#reserved.set(token, { gpus, expires: this.#clock.now() + this.#options.expirationMs })
    return { token }
  }

  cancel(token: string): void {
    this.#reserved.delete(token)
  }

  /** Turns a reservation into the job's own. @returns false for one that is unknown or too old */
  allocate(token: string, jobId: string): boolean {
    this.#dropExpired()
    const reservation = this.#reserved.get(token)
    if (reservation === undefined) return false
    this.#reserved.delete(token)
    this.#allocated.set(jobId, reservation.gpus)
    return true
  }

  free(jobId: string): void {
    this.#allocated.delete(jobId)
  }

  /** For `system resources`. */
  report(): { readonly gpus: number; readonly gpusInUse: number } {
    return { gpus: this.#options.gpus, gpusInUse: this.#inUse() }
  }

  #inUse(): number {
    this.#dropExpired()
    let gpus = 0
    for (const reservation of this.#reserved.values()) gpus += reservation.gpus
    for (const allocation of this.#allocated.values()) gpus += allocation
    return gpus
  }

  #dropExpired(): void {
    const now = this.#clock.now()
    for (const [token, { expires }] of this.#reserved)
      if (expires <= now) this.#reserved.delete(token)
  }
}

function wholeNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : undefined
}
