import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Reporter, TestCase } from 'vitest/node'
import { MATRIX_FILE, type Matrix, type MatrixRow } from './support/matrix.ts'
import { findStock } from './support/stock-installation.ts'

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
