import type { Reporter, TestCase } from 'vitest/node'
import './attacker-scene.ts'

/** One attack, and what came of it. */
interface AttackCase {
  readonly name: string
  readonly refused: boolean
  /** `null` where the test does not look for it. */
  readonly recorded: boolean | null
  readonly harmless: boolean | null
}

/** Prints every attack of the run as one JSON object, for programs. */
export class CasesReporter implements Reporter {
  readonly #cases: AttackCase[] = []

  onTestCaseResult(test: TestCase): void {
    const { state } = test.result()
    if (state === 'skipped' || state === 'pending') return
    const refused = state === 'passed'
    const { attack } = test.meta()
    // What failed may not have come to the point where it says what it is.
    if (attack === undefined && refused) return
    this.#cases.push({
      name: `${test.project.name}: ${test.fullName}`,
      refused,
      recorded: attack?.recorded === true ? true : null,
      harmless: attack === undefined ? null : attack.harmless && refused,
    })
  }

  onTestRunEnd(): void {
    process.stdout.write(`${JSON.stringify({ cases: this.#cases })}\n`)
  }
}

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter from there and from nowhere else
export { CasesReporter as default }
