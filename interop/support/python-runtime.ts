import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { StockInstallation } from './stock-installation.ts'

/** A runtime as a site's administrator writes it into `local/hanse.json`. */
export interface PythonRuntime {
  readonly program: string
  readonly kind: 'python'
  readonly read: readonly string[]
}

/** The stock installation as a runtime: the virtual environment, and the installation that it was made from. */
export async function pythonRuntime({ bin }: StockInstallation): Promise<PythonRuntime> {
  const program = join(bin, 'python3')
  const base = dirname(dirname(await realpath(program)))
  const read = [await realpath(dirname(bin)), ...(base === '/usr' ? [] : [base])]
  return { program: join(read[0]!, 'bin', 'python3'), kind: 'python', read }
}
