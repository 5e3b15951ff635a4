type Listener<Event> = (event: Event) => void

/**
 * Notifications by name, for things nobody must answer. A listener that throws harms neither the others nor
 * the source: its error goes to `onError`.
 */
export class EventSource<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** Listens until the result is disposed. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): Disposable {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener)
    return { [Symbol.dispose]: () => void listeners.delete(listener) }
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        // Listeners are stored under the name whose event they take.
        const take = listener as Listener<Events[Name]>
        take(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}
