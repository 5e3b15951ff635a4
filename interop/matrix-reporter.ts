import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'
import { MATRIX_FILE, type Matrix, type MatrixRow } from './support/matrix.ts'
import { findStock } from './support/stock-installation.ts'

/** Prints what the run has shown as JSON, and keeps it for `compatibility-table.ts`. */
export class MatrixReporter implements Reporter {
  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    const stock = await findStock()
    const matrix: Matrix = { flare: stock?.version ?? null, rows: rowsOf(modules) }
    const text = JSON.stringify(matrix, null, 2)
    await mkdir(dirname(MATRIX_FILE), { recursive: true })
    await writeFile(MATRIX_FILE, `${text}\n`)
    process.stdout.write(`${text}\n`)
  }
}

/** In the order of the files' names and as the tests are written, whichever ended first. */
function rowsOf(modules: readonly TestModule[]): MatrixRow[] {
  const rows: MatrixRow[] = []
  const sorted = modules
    .filter(({ project }) => project.name === 'interop')
    .toSorted((a, b) => (a.moduleId < b.moduleId ? -1 : 1))
  for (const module of sorted)
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      const area = test.parent.type === 'suite' ? test.parent.name : ''
      if (state !== 'pending') rows.push({ area, claim: test.name, result: state })
    }
  return rows
}

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter from there and from nowhere else
export { MatrixReporter as default }
