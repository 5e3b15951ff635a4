import { blocksOf } from '@hanse/contract'
import { castTensor, encodeSafetensors, isTensor, Tensor } from '@hanse/tensor'
import type { RunContext } from '../components/run-context.ts'
import type { Learnable } from '../model/learnable.ts'
import { scalarOf } from '../model/numbers.ts'

/** Where the global model is found after every run, whatever persistor the job names. */
export const GLOBAL_MODEL_FILE = 'global_model.safetensors'

/**
 * Writes the model's arrays and numbers as safetensors. Complex numbers of 128 bits become 64, the widest
 * that the format has; values that are neither array nor number are left out, with a line in the log.
 */
export async function saveGlobalModel(
  { files, log, jobId }: Pick<RunContext, 'files' | 'log' | 'jobId'>,
  model: Learnable,
  round: number,
): Promise<void> {
  const tensors = new Map<string, Tensor>()
  const skipped: string[] = []
  for (const [name, value] of model.weights) {
    const number = isTensor(value) ? undefined : scalarOf(value)
    if (isTensor(value))
      tensors.set(name, value.dtype === 'complex128' ? castTensor(value, 'complex64') : value)
    else if (number !== undefined)
      tensors.set(name, new Tensor('float64', [], Float64Array.of(number)))
    else skipped.push(name)
  }
  if (skipped.length > 0)
    log.warn('parameters that are no arrays are not in the saved model', {
      file: GLOBAL_MODEL_FILE,
      count: skipped.length,
    })
  const isTorch = [...tensors.values()].some(({ framework }) => framework === 'torch')
  const metadata = new Map([
    ['format', isTorch ? 'pt' : 'np'],
    ['job', jobId],
    ['round', String(round)],
  ])
  await files.write(GLOBAL_MODEL_FILE, blocksOf(encodeSafetensors(tensors, metadata)))
}
