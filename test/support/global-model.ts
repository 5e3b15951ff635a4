import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, type Tensor } from '@hanse/tensor'

/** The final model of a downloaded result. */
export async function readGlobalModel(folder: string): Promise<ReadonlyMap<string, Tensor>> {
  const bytes = await readFile(join(folder, 'workspace', 'global_model.safetensors'))
  return parseSafetensors(new Uint8Array(bytes)).tensors
}
