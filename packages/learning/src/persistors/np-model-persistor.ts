import { blocksOf, messageOf } from '@hanse/contract'
import {
  encodeNpy,
  encodeNpz,
  isTensor,
  type NestedNumbers,
  parseNpy,
  type Tensor,
  tensorFromNested,
} from '@hanse/tensor'
import type { Persistor } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import type { Learnable } from '../model/learnable.ts'

/** The one parameter that stock's NumPy components know. */
export const NUMPY_KEY = 'numpy_key'

/** What stock starts with when a job gives nothing. */
const DEFAULT_MODEL: NestedNumbers = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
]

/** Arguments under our names (workflows.md §8.4). */
export interface NpModelPersistorSettings {
  /** File in the run's folder, e.g. `models/server.npy`. */
  readonly path: string
  /** Where an earlier model is read from, in this order. */
  readonly model?: NestedNumbers | undefined
  /** File below the job's `custom/` to start from; must exist. */
  readonly source?: string | undefined
}

/**
 * Keeps a model of one array as `.npy`. A model without `numpy_key`, on which stock fails, is written as
 * `.npz` beside it.
 */
export class NpModelPersistor implements Persistor {
  readonly #settings: NpModelPersistorSettings
  readonly #context: Pick<RunContext, 'files' | 'log'>

  constructor(settings: NpModelPersistorSettings, context: Pick<RunContext, 'files' | 'log'>) {
    this.#settings = settings
    this.#context = context
  }

  async load(): Promise<Learnable> {
    return { weights: new Map([[NUMPY_KEY, await this.#start()]]), meta: new Map() }
  }

  save(model: Learnable): Promise<string> {
    return saveNumpyModel(this.#context, this.#settings.path, model)
  }

  async #start(): Promise<Tensor> {
    const { source, path, model } = this.#settings
    const { files } = this.#context
    if (source !== undefined) return readArray(await this.#read(source), source)
    const saved = await files.read(path)
    if (saved !== undefined) return readArray(saved, path)
    return tensorFromNested(model ?? DEFAULT_MODEL, 'float32')
  }

  async #read(source: string): Promise<Uint8Array> {
    // Stock opens any path of the server's disk; a job has no business there.
    if (source.startsWith('/') || /^[A-Za-z]:/.test(source))
      throw new LearningError(
        'ERR_PERSISTOR',
        `source_ckpt_file_full_name "${source}" is absolute: put the file below the job's custom/ and name it relative to that`,
      )
    const bytes = await this.#context.files.readCustom(source)
    if (bytes === undefined)
      throw new LearningError('ERR_PERSISTOR', `the job has no file custom/${source} to start from`)
    return bytes
  }
}

/** Writes `numpy_key` to `path`, or all arrays as `.npz` beside it when there is no such parameter. */
export async function saveNumpyModel(
  { files, log }: Pick<RunContext, 'files' | 'log'>,
  path: string,
  model: Learnable,
): Promise<string> {
  const array = model.weights.get(NUMPY_KEY)
  if (isTensor(array)) {
    await files.write(path, blocksOf(encodeNpy(array)))
    return path
  }
  const tensors = [...model.weights].filter((entry): entry is [string, Tensor] =>
    isTensor(entry[1]),
  )
  const npz = `${path.replace(/\.npy$/, '')}.npz`
  log.info(`the model has no ${NUMPY_KEY}: its arrays are saved as .npz`, {
    path: npz,
    arrays: tensors.length,
  })
  await files.write(npz, blocksOf(encodeNpz(tensors)))
  return npz
}

function readArray(bytes: Uint8Array, path: string): Tensor {
  try {
    return parseNpy(bytes)
  } catch (cause) {
    throw new LearningError('ERR_PERSISTOR', `${path}: ${messageOf(cause)}`, {}, { cause })
  }
}
