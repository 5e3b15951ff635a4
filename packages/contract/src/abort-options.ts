/** Last parameter of everything that waits: it rejects with `signal.reason` once the signal fires. */
export interface AbortOptions {
  readonly signal?: AbortSignal | undefined
}
