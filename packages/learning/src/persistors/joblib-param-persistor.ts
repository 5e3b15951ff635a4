import type { Persistor } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import type { ValueMap } from '../model/dxo.ts'
import type { Learnable } from '../model/learnable.ts'
import { encodePickle } from './encode-pickle.ts'

/** Keeps a model's parameters, arrays and settings alike, in a file for `joblib.load`. */
export class JoblibParamPersistor implements Persistor {
  readonly #initial: ValueMap
  readonly #path: string
  readonly #context: Pick<RunContext, 'files'>

  /** @param path of the file in the run's folder */
  constructor(initial: ValueMap, path: string, context: Pick<RunContext, 'files'>) {
    this.#initial = initial
    this.#path = path
    this.#context = context
  }

  async load(): Promise<Learnable> {
    if (this.#initial.size === 0)
      throw new LearningError('ERR_PERSISTOR', 'initial_params has nothing to begin with')
    return { weights: this.#initial, meta: new Map() }
  }

  async save(model: Learnable): Promise<string> {
    await this.#context.files.write(this.#path, encodePickle(new Map(model.weights)))
    return this.#path
  }
}
