import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Reporter, TestCase } from 'vitest/node'
import { findStock } from './support/stock-installation.ts'

/** Where the matrix of the last run is. */
export const MATRIX_FILE: string = fileURLToPath(
  new URL('../.cache/interop-matrix.json', import.meta.url),
)

export interface MatrixRow {
  /** Who meets whom. */
  readonly area: string
  /** What was shown, in the words of the test. */
  readonly claim: string
  readonly result: 'passed' | 'failed' | 'skipped'
}

export interface Matrix {
  readonly flare: string | null
  readonly rows: readonly MatrixRow[]
}

/** Prints what the run has shown as JSON, and keeps it for `compatibility-table.ts`. */
export class MatrixReporter implements Reporter {
  readonly #rows: MatrixRow[] = []

  onTestCaseResult(test: TestCase): void {
    if (test.project.name !== 'interop') return
    const { state } = test.result()
    if (state === 'pending') return
    const area = test.parent.type === 'suite' ? test.parent.name : ''
    this.#rows.push({ area, claim: test.name, result: state })
  }

  async onTestRunEnd(): Promise<void> {
    const stock = await findStock()
    const matrix: Matrix = { flare: stock?.version ?? null, rows: this.#rows }
    const text = JSON.stringify(matrix, null, 2)
    await mkdir(dirname(MATRIX_FILE), { recursive: true })
    await writeFile(MATRIX_FILE, `${text}\n`)
    process.stdout.write(`${text}\n`)
  }
}

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter from there and from nowhere else
export { MatrixReporter as default }
