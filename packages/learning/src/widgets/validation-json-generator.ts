import type { RunContext } from '../components/run-context.ts'
import type { EventHandler, RunEvent } from '../components/run-events.ts'
import type { ValueMap } from '../model/dxo.ts'
import { jsonOfValue } from '../model/json-of-value.ts'

/** Collects what sites measured on each other's models and writes it as `{site: {owner: metrics}}` at the end. */
export class ValidationJsonGenerator implements EventHandler {
  readonly #path: string
  readonly #context: Pick<RunContext, 'files'>
  readonly #results = new Map<string, Map<string, ValueMap>>()

  constructor(path: string, context: Pick<RunContext, 'files'>) {
    this.#path = path
    this.#context = context
  }

  async onEvent(event: RunEvent): Promise<void> {
    if (event.type === 'validation-result') {
      const own = this.#results.get(event.site) ?? new Map()
      own.set(event.modelOwner, event.metrics)
      this.#results.set(event.site, own)
    } else if (event.type === 'run-ending') {
      const text = JSON.stringify(jsonOfValue(this.#results))
      await this.#context.files.write(this.#path, [new TextEncoder().encode(text)])
    }
  }
}
