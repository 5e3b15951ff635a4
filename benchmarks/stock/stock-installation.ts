import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '@hanse/contract'
import { installStock } from '../../interop/support/stock-installation.ts'

const VERSIONS = `import json, sys, nvflare, numpy
print(json.dumps({"nvflare": nvflare.__version__, "numpy": numpy.__version__, "python": sys.version.split()[0]}))`

/** The stock platform, installed from its package registry into a folder of its own. */
export interface StockInstallation {
  readonly python: string
  readonly nvflare: string
  /** Folder of both. */
  readonly bin: string
  readonly versions: {
    readonly nvflare: string
    readonly numpy: string
    readonly python: string
  }
}

/** Installs what is missing, as the tests against stock do. @returns `undefined` where that is not possible */
export async function openStock(
  note: (text: string) => void,
): Promise<StockInstallation | undefined> {
  try {
    const found = await installStock()
    if (found === undefined) throw new Error('there is no python3')
    const python = join(found.bin, 'python3')
    const { stdout } = await promisify(execFile)(python, ['-c', VERSIONS])
    const nvflare = join(found.bin, 'nvflare')
    return { python, nvflare, bin: found.bin, versions: JSON.parse(stdout) }
  } catch (error) {
    note(`no stock installation, so figures come without it: ${messageOf(error)}`)
    return undefined
  }
}

/** A program's environment: nothing of the developer's own configuration. */
export function stockEnvironment(stock: StockInstallation, home: string): NodeJS.ProcessEnv {
  return {
    PATH: `${stock.bin}:${process.env['PATH'] ?? ''}`,
    HOME: home,
    PYTHONUNBUFFERED: '1',
  }
}
