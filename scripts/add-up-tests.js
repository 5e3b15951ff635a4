// Adds up reports of vitest's JSON reporter into one last line: N passed, N failed. Ends with 1 if anything failed.
import { readFileSync } from 'node:fs'

let passed = 0
let failed = 0
for (const file of process.argv.slice(2)) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'))
    passed += report.numPassedTests
    failed += report.numFailedTests
    for (const suite of report.testResults) {
      const hasFailedTest = suite.assertionResults.some(({ status }) => status === 'failed')
      // A file that could not even be loaded has no tests to count.
      if (suite.status === 'failed' && !hasFailedTest) failed += 1
      if (suite.status === 'failed') process.stderr.write(`failed: ${suite.name}\n`)
    }
  } catch (error) {
    process.stderr.write(`no report in ${file}: ${error.message}\n`)
    failed += 1
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
