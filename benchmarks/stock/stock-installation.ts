import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const VENV_BIN = fileURLToPath(new URL('../../.cache/venv/bin', import.meta.url))
const SETUP = fileURLToPath(new URL('setup', import.meta.url))
const VERSIONS = `import json, sys, nvflare, numpy
print(json.dumps({"nvflare": nvflare.__version__, "numpy": numpy.__version__, "python": sys.version.split()[0]}))`

/** The stock platform, installed from its package registry into a folder of its own. */
export interface StockInstallation {
  readonly python: string
  readonly nvflare: string
  readonly bin: string
  readonly versions: {
    readonly nvflare: string
    readonly numpy: string
    readonly python: string
  }
}

/** Installs what is missing. @returns `undefined` where that is not possible */
export async function openStock(
  note: (text: string) => void,
): Promise<StockInstallation | undefined> {
  const setup = spawnSync(SETUP, { stdio: ['ignore', 2, 2] })
  if (setup.status !== 0) {
    note('no stock installation: figures come without it')
    return undefined
  }
  const python = `${VENV_BIN}/python`
  const { stdout } = await promisify(execFile)(python, ['-c', VERSIONS])
  return { python, nvflare: `${VENV_BIN}/nvflare`, bin: VENV_BIN, versions: JSON.parse(stdout) }
}

/** A program's environment: nothing of the developer's own configuration. */
export function stockEnvironment(stock: StockInstallation, home: string): NodeJS.ProcessEnv {
  return {
    PATH: `${stock.bin}:${process.env['PATH'] ?? ''}`,
    HOME: home,
    PYTHONUNBUFFERED: '1',
  }
}
