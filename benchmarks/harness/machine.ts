import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import type { StockInstallation } from '../stock/stock-installation.ts'

/** Where and on what numbers were measured. */
export interface Machine {
  readonly node: string
  readonly openssl: string
  readonly hanse: string
  readonly commit: string
  readonly nvflare: string
  readonly numpy: string
  readonly python: string
  readonly kernel: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  /** Average number of runnable processes before the run: a busy machine shows here. */
  readonly load: number
}

const NONE = 'not installed'

export async function describeMachine(stock: StockInstallation | undefined): Promise<Machine> {
  const manifest: { version: string } = JSON.parse(
    await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
  )
  return {
    node: process.versions.node,
    openssl: process.versions.openssl,
    hanse: manifest.version,
    commit: await commit(),
    nvflare: stock?.versions.nvflare ?? NONE,
    numpy: stock?.versions.numpy ?? NONE,
    python: stock?.versions.python ?? NONE,
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  }
}

/** With `-dirty` if what is measured was changed since; docs and published numbers are not. */
async function commit(): Promise<string> {
  const git = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)('git', args, { cwd: import.meta.dirname })
    return stdout.trim()
  }
  try {
    const changes = await git(
      'status',
      '--porcelain',
      '--',
      ':/',
      ':!/docs',
      ':!/benchmarks/*.json',
    )
    return `${await git('rev-parse', '--short', 'HEAD')}${changes === '' ? '' : '-dirty'}`
  } catch {
    return 'unknown'
  }
}
