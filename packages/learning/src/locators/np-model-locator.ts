import { messageOf } from '@hanse/contract'
import { parseNpy } from '@hanse/tensor'
import type { ModelLocator } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'
import type { Dxo } from '../model/dxo.ts'
import { NUMPY_KEY } from '../persistors/np-model-persistor.ts'

/** Finds models of one array that were saved in the run's folder as `.npy`. */
export class NpModelLocator implements ModelLocator {
  readonly #paths: ReadonlyMap<string, string>
  readonly #context: Pick<RunContext, 'files' | 'log'>

  /** @param paths name of the model → file in the run's folder */
  constructor(paths: ReadonlyMap<string, string>, context: Pick<RunContext, 'files' | 'log'>) {
    this.#paths = paths
    this.#context = context
  }

  names(): readonly string[] {
    return [...this.#paths.keys()]
  }

  async locate(name: string): Promise<Dxo | undefined> {
    const { files, log } = this.#context
    const path = this.#paths.get(name)
    const bytes = path === undefined ? undefined : await files.read(path)
    if (bytes === undefined) return undefined
    try {
      return { kind: 'WEIGHTS', data: new Map([[NUMPY_KEY, parseNpy(bytes)]]), meta: new Map() }
    } catch (error) {
      log.error('a saved model cannot be read', { name, path, error: messageOf(error) })
      return undefined
    }
  }
}
