import { execFile } from 'node:child_process'
import { access, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

const VENV = fileURLToPath(new URL('../../.cache/venv', import.meta.url))
const PACKAGES = ['nvflare==2.9.*', 'numpy', 'scikit-learn', 'safetensors']

/** The stock package in a virtual environment of this repository. */
export interface StockInstallation {
  /** Folder of `python3` and `nvflare`. */
  readonly bin: string
  readonly version: string
}

/** Finds or makes the installation; `undefined` where this machine has no Python. */
export async function installStock(): Promise<StockInstallation | undefined> {
  const found = await findStock()
  if (found !== undefined) return found
  try {
    await run('python3', ['--version'])
  } catch {
    return undefined
  }
  await mkdir(join(VENV, '..'), { recursive: true })
  await run('python3', ['-m', 'venv', VENV])
  await run(join(VENV, 'bin', 'pip'), ['install', '--quiet', ...PACKAGES])
  return findStock()
}

/** The installation, if it is there. */
export async function findStock(): Promise<StockInstallation | undefined> {
  const bin = join(VENV, 'bin')
  try {
    await access(join(bin, 'nvflare'))
    const { stdout } = await run(join(bin, 'python3'), [
      '-c',
      'import nvflare, numpy, sklearn, safetensors; print(nvflare.__version__)',
    ])
    const version = stdout.trim()
    return version.startsWith('2.9.') ? { bin, version } : undefined
  } catch {
    return undefined
  }
}
