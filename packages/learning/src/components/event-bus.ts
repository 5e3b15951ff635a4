import type { Logger } from '@hanse/contract'
import type { EventHandler, RunEvent, RunEvents } from './run-events.ts'

/** Gives each event to the handlers one after the other, in the order in which they were added. */
export class EventBus implements RunEvents {
  readonly #log: Logger
  readonly #handlers: EventHandler[] = []

  constructor(log: Logger) {
    this.#log = log
  }

  add(handler: EventHandler): void {
    this.#handlers.push(handler)
  }

  async fire(event: RunEvent): Promise<void> {
    Object.freeze(event)
    for (const handler of this.#handlers) {
      try {
        await handler.onEvent(event)
      } catch (error) {
        this.#log.error('a component failed on an event', { event: event.type, error })
      }
    }
  }
}
