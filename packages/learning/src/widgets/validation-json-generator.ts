import type { RunContext } from '../components/run-context.ts'
import type { EventHandler, RunEvent } from '../components/run-events.ts'

/** Collects what sites measured on each other's models and writes it as `{site: {owner: metrics}}` at the end. */
export class ValidationJsonGenerator implements EventHandler {
  readonly #path: string
  readonly #context: Pick<RunContext, 'files'>
  readonly #results = new Map<string, Map<string, ReadonlyMap<string, number>>>()

  constructor(path: string, context: Pick<RunContext, 'files'>) {
    this.#path = path
    this.#context = context
  }

  async onEvent(event: RunEvent): Promise<void> {
    if (event.type === 'validation-result') {
      const own = this.#results.get(event.site) ?? new Map()
      own.set(event.modelOwner, event.metrics)
      this.#results.set(event.site, own)
    } else if (event.type === 'run-ending') await this.#write()
  }

  async #write(): Promise<void> {
    // `fromEntries` defines its keys, so names from the wire cannot reach a prototype.
    const results = Object.fromEntries(
      [...this.#results].map(([site, models]) => [
        site,
        Object.fromEntries(
          [...models].map(([owner, metrics]) => [owner, Object.fromEntries(metrics)]),
        ),
      ]),
    )
    await this.#context.files.write(this.#path, [new TextEncoder().encode(JSON.stringify(results))])
  }
}
