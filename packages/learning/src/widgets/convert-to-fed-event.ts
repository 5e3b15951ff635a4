/** Which local events of a site the server hears of, and under which names (client-api.md §6). */
export class ConvertToFedEvent {
  readonly #events: ReadonlySet<string>
  readonly #prefix: string

  constructor(events: readonly string[], prefix: string) {
    this.#events = new Set(events)
    this.#prefix = prefix
  }

  /** The event's name on its way to the server; `undefined` when it stays here. */
  federatedName(event: string): string | undefined {
    return this.#events.has(event) ? `${this.#prefix}${event}` : undefined
  }
}
