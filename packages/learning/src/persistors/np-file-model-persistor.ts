import type { Persistor } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'
import type { EventHandler, RunEvent } from '../components/run-events.ts'
import type { Learnable } from '../model/learnable.ts'
import { NpModelPersistor, saveNumpyModel } from './np-model-persistor.ts'

/** Arguments under our names (workflows.md §8.4). */
export interface NpFileModelPersistorSettings {
  readonly lastPath: string
  readonly bestPath: string
  /** Where the first model is read from. */
  readonly modelPath: string
  readonly source?: string | undefined
}

/** Keeps the last model and the best one, each as `.npy`. */
export class NpFileModelPersistor implements Persistor, EventHandler {
  readonly #settings: NpFileModelPersistorSettings
  readonly #context: Pick<RunContext, 'files' | 'log'>

  constructor(settings: NpFileModelPersistorSettings, context: Pick<RunContext, 'files' | 'log'>) {
    this.#settings = settings
    this.#context = context
  }

  load(): Promise<Learnable> {
    const { modelPath: path, source } = this.#settings
    return new NpModelPersistor({ path, source }, this.#context).load()
  }

  save(model: Learnable): Promise<string> {
    return saveNumpyModel(this.#context, this.#settings.lastPath, model)
  }

  async onEvent(event: RunEvent): Promise<void> {
    if (event.type === 'best-model')
      await saveNumpyModel(this.#context, this.#settings.bestPath, event.model)
  }
}
