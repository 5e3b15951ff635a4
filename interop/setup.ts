import type { TestProject } from 'vitest/node'
import { installStock, type StockInstallation } from './support/stock-installation.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** `null` where this machine has no Python. */
    stock: StockInstallation | null
  }
}

/** Installs the stock package once for all files. */
export async function setup(project: TestProject): Promise<void> {
  const stock = await installStock()
  if (stock === undefined) {
    const text = 'interop: python3 is not on this machine, so nothing is compared with FLARE'
    if (process.env['CI'] === 'true') throw new Error(text)
    process.stderr.write(`${text}\n`)
  }
  project.provide('stock', stock ?? null)
}
